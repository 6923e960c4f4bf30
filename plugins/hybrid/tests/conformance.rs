use vlhub_plugin_hybrid as _;

vlhub_sdk::conformance!(except: [
    "backbone::fastvit::noise_by_row" = "batch norm couples the rows of a batch in training",
    "backbone::vit_mci::noise_by_row" = "batch norm couples the rows of a batch in training",
    "backbone::vit_base_mci_224::noise_by_row" = "batch norm couples the rows of a batch in training",
]);
