use vlhub_plugin_resnet as _;

vlhub_sdk::conformance!(except: [
    "backbone::modified_resnet::noise_by_row" = "batch norm couples the rows of a batch in training",
    "backbone::resnet::noise_by_row" = "batch norm couples the rows of a batch in training",
    "backbone::regnet::noise_by_row" = "batch norm couples the rows of a batch in training",
    "backbone::regnetx_002::noise_by_row" = "batch norm couples the rows of a batch in training",
    "backbone::regnety_002::noise_by_row" = "batch norm couples the rows of a batch in training",
    "backbone::modified_resnet::gradients" = "as in the reference, blocks start as the identity; golden files compare the gradients",
    "backbone::resnet::gradients" = "as in the reference, blocks start as the identity; golden files compare the gradients",
    "backbone::regnet::gradients" = "as in the reference, blocks start as the identity; golden files compare the gradients",
    "backbone::regnetx_002::gradients" = "as in the reference, blocks start as the identity; golden files compare the gradients",
    "backbone::regnety_002::gradients" = "as in the reference, blocks start as the identity; golden files compare the gradients",
    "backbone::nf_regnet::gradients" = "as in the reference, blocks start as the identity; golden files compare the gradients",
]);
