use vlhub_plugin_declip as _;

vlhub_sdk::conformance!(except: [
    "objective::nearest::gradients" = "texts are only looked up, as in DeCLIP, and get no gradient; a unit test checks images and scale"
]);
