use vlhub_plugin_coca as _;

vlhub_sdk::conformance!();
