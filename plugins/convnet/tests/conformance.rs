use vlhub_plugin_convnet as _;

vlhub_sdk::conformance!(except: [
    "backbone::efficientnet::noise_by_row" = "batch norm couples the rows of a batch in training",
]);
