use vlhub_plugin_swin as _;

vlhub_sdk::conformance!(except: [
    "backbone::swinv2::gradients" = "its norms behind the branches start at zero, as in timm, so the branches get no gradient in the first step",
    "backbone::maxvit::noise_by_row" = "batch norm couples the rows of a batch in training",
]);
