//! Lets the program find libtorch when it starts.

fn main() {
    vlhub_build::rpath();
}
