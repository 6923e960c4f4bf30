//! First-party plugins that a distribution may leave out, for hints. The host links none; `host/distribution` does.

/// Names of every first-party plugin: lines of feature, kind and names, separated by tabs and spaces. A test writes it from all crates.
const NAMES: &str = include_str!("../assets/first_party.tsv");

/// The Cargo feature that brings in the first-party plugin `name` of `kind`, or of any kind: for a name that this build does not know.
pub fn left_out(kind: Option<&str>, name: &str) -> Option<&'static str> {
    NAMES.lines().find_map(|line| {
        let mut columns = line.split('\t');
        let feature = columns.next()?;
        let right_kind = columns.next().is_some_and(|known| kind.is_none_or(|kind| kind == known));
        let named = right_kind && columns.next()?.split(' ').any(|known| known == name);
        named.then_some(feature)
    })
}

/// First-party plugins of one kind that come with one Cargo feature.
#[derive(Debug, PartialEq, Eq)]
pub struct Absent {
    /// The feature.
    pub feature: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// Their names.
    pub names: Vec<&'static str>,
}

/// The first-party plugins of crates that this build leaves out; `has` tells whether it has a plugin of a kind and a name.
pub fn absent(has: impl Fn(&str, &str) -> bool) -> Vec<Absent> {
    let all = NAMES.lines().filter_map(|line| {
        let mut columns = line.split('\t');
        Some(Absent { feature: columns.next()?, kind: columns.next()?, names: columns.next()?.split(' ').collect() })
    });
    all.filter(|plugins| !plugins.names.iter().any(|name| has(plugins.kind, name))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use vlhub_core::Registry;
    use vlhub_plugin_align_uniform as _;
    use vlhub_plugin_augment as _;
    use vlhub_plugin_benchmarks as _;
    use vlhub_plugin_captions as _;
    use vlhub_plugin_classify as _;
    use vlhub_plugin_clip as _;
    use vlhub_plugin_coca as _;
    use vlhub_plugin_convnet as _;
    use vlhub_plugin_declip as _;
    use vlhub_plugin_distill as _;
    use vlhub_plugin_eva as _;
    use vlhub_plugin_filip as _;
    use vlhub_plugin_hf_text as _;
    use vlhub_plugin_hybrid as _;
    use vlhub_plugin_object_store as _;
    use vlhub_plugin_parquet as _;
    use vlhub_plugin_probe as _;
    use vlhub_plugin_quasimetric as _;
    use vlhub_plugin_resnet as _;
    use vlhub_plugin_retrieval as _;
    use vlhub_plugin_simclr as _;
    use vlhub_plugin_subset as _;
    use vlhub_plugin_swin as _;
    use vlhub_plugin_timm_vit as _;
    use vlhub_plugin_vit as _;
    use vlhub_plugin_xlsx as _;
    use vlhub_plugin_zeroshot as _;

    use super::*;

    const PREFIX: &str = "vlhub-plugin-";
    /// Crates that are not in `full`, because they take long to compile.
    const APART: &[&str] = &["object-store"];

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
    fn the_names_of_first_party_plugins_are_those_of_all_crates() {
        let fresh = names();
        if fresh != NAMES {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/first_party.tsv");
            std::fs::write(path, fresh).expect("written");
            panic!("host/assets/first_party.tsv was stale and has been written again; commit it");
        }
    }

    #[test]
    fn every_plugin_is_a_feature_of_the_default_distribution() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let folder = std::fs::read_dir(format!("{root}/plugins")).expect("it is there").flatten();
        let crates: BTreeSet<String> = folder
            .filter(|entry| entry.path().join("Cargo.toml").exists())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let manifest = std::fs::read_to_string(format!("{root}/host/distribution/Cargo.toml")).expect("it is there");
        let manifest: toml::Table = manifest.parse().expect("it is TOML");
        let full = manifest["features"]["full"].as_array().expect("a list");
        let mut full: BTreeSet<String> = full.iter().filter_map(|feature| feature.as_str().map(str::to_owned)).collect();
        // What the host itself may leave out.
        assert!(full.remove("png"), "`full` writes charts as PNG");
        for feature in APART {
            assert!(full.insert((*feature).to_owned()), "`{feature}` is to be asked for");
            assert!(manifest["features"].get(feature).is_some(), "`{feature}` is a feature");
        }
        assert_eq!(full, crates, "each folder of plugins/ is a feature of host/distribution, and in its `full`");
        let program = std::fs::read_to_string(format!("{root}/host/distribution/src/main.rs")).expect("it is there");
        for name in &crates {
            let line = format!("#[cfg(feature = \"{name}\")]\nuse vlhub_plugin_{} as _;", name.replace('-', "_"));
            assert!(program.contains(&line), "host/distribution/src/main.rs does not link `{name}`");
        }
        let named: BTreeSet<String> = NAMES.lines().filter_map(|line| Some(line.split('\t').next()?.to_owned())).collect();
        assert_eq!(named, crates, "each crate registers a plugin");
    }

    #[test]
    fn crates_of_which_no_plugin_is_there_are_absent() {
        assert_eq!(absent(|_, _| true), []);
        let objectives = absent(|kind, name| kind != "objective" || name == "clip");
        assert!(objectives.iter().all(|plugins| plugins.kind == "objective" && plugins.feature != "clip"), "{objectives:?}");
        assert!(objectives.iter().any(|plugins| plugins.feature == "simclr" && plugins.names.contains(&"byol")), "{objectives:?}");
    }

    #[test]
    fn a_name_tells_its_feature() {
        for (kind, name, feature) in [
            (Some("objective"), "clip", Some("clip")),
            (None, "vit_b_32", Some("vit")),
            (Some("objective"), "vit_b_32", None),
            (None, "nothing", None),
        ] {
            assert_eq!(left_out(kind, name), feature, "{name}");
        }
    }
}
