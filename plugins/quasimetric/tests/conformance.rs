use vlhub_plugin_quasimetric as _;

vlhub_sdk::conformance!();
