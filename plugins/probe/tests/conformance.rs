use vlhub_plugin_probe as _;

vlhub_sdk::conformance!();
