fn main() {
    vlhub_build::rpath();
}
