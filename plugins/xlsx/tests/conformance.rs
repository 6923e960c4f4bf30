use vlhub_plugin_xlsx as _;

vlhub_sdk::conformance!();
