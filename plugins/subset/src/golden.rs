//! Lemmas, related names and matches of generated captions, against NLTK and VL Hub: `tests/golden/{captions,synsets}.json`, which the scripts beside
//! them wrote.

use vlhub_sdk::captions::ClassSet;
use vlhub_sdk::prelude::*;
use vlhub_sdk::random::SplitMix64;
use vlhub_sdk::serde_json::{self, Value};

use crate::lemmas::Nouns;
use crate::synsets::Synsets;
use crate::{DsCipherConfig, MatchLabelsConfig, Mode, Related, SimpleConfig};

fn golden() -> Value {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/captions.json"));
    serde_json::from_str(text).expect("the golden file is JSON")
}

fn classes(golden: &Value) -> ClassSet {
    let names = golden["classes"].as_array().expect("a list").iter();
    ClassSet::List(names.map(|name| name.as_str().expect("a name").to_owned()).collect())
}

fn applied(config: &dyn Config<dyn CaptionTransform>, texts: &[&str]) -> Vec<Caption> {
    let built = config.build(&CaptionCx::new(".".as_ref())).expect("it builds");
    let caption = |text: &&str| Caption { texts: vec![(*text).to_owned()], ..Caption::default() };
    // What is dropped is a caption of nothing.
    let apply = |text| built.apply(caption(text), &mut SplitMix64(0)).expect("it cannot fail").unwrap_or_default();
    texts.iter().map(apply).collect()
}

#[test]
fn lemmas_equal_those_of_nltk() {
    let (golden, nouns) = (golden(), Nouns::get().expect("they are whole"));
    let pairs = golden["lemmas"].as_array().expect("a list");
    assert!(pairs.len() > 1900, "{}", pairs.len());
    let wrong: Vec<_> =
        pairs.iter().filter(|pair| nouns.lemma(pair[0].as_str().expect("a word")) != pair[1].as_str().expect("a lemma")).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), golden["origin"]);
}

#[test]
fn related_names_equal_those_of_nltk() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/synsets.json"));
    let golden: Value = serde_json::from_str(text).expect("the golden file is JSON");
    let names = golden["names"].as_object().expect("a table");
    assert!(names.len() > 300, "{}", names.len());
    let (nouns, synsets) = (Nouns::get().expect("they are whole"), Synsets::get().expect("they are whole"));
    for (name, expected) in names {
        let found = [Related::Synonyms, Related::Hyponyms, Related::Hypernyms].map(|kind| synsets.related(nouns, name, &[kind]));
        assert_eq!(&serde_json::json!(found), expected, "{name}, {}", golden["origin"]);
    }
}

#[test]
fn labels_and_captions_equal_those_of_vl_hub_but_for_its_bugs() {
    let golden = golden();
    let rows = golden["captions"].as_array().expect("a list");
    let texts: Vec<&str> = rows.iter().map(|row| row[0].as_str().expect("a caption")).collect();
    let labels = |mode| applied(&MatchLabelsConfig { classes: classes(&golden), mode, ..MatchLabelsConfig::default() }, &texts);
    let list = |value: &Value| value.as_array().expect("labels").iter().filter_map(Value::as_i64).collect::<Vec<_>>();
    let (single, multi, strict) = (labels(Mode::Single), labels(Mode::Multi), labels(Mode::Strict));
    let simple = applied(&SimpleConfig { classes: classes(&golden), ..SimpleConfig::default() }, &texts);
    let cipher = applied(&DsCipherConfig { classes: classes(&golden), ..DsCipherConfig::default() }, &texts);
    for (at, row) in rows.iter().enumerate() {
        let caption = &row[0];
        assert_eq!(multi[at].labels, list(&row[1]), "multi: {caption}");
        assert_eq!(single[at].labels, list(&row[1])[..list(&row[1]).len().min(1)], "single: {caption}");
        assert_eq!(strict[at].labels, list(&row[2]), "strict: {caption}");
        assert_eq!(simple[at].texts.concat(), row[3].as_str().expect("a text"), "simple: {caption}");
        assert_eq!(cipher[at].texts.concat(), row[4].as_str().expect("a text"), "ds_cipher: {caption}");
    }
    let matched = rows.iter().filter(|row| !list(&row[1]).is_empty()).count();
    assert!(matched > 100 && rows.len() - matched > 20, "{matched} of {}", rows.len());
}
