use vlhub_plugin_parquet as _;

vlhub_sdk::conformance!();
