use vlhub_plugin_object_store as _;

vlhub_sdk::conformance!();
