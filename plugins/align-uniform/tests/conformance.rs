use vlhub_plugin_align_uniform as _;

vlhub_sdk::conformance!();
