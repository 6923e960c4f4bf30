use vlhub_plugin_filip as _;

vlhub_sdk::conformance!();
