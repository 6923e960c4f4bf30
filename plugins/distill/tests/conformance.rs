use vlhub_plugin_distill as _;

vlhub_sdk::conformance!();
