use vlhub_plugin_eva as _;

vlhub_sdk::conformance!();
