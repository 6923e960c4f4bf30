//! Compiles the shim against the headers of the libtorch that torch-sys links.

/// All of them, in `src`; `all.cpp` includes the others.
const FILES: &[&str] = &[
    "all.cpp",
    "ext.cpp",
    "grouped.cpp",
    "guarded.h",
    "memory.cpp",
    "mixed.cpp",
    "paper.cpp",
    "products.cpp",
    "profile.cpp",
    "recompute.cpp",
    "stream.cpp",
    "watch.cpp",
];

fn main() {
    vlhub_build::rpath();
    for file in FILES {
        println!("cargo:rerun-if-changed=src/{file}");
    }
    let Some(lib) = vlhub_build::libtorch() else { return };
    let root = lib.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        // What it calls takes the time.
        .opt_level(0)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        // Some classes of libtorch have another layout without it.
        .define("NDEBUG", None)
        .include(root.join("include"))
        .include(root.join("include/torch/csrc/api/include"))
        .file("src/all.cpp")
        .compile("vlhub_torch_ext");
}
