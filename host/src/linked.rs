//! The first-party plugins of this build. Naming a crate is what links it; no other file of the host names a plugin crate.

macro_rules! first_party {
    ($($feature:tt $plugins:ident;)*) => {
        $(
            #[cfg(feature = $feature)]
            use $plugins as _;
        )*

        /// The feature of each first-party crate, and whether this build has it.
        const CRATES: &[(&str, bool)] = &[$(($feature, cfg!(feature = $feature))),*];
    };
}

first_party! {
    "align-uniform" vlhub_plugin_align_uniform;
    "augment" vlhub_plugin_augment;
    "captions" vlhub_plugin_captions;
    "classify" vlhub_plugin_classify;
    "clip" vlhub_plugin_clip;
    "coca" vlhub_plugin_coca;
    "convnet" vlhub_plugin_convnet;
    "declip" vlhub_plugin_declip;
    "distill" vlhub_plugin_distill;
    "eva" vlhub_plugin_eva;
    "filip" vlhub_plugin_filip;
    "hf-text" vlhub_plugin_hf_text;
    "hybrid" vlhub_plugin_hybrid;
    "probe" vlhub_plugin_probe;
    "quasimetric" vlhub_plugin_quasimetric;
    "resnet" vlhub_plugin_resnet;
    "retrieval" vlhub_plugin_retrieval;
    "simclr" vlhub_plugin_simclr;
    "swin" vlhub_plugin_swin;
    "timm-vit" vlhub_plugin_timm_vit;
    "vit" vlhub_plugin_vit;
    "zeroshot" vlhub_plugin_zeroshot;
}

/// Names of every first-party plugin: lines of feature, kind and names, separated by tabs and spaces. A test writes it from the full build.
const NAMES: &str = include_str!("../assets/first_party.tsv");

/// The Cargo feature that brings in the first-party plugin `name` of `kind`, or of any kind, when this build leaves its crate out.
pub fn left_out(kind: Option<&str>, name: &str) -> Option<&'static str> {
    let feature = NAMES.lines().find_map(|line| {
        let mut columns = line.split('\t');
        let feature = columns.next()?;
        let right_kind = columns.next().is_some_and(|known| kind.is_none_or(|kind| kind == known));
        let named = right_kind && columns.next()?.split(' ').any(|known| known == name);
        named.then_some(feature)
    })?;
    CRATES.iter().find(|(known, linked)| *known == feature && !linked).map(|(feature, _)| *feature)
}

#[cfg(all(test, feature = "full"))]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use vlhub_core::Registry;

    use super::*;

    const PREFIX: &str = "vlhub-plugin-";

    /// What [`NAMES`] has to be.
    fn names() -> String {
        let mut names: BTreeMap<(String, &str), BTreeSet<String>> = BTreeMap::new();
        Registry::linked().expect("names are unique").for_each(|about| {
            if let Some(feature) = about.origin.package.strip_prefix(PREFIX) {
                names.entry((feature.to_owned(), about.kind)).or_default().insert(about.name.to_owned());
            }
        });
        let lines = names
            .into_iter()
            .map(|((feature, kind), names)| format!("{feature}\t{kind}\t{}\n", names.into_iter().collect::<Vec<_>>().join(" ")));
        lines.collect()
    }

    #[test]
    fn the_names_of_first_party_plugins_are_those_of_the_full_build() {
        let fresh = names();
        if fresh != NAMES {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/first_party.tsv");
            std::fs::write(path, fresh).expect("written");
            panic!("host/assets/first_party.tsv was stale and has been written again; commit it");
        }
    }

    #[test]
    fn every_plugin_crate_is_a_feature_that_the_full_build_has() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins")).expect("it is there").flatten();
        let crates: BTreeSet<String> = folder
            .filter(|entry| entry.path().join("Cargo.toml").exists())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let features: BTreeSet<String> = CRATES.iter().map(|(feature, _)| (*feature).to_owned()).collect();
        assert_eq!(features, crates, "each folder of plugins/ has a line in `first_party!`");
        let absent: Vec<_> = CRATES.iter().filter(|(_, linked)| !linked).collect();
        assert!(absent.is_empty(), "the feature `full` lacks {absent:?}");
        let named: BTreeSet<String> = NAMES.lines().filter_map(|line| Some(line.split('\t').next()?.to_owned())).collect();
        assert_eq!(named, features, "each crate registers a plugin");
    }

    #[test]
    fn nothing_is_left_out_of_the_full_build() {
        for (kind, name) in [(Some("objective"), "clip"), (None, "vit_b_32"), (Some("objective"), "vit_b_32"), (None, "nothing")] {
            assert_eq!(left_out(kind, name), None, "{name}");
        }
    }
}
