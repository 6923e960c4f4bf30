use vlhub_plugin_captions as _;

vlhub_sdk::conformance!();
