use vlhub_plugin_subset as _;

vlhub_sdk::conformance!();
