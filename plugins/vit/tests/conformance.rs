use vlhub_plugin_vit as _;

vlhub_sdk::conformance!();
