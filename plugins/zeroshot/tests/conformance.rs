use vlhub_plugin_zeroshot as _;

vlhub_sdk::conformance!();
