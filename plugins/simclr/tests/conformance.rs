use vlhub_plugin_simclr as _;

vlhub_sdk::conformance!();
