//! Parts of the classes, several right classes, rewritten prompts, and the data's own templates.

use std::collections::BTreeMap;
use std::sync::Mutex;

use vlhub_sdk::{Datasets, Sample, Skills};

use super::*;

/// A text's embedding says which word of this list it ends in; a picture's, by its first pixel, how much it is like each.
const WORDS: [&str; 5] = ["ant", "bee", "cow", "dog", "elk"];

/// Knows the words in any case, and writes down the texts that it was given.
#[derive(Default)]
struct Words {
    texts: Mutex<Vec<String>>,
}

fn encoded(rows: Vec<Vec<f32>>) -> Encoded {
    let embed = Tensor::stack(&rows.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0);
    Encoded { pooled: embed.shallow_clone(), embed, tokens: None }
}

impl Model for Words {
    fn images(&self, images: &[RgbImage], _tokens: bool) -> Result<Encoded> {
        // The first pixel's channels are the word that it is most like, the next, and the next.
        let row = |image: &RgbImage| {
            let mut row = vec![0.0; WORDS.len()];
            image.get_pixel(0, 0).0.iter().zip([3.0, 2.0, 1.0]).for_each(|(word, like)| row[*word as usize] += like);
            row
        };
        Ok(encoded(images.iter().map(row).collect()))
    }
    fn texts(&self, texts: &[String], _tokens: bool) -> Result<Encoded> {
        self.texts.lock().expect("one at a time").extend_from_slice(texts);
        let row = |text: &String| WORDS.iter().map(|word| f32::from(u8::from(text.to_lowercase().contains(word)))).collect();
        Ok(encoded(texts.iter().map(row).collect()))
    }
    fn skills(&self) -> Skills<'_> {
        Skills { images: true, texts: true, ..Skills::default() }
    }
}

