use vlhub_plugin_clip as _;

vlhub_sdk::conformance!();
