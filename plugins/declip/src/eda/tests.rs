//! What each operation does to a text.

use std::collections::BTreeMap;

use super::*;
use vlhub_sdk::testkit::toy::Seeded;

const TEXT: &str = "a small dog runs over the wet green grass of Kent";

fn eda(operations: &[Operation], rate: f64) -> Eda {
    let synonyms = Synonyms::default();
    Eda { operations: operations.to_vec(), rate, synonyms }
}

/// A folder with a file of synonyms, which leaves with it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn with(name: &str, synonyms: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("vlhub-eda-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        std::fs::write(folder.join("synonyms.tsv"), synonyms).expect("a file for the test");
        Self(folder)
    }

    fn build(&self, config: &EdaConfig) -> Result<Box<dyn CaptionTransform>> {
        config.build(&CaptionCx::new(&self.0))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn one(transform: &dyn CaptionTransform, text: &str, seed: u64) -> String {
    let caption = Caption { texts: vec![text.into()], labels: vec![3], ..Caption::default() };
    let changed = transform.apply(caption, &mut Seeded(seed)).expect("it cannot fail").expect("it has words");
    assert_eq!(changed.labels, [3], "labels are not its business");
    changed.texts.join("|")
}

#[test]
fn a_swap_exchanges_two_words() {
    for (rate, moved) in [(0.1, 2..=2), (0.2, 3..=4), (1.0, 3..=11)] {
        let mut most = 0;
        for seed in 0..200 {
            let changed = eda(&[Operation::Swap], rate).change(TEXT, &mut Seeded(seed));
            let apart = TEXT.split(' ').zip(changed.split(' ')).filter(|(before, after)| before != after).count();
            assert!(rate > 0.1 || moved.contains(&apart), "rate {rate}: {changed}");
            most = most.max(apart);
            let sorted = |text: &str| {
                let mut words: Vec<String> = text.split(' ').map(String::from).collect();
                words.sort();
                words
            };
            assert_eq!(sorted(&changed), sorted(TEXT), "the words stay");
        }
        assert!(moved.contains(&most), "rate {rate}: at most {most} words moved");
    }
    assert_eq!(eda(&[Operation::Swap], 0.1).change("alone", &mut Seeded(1)), "alone");
}

#[test]
fn a_deletion_leaves_each_word_out_with_the_rate() {
    let (mut left, runs) = (0, 2000);
    for seed in 0..runs {
        let changed = eda(&[Operation::Delete], 0.1).change(TEXT, &mut Seeded(seed));
        let mut rest = TEXT.split(' ');
        assert!(changed.split(' ').all(|word| rest.any(|other| other == word)), "the order stays: {changed}");
        left += changed.split(' ').count();
    }
    let share = left as f64 / (runs * 11) as f64;
    assert!((share - 0.9).abs() < 0.01, "{share}");
    let mut stays = BTreeMap::new();
    for seed in 0..300 {
        *stays.entry(eda(&[Operation::Delete], 1.0).change("red fox jumps", &mut Seeded(seed))).or_insert(0) += 1;
    }
    assert!(stays.len() == 3 && stays.values().all(|count| *count > 70), "one word stays, any of them: {stays:?}");
}

#[test]
fn a_synonym_replaces_a_word_wherever_it_stands() {
    let folder = Folder::with("replace", "dog\thound,puppy\ngreen\tverdant\n");
    let config = EdaConfig { operations: vec![Operation::Synonym], synonyms: Some("synonyms.tsv".into()), ..EdaConfig::default() };
    let transform = folder.build(&config).expect("it builds");
    let mut found = BTreeMap::new();
    for seed in 0..400 {
        *found.entry(one(&*transform, "(Dog) on green, near a dog!", seed)).or_insert(0) += 1;
    }
    let texts: Vec<&str> = found.keys().map(String::as_str).collect();
    let hounds = ["(Dog) on verdant, near a dog!", "(hound) on green, near a hound!", "(puppy) on green, near a puppy!"];
    assert_eq!(texts, hounds, "one word of six, with the punctuation around it");
    assert!((150..250).contains(&found[hounds[0]]), "each word has the same chance: {found:?}");
    assert_eq!(one(&*transform, "nothing known here", 1), "nothing known here");
    assert_eq!(one(&*transform, "🐕 … -", 1), "🐕 … -", "signs have no core");
}

#[test]
fn every_operation_is_drawn_and_synonyms_only_with_their_file() {
    let folder = Folder::with("draw", "dog\thound\n");
    for (synonyms, wanted) in [(None, 2), (Some("synonyms.tsv".to_owned()), 3)] {
        // With a rate this small a deletion nearly always leaves all words.
        let transform = folder.build(&EdaConfig { rate: 1e-9, synonyms, ..EdaConfig::default() }).expect("it builds");
        let mut kinds = BTreeMap::new();
        for seed in 0..600 {
            *kinds.entry(one(&*transform, "dog runs", seed)).or_insert(0) += 1;
        }
        assert_eq!(kinds.len(), wanted, "{kinds:?}");
        assert!(kinds.values().all(|count| (400..800).contains(&(count * wanted))), "each has the same chance: {kinds:?}");
    }
}

#[test]
fn a_caption_without_words_is_dropped() {
    for texts in [&[][..], &[""], &[" \t\n"], &["", " "]] {
        let caption = Caption { texts: texts.iter().map(|text| (*text).into()).collect(), ..Caption::default() };
        assert_eq!(eda(&[Operation::Swap], 0.1).apply(caption, &mut Seeded(1)).expect("it cannot fail"), None, "{texts:?}");
    }
    let caption = Caption { texts: ["", "dog"].map(String::from).to_vec(), ..Caption::default() };
    let left = eda(&[Operation::Swap], 0.1).apply(caption, &mut Seeded(1)).expect("it cannot fail").expect("one has words");
    assert_eq!(left.texts, ["dog"]);
}

#[test]
fn options_that_mean_nothing_are_refused_by_name() {
    let folder = Folder::with("refuse", "dog hound\n");
    let base = EdaConfig::default;
    for (config, word, why) in [
        (EdaConfig { rate: 0.0, ..base() }, "`rate`", "nothing would change"),
        (EdaConfig { rate: f64::NAN, ..base() }, "`rate`", "nan is no share"),
        (EdaConfig { operations: vec![], ..base() }, "`operations`", "nothing to draw"),
        (EdaConfig { operations: vec![Operation::Synonym], ..base() }, "`synonyms`", "no file"),
        (EdaConfig { synonyms: Some("none.tsv".into()), ..base() }, "none.tsv", "the file is not there"),
        (EdaConfig { synonyms: Some("synonyms.tsv".into()), ..base() }, "line 1", "no tab"),
    ] {
        let error = folder.build(&config).expect_err(why).to_string();
        assert!(error.contains(word), "{why}: {error}");
    }
}
