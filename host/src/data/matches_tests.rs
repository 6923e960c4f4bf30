use rand_core::RngCore;
use vlhub_core::{Bad, Caption, CaptionTransform};

use super::*;
use crate::data::testing::Memory;
use crate::data::views::TextView;

/// Drops every third sample, and labels the others by how often they say `very`.
#[derive(Debug)]
struct Very(Option<Vec<String>>);

impl CaptionTransform for Very {
    fn apply(&self, mut caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        let number: usize = caption.texts[0].rsplit(' ').next().and_then(|word| word.parse().ok()).expect("a number");
        if self.0.is_some() {
            caption.labels = (0..caption.texts[0].matches("very").count() as i64).collect();
        }
        caption.texts[0].push('!');
        Ok((!number.is_multiple_of(3)).then_some(caption))
    }

    fn classes(&self) -> Option<&[String]> {
        self.0.as_deref()
    }
}

fn views(classes: Option<&[&str]>) -> Views {
    let classes = classes.map(|names| names.iter().map(|&name| name.into()).collect());
    let transform: Vec<(String, Box<dyn CaptionTransform>)> = vec![("very".into(), Box::new(Very(classes)))];
    Views { texts: vec![TextView { name: "main".into(), transform }], labels: true, ..Views::default() }
}

fn all(source: &Memory, views: &Views) -> (Matches, Vec<Matched>) {
    let mut each = Vec::new();
    let found = matches(source, views, 1, 2, &mut |sample| {
        each.push(sample.clone());
        Ok(())
    });
    (found.expect("nothing fails"), each)
}

#[test]
fn every_sample_is_counted_once_and_comes_in_order() {
    let count = BLOCK + 100;
    let mut source = Memory::new(count).broken(4).panics(BLOCK + 1);
    source.problems.push(Bad { key: "k".into(), place: "t:1".into(), reason: "ragged row", detail: String::new() });
    let (found, each) = all(&source, &views(Some(&["one", "two", "three", "never"])));
    let keys: Vec<_> = each.iter().map(|sample| sample.key.clone()).collect();
    assert_eq!(keys, (0..count).map(|index| format!("sample {index}")).collect::<Vec<_>>());
    let dropped = count.div_ceil(3);
    assert_eq!((found.samples, found.dropped["very"]), (count + 1, dropped - usize::from((BLOCK + 1).is_multiple_of(3))));
    assert_eq!(found.unusable.iter().collect::<Vec<_>>(), [(&"broken", &1), (&"panic", &1), (&"ragged row", &1)]);
    assert_eq!(found.kept + found.dropped["very"] + 3, found.samples);
    assert_eq!(found.one_label + found.several_labels + found.without_label, found.kept);
    let counts: Vec<_> = found.classes.iter().map(|class| class.samples).collect();
    assert!(counts[0] > counts[1] && counts[1] > counts[2] && counts[2] > 0, "{counts:?}");
    assert_eq!((counts[0], counts[3]), (found.one_label + found.several_labels, 0));
    assert_eq!(found.empty_classes().collect::<Vec<_>>(), ["never"]);
    assert_eq!(found.frequent_classes()[0].name, "one");
}

#[test]
fn examples_are_the_first_and_show_before_and_after() {
    let (found, _) = all(&Memory::new(50), &views(Some(&["one", "two", "three"])));
    let kept: Vec<_> = found.kept_examples.iter().map(|sample| sample.key.as_str()).collect();
    let dropped: Vec<_> = found.dropped_examples.iter().map(|sample| sample.key.as_str()).collect();
    assert_eq!((kept, dropped), (vec!["sample 1", "sample 2"], vec!["sample 0", "sample 3"]));
    let line = serde_json::to_value(&found.kept_examples[1]).expect("JSON");
    assert_eq!(
        line,
        serde_json::json!({
            "key": "sample 2", "before": ["very very  sample number 2"], "fate": "kept", "texts": ["very very  sample number 2!"], "labels": [0, 1],
        })
    );
    let line = serde_json::to_value(&found.dropped_examples[0]).expect("JSON");
    assert_eq!(line, serde_json::json!({"key": "sample 0", "before": [" sample number 0"], "fate": "dropped", "by": "very"}));
}

#[test]
fn labels_that_no_transform_makes_are_those_of_the_data() {
    let (found, _) = all(&Memory::new(9), &views(None));
    let counts: Vec<_> = found.classes.iter().map(|class| (class.name.as_str(), class.samples)).collect();
    assert_eq!(counts, [("red", 0), ("green", 3), ("blue", 3)], "those of number 0, 3 and 6 are dropped");
    assert_eq!((found.one_label, found.without_label), (6, 0));
}
