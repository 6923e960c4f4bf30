use vlhub_plugin_hf_text as _;

vlhub_sdk::conformance!();
