//! Every family against the small models of timm that the scripts in `tests/golden` wrote.

/// Width of the joint space; the towers do not depend on it.
const EMBED: i64 = 8;

macro_rules! golden {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/", stringify!($name), ".json");
            vlhub_sdk::testkit::golden::check(file, EMBED).unwrap_or_else(|why| panic!("{why}"));
        }
    )*};
}

golden! { timm_swin timm_maxvit timm_gcvit timm_coat }
