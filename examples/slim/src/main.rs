//! Naming a crate is what links it: `plugins list` shows the plugins of exactly these three crates, and the host's data sources.

use {vlhub_plugin_clip as _, vlhub_plugin_vit as _, vlhub_plugin_zeroshot as _};

fn main() -> std::process::ExitCode {
    vlhub_host::main()
}