/// Pictures with their labels, the words that they are most like, and a column.
#[derive(Clone, Default)]
struct Animals {
    pictures: Vec<(Vec<i64>, [u8; 3], &'static str)>,
    evaluated: Vec<u32>,
    templates: Vec<String>,
    classes: Vec<String>,
}

impl Animals {
    fn of(pictures: &[(Vec<i64>, [u8; 3])]) -> Self {
        let pictures = pictures.iter().map(|(labels, like)| (labels.clone(), *like, "")).collect();
        Self { pictures, classes: WORDS.map(str::to_owned).to_vec(), ..Self::default() }
    }
}

impl Datasets for Animals {
    fn open(&self, table: &serde_json::Value) -> Result<Arc<dyn Dataset>> {
        assert_eq!(table, &serde_json::json!({ "use": "animals", "path": "here", "level": "genus" }), "short forms are laid over `data`");
        Ok(Arc::new(self.clone()))
    }
}

impl Dataset for Animals {
    fn len(&self) -> usize {
        self.pictures.len()
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn templates(&self) -> &[String] {
        &self.templates
    }
    fn evaluated(&self) -> &[u32] {
        &self.evaluated
    }
    fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_> {
        Box::new(self.pictures.iter().enumerate().map(|(at, (labels, like, column))| {
            let image = RgbImage::from_pixel(1, 1, vlhub_sdk::image::Rgb(*like));
            let meta = BTreeMap::from([("among".to_owned(), (*column).to_owned())]);
            Ok(Sample { key: format!("sample {at}"), image, texts: vec![], labels: labels.clone(), meta })
        }))
    }
}

fn config() -> ZeroshotConfig {
    ZeroshotConfig {
        data: serde_json::json!({ "use": "animals", "path": "elsewhere" }),
        path: "here".into(),
        level: "genus".into(),
        templates: Templates::List(vec!["a {}".into()]),
        ..ZeroshotConfig::default()
    }
}

/// The report, and the texts that the model was given.
fn run(config: &ZeroshotConfig, data: &Animals) -> Result<(Report, Vec<String>)> {
    let (model, mut report) = (Words::default(), Report::default());
    let transform = |value: &serde_json::Value| -> Result<Box<dyn CaptionTransform>> {
        match value.as_str() {
            Some("upper") => Ok(Box::new(Rewrite(|text, _| Some(text.to_uppercase())))),
            Some("draw") => Ok(Box::new(Rewrite(|text, rng| Some(format!("{} {text}", rng.next_u32()))))),
            Some("drop") => Ok(Box::new(Rewrite(|_, _| None))),
            _ => Err(Error::Options(format!("{value} is no transform"))),
        }
    };
    let read_text = |name: &str| match name {
        "animals.txt" => Ok("elk\nbee\n".to_owned()),
        _ => Err(Error::invalid(format!("{name} is not there"))),
    };
    config.build(&EvalCx { datasets: data, transform: &transform, read_text: &read_text })?.run(&model, &mut report)?;
    let texts = model.texts.into_inner().expect("nobody panicked");
    Ok((report, texts))
}

#[derive(Debug)]
struct Rewrite(fn(&str, &mut dyn RngCore) -> Option<String>);

impl CaptionTransform for Rewrite {
    fn apply(&self, mut caption: Caption, rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        let texts: Option<Vec<String>> = caption.texts.iter().map(|text| (self.0)(text, rng)).collect();
        Ok(texts.map(|texts| {
            caption.texts = texts;
            caption
        }))
    }
}

#[test]
fn a_model_chooses_among_the_classes_that_are_asked_for() {
    // The first is right among all; the second only where `dog` is not asked for; the third is a dog.
    let data = Animals::of(&[(vec![1], [1, 3, 0]), (vec![4], [3, 4, 0]), (vec![3], [3, 1, 0])]);
    let names = |names: &[&str]| Some(SubsetChoice::Names(names.iter().map(|name| (*name).to_owned()).collect()));
    let (all, _) = run(&config(), &data).expect("a report");
    assert_eq!((all.get("top1"), all.samples, all.notes.len()), (Some(2.0 / 3.0), 3, 1), "{:?}", all.notes);
    let bees = [
        (names(&["elk", "bee"]), vec![]),
        (Some(SubsetChoice::Numbers(vec![4, 1])), vec![]),
        (Some(SubsetChoice::Named("animals.txt".into())), vec![]),
        (Some(SubsetChoice::Numbers(vec![4, 3, 1])), vec![0, 1, 4]),
    ];
    for (subset, evaluated) in bees {
        let data = Animals { evaluated, ..data.clone() };
        let (report, texts) = run(&ZeroshotConfig { subset: subset.clone(), ..config() }, &data).expect("a report");
        assert_eq!((report.get("top1"), report.samples), (Some(1.0), 2), "{subset:?}");
        assert_eq!((texts, report.classes), (vec!["a elk".to_owned(), "a bee".into()], vec!["elk".to_owned(), "bee".into()]));
        assert!(
            report.notes[0].starts_with("2 of 5 classes are asked for; pictures of other classes that were left out: 1"),
            "{:?}",
            report.notes
        );
    }
    let (evaluated, texts) = run(&config(), &Animals { evaluated: vec![1, 4], ..data.clone() }).expect("a report");
    assert_eq!((evaluated.get("top1"), texts.len()), (Some(1.0), 2), "what the data set's own evaluation asks for");
    // Other names, in another order: the subset may use either.
    let turned: Vec<String> = WORDS.iter().rev().map(|word| (*word).to_owned()).collect();
    for subset in [names(&["elk", "bee"]), Some(SubsetChoice::Numbers(vec![4, 1]))] {
        let (report, texts) =
            run(&ZeroshotConfig { classes: ClassSet::List(turned.clone()), subset, ..config() }, &data).expect("a report");
        assert_eq!((report.get("top1"), texts), (Some(1.0), vec!["a elk".to_owned(), "a bee".into()]));
    }
    let renamed = ["an ant", "a bee", "a cow", "a dog", "an elk"].map(str::to_owned).to_vec();
    for subset in [names(&["elk", "bee"]), names(&["an elk", "a bee"])] {
        let (report, texts) =
            run(&ZeroshotConfig { classes: ClassSet::List(renamed.clone()), subset, ..config() }, &data).expect("a report");
        assert_eq!((report.get("top1"), texts), (Some(1.0), vec!["a an elk".to_owned(), "a a bee".into()]));
    }
    for (subset, wanted) in [(names(&["be"]), "did you mean `bee`?"), (Some(SubsetChoice::Named("in100".into())), "the data set has 5")] {
        let error = run(&ZeroshotConfig { subset, ..config() }, &data).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn of_several_right_classes_one_is_enough() {
    let data = Animals::of(&[(vec![2, 1], [1, 0, 4]), (vec![2, 3], [1, 0, 3])]);
    let (report, _) = run(&config(), &data).expect("a report");
    assert_eq!(report.get("top1"), Some(0.5));
    let (report, _) = run(&ZeroshotConfig { subset: Some(SubsetChoice::Numbers(vec![3, 0])), ..config() }, &data).expect("a report");
    assert_eq!(
        (report.get("top1"), report.samples),
        (Some(0.0), 1),
        "the first has no class that is asked for; the second is more like an ant"
    );
}

#[test]
fn prompts_and_class_names_are_rewritten() {
    let data = Animals::of(&[(vec![1], [1, 0, 0])]);
    let with = |names: &[&str], prompts: &[&str]| {
        let values = |names: &[&str]| names.iter().map(|name| serde_json::json!(name)).collect();
        run(&ZeroshotConfig { class_transform: values(names), transform: values(prompts), ..config() }, &data)
    };
    let texts = |names: &[&str], prompts: &[&str]| with(names, prompts).expect("a report").1;
    assert_eq!(texts(&["upper"], &[])[1], "a BEE", "the class name alone");
    assert_eq!(texts(&[], &["upper"])[1], "A BEE", "the whole prompt");
    let drawn = texts(&[], &["draw"]);
    assert_eq!(drawn, texts(&[], &["draw"]), "the same each time");
    assert!(drawn[0] != drawn[1] && drawn[1].ends_with(" a bee"), "{drawn:?}");
    let part = run(&ZeroshotConfig { transform: vec!["draw".into()], subset: Some(SubsetChoice::Numbers(vec![1])), ..config() }, &data);
    assert_eq!(part.expect("a report").1, [drawn[1].clone()], "what is drawn depends on the prompt alone");
    for (names, prompts, wanted) in [
        (&["drop"][..], &[][..], "`class_transform` drops the text `ant`"),
        (&[], &["drop"], "`transform` drops the text `a ant`"),
        (&[], &["other"], "`transform`: \"other\" is no transform"),
    ] {
        let error = with(names, prompts).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn templates_and_class_names_may_be_those_of_the_data_or_known_lists() {
    let data = Animals { templates: vec!["my {c}".into(), "the {c}".into()], ..Animals::of(&[(vec![1], [1, 0, 0])]) };
    let own = ZeroshotConfig { templates: Templates::Set("data".into()), ..config() };
    let (_, texts) = run(&own, &data).expect("a report");
    assert_eq!((texts.len(), texts[2].as_str(), texts[3].as_str()), (10, "my bee", "the bee"));
    let (_, texts) = run(&ZeroshotConfig { ensemble: false, ..own.clone() }, &data).expect("a report");
    assert_eq!(texts.len(), 5);
    let error = run(&own, &Animals { templates: vec![], ..data.clone() }).expect_err("it has none").to_string();
    assert!(error.contains("brings no templates"), "{error}");
    let imagenet = Animals { classes: ClassSet::Named("imagenet".into()).names("".as_ref()).expect("known"), ..data };
    for (list, second) in [("openclip", "a goldfish"), ("default", "a goldfish, Carassius auratus"), ("default_first", "a goldfish")] {
        let named = ZeroshotConfig { classes: ClassSet::Named(list.into()), ..config() };
        assert_eq!(run(&named, &imagenet).expect(list).1[1], second, "{list}");
    }
    let error =
        run(&ZeroshotConfig { classes: ClassSet::Named("opnclip".into()), ..config() }, &imagenet).expect_err("misspelt").to_string();
    assert!(error.contains("did you mean `openclip`?"), "{error}");
}

#[test]
fn a_balanced_mean_leaves_out_classes_with_one_picture() {
    // Three ants of which two are right, two bees of which none is, one dog.
    let ant = |like| (vec![0], like);
    let data =
        Animals::of(&[ant([0, 1, 2]), ant([0, 1, 2]), ant([1, 0, 2]), (vec![1], [0, 1, 2]), (vec![1], [2, 0, 1]), (vec![3], [3, 0, 1])]);
    let (report, _) = run(&ZeroshotConfig { balanced: true, topk: vec![1, 2], ..config() }, &data).expect("a report");
    let near = |name: &str, value: f64| assert!((report.get(name).expect(name) - value).abs() < 1e-6, "{name}: {:?}", report.get(name));
    near("top1", 0.5);
    near("balanced_top1", (2.0 / 3.0 + 0.0) / 2.0);
    near("balanced_top2", (1.0 + 0.5) / 2.0);
    assert_eq!((report.tables[1].name.as_str(), report.tables[1].keys.len()), ("balanced", 5));
    assert!(report.notes.iter().any(|note| note.contains("over 2 of 5 classes")), "{:?}", report.notes);
}

#[test]
fn a_picture_may_be_judged_among_its_candidates() {
    let mut data = Animals::of(&[(vec![1], [0, 1, 2]), (vec![2], [0, 3, 2]), (vec![4], [0, 4, 1])]);
    data.pictures[0].2 = "bee!cow";
    data.pictures[1].2 = "dog!cow";
    let (report, _) = run(&ZeroshotConfig { candidates: "among".into(), ..config() }, &data).expect("a report");
    assert_eq!(report.get("top1"), Some(1.0 / 3.0), "the bee is right among two; the cow is more like a dog; the elk is judged among all");
    let (report, _) = run(&config(), &data).expect("a report");
    assert_eq!(report.get("top1"), Some(0.0));
}
