use vlhub_plugin_timm_vit as _;

vlhub_sdk::conformance!();
