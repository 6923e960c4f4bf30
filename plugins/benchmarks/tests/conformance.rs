use vlhub_plugin_benchmarks as _;

vlhub_sdk::conformance!();
