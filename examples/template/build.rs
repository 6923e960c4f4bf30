//! Lets tests and the library find libtorch when they start.

fn main() {
    vlhub_build::rpath();
}
