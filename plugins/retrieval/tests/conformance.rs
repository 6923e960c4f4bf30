use vlhub_plugin_retrieval as _;

vlhub_sdk::conformance!();
