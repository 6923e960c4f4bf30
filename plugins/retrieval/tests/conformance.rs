use vlhub_plugin_retrieval as _;

vlhub_sdk::conformance!(except: [
    "eval::pairs::oracle" = "the toy data set has no wrong captions",
    "eval::pairs::chance" = "the toy data set has no wrong captions",
    "eval::pairs::stable" = "the toy data set has no wrong captions",
    "eval::pairs::unreadable" = "the toy data set has no wrong captions",
    "eval::pairs::class_names" = "the toy data set has no wrong captions",
    "eval::sugarcrepe::oracle" = "the toy data set has no wrong captions",
    "eval::sugarcrepe::chance" = "the toy data set has no wrong captions",
    "eval::sugarcrepe::stable" = "the toy data set has no wrong captions",
    "eval::sugarcrepe::unreadable" = "the toy data set has no wrong captions",
    "eval::sugarcrepe::class_names" = "the toy data set has no wrong captions",
    "eval::winoground::oracle" = "the toy data set has no wrong captions",
    "eval::winoground::chance" = "the toy data set has no wrong captions",
    "eval::winoground::stable" = "the toy data set has no wrong captions",
    "eval::winoground::unreadable" = "the toy data set has no wrong captions",
    "eval::winoground::class_names" = "the toy data set has no wrong captions",
]);
