//! The default distribution: every first-party plugin that its features name.

fn main() -> std::process::ExitCode {
    vlhub_host::main()
}
