use vlhub_plugin_augment as _;

vlhub_sdk::conformance!();
