//! Scores that are written down: a picture is its number, and so is a text.

use vlhub_sdk::{Datasets, Sample, Skills};

use super::*;

/// Samples: number of the picture, texts, category, pair.
#[derive(Clone)]
struct Data(Vec<(u8, Vec<&'static str>, &'static str, &'static str)>);

impl Datasets for Data {
    fn open(&self, _: &serde_json::Value) -> Result<Arc<dyn Dataset>> {
        Ok(Arc::new(self.clone()))
    }
}

impl Dataset for Data {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn classes(&self) -> &[String] {
        &[]
    }
    fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_> {
        Box::new(self.0.iter().map(|(number, texts, category, pair)| {
            let meta = [("category", category), ("pair", pair)].map(|(name, value)| (name.to_owned(), (*value).to_owned())).into();
            let texts = texts.iter().map(|text| (*text).to_owned()).collect();
            let image = RgbImage::from_pixel(1, 1, vlhub_sdk::image::Rgb([*number, 0, 0]));
            Ok(Sample { key: number.to_string(), image, texts, labels: vec![], meta })
        }))
    }
    fn unit(&self, index: usize) -> Option<String> {
        Some(format!("{}.jpg", self.0[index].0))
    }
}

/// A picture and a text are alike as an angle says: a text is a number of degrees, a picture's first pixel too.
struct Angles;

fn of(degrees: impl Iterator<Item = f64>) -> Encoded {
    let rows: Vec<f32> = degrees.flat_map(|angle| [angle.to_radians().cos() as f32, angle.to_radians().sin() as f32]).collect();
    let embed = Tensor::from_slice(&rows).view([-1, 2]);
    Encoded { pooled: embed.shallow_clone(), embed, tokens: None }
}

impl Model for Angles {
    fn images(&self, images: &[RgbImage], _tokens: bool) -> Result<Encoded> {
        Ok(of(images.iter().map(|image| f64::from(image.get_pixel(0, 0)[0]))))
    }
    fn texts(&self, texts: &[String], _tokens: bool) -> Result<Encoded> {
        Ok(of(texts.iter().map(|text| text.parse().expect("a number"))))
    }
    fn skills(&self) -> Skills<'_> {
        Skills { images: true, texts: true, ..Skills::default() }
    }
}

fn run(data: Data, batch: usize) -> Result<Report> {
    let mut report = Report::default();
    PairsConfig { batch, ..PairsConfig::default() }.build(&EvalCx::new(&data))?.run(&Angles, &mut report)?;
    Ok(report)
}

#[test]
fn each_category_has_an_accuracy() {
    let data = Data(vec![
        (10, vec!["12", "30"], "swap_att", ""),
        (10, vec!["30", "12"], "swap_att", ""),
        (50, vec!["50", "51", "52"], "add_obj", ""),
        (70, vec!["60", "60"], "add_obj", ""),
    ]);
    for batch in [1, 3, 64] {
        let report = run(data.clone(), batch).expect("a report");
        assert_eq!((report.get("accuracy"), report.samples), (Some(0.5), 4), "of equal scores none is preferred");
        assert_eq!((report.get("accuracy_swap_att"), report.get("accuracy_add_obj")), (Some(0.5), Some(0.5)));
        let chance = report.metrics[0].chance.expect("it has one");
        assert!((chance - (0.5 + 0.5 + 1.0 / 3.0 + 0.5) / 4.0).abs() < 1e-12);
        assert_eq!(report.get("text_score"), None, "there are no pairs");
        assert_eq!(report.examples.len(), 4);
        assert_eq!(report.tables[0].columns[0].values, [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(report.tables[0].units, ["10.jpg", "10.jpg", "50.jpg", "70.jpg"], "two rows are of one picture");
    }
}

#[test]
fn pairs_have_winogrounds_scores() {
    let pair = |name: &'static str, pictures: [u8; 2], texts: [&'static str; 2]| {
        let [first, second] = texts;
        [(pictures[0], vec![first, second], "Object", name), (pictures[1], vec![second, first], "Object", name)]
    };
    let data = Data(
        [
            pair("right", [10, 50], ["10", "50"]),
            // Both pictures prefer their texts; the second text, though, is nearer to the first picture than to its own.
            pair("text", [40, 44], ["39", "41.9"]),
            // Both texts prefer their pictures; both pictures prefer the first text.
            pair("image", [40, 44], ["41", "70"]),
            pair("wrong", [10, 50], ["50", "10"]),
        ]
        .concat(),
    );
    let report = run(data, 64).expect("a report");
    let scores = ["text_score", "image_score", "group_score"].map(|name| report.get(name).expect(name));
    assert_eq!(report.tables[0].units[..4], ["right", "right", "text", "text"], "pictures of a pair are one sampling unit");
    let table = report.tables.iter().find(|table| table.name == "pairs").expect("a row for each pair");
    assert_eq!(table.keys, ["image", "right", "text", "wrong"]);
    assert_eq!(table.columns[0].values, [0.0, 1.0, 1.0, 0.0], "text_score");
    assert_eq!(table.columns[1].values, [1.0, 1.0, 0.0, 0.0], "image_score");
    assert_eq!(table.columns[2].values, [0.0, 1.0, 0.0, 0.0], "group_score");
    assert_eq!(scores, [0.5, 0.5, 0.25]);
}

#[test]
fn what_cannot_be_judged_is_listed() {
    let data = Data(vec![(10, vec!["10"], "", ""), (10, vec!["10", "20"], "", "half")]);
    let report = run(data, 64).expect("one is left");
    assert_eq!(report.skipped, ["10: 1 texts; a right one and a wrong one are needed"]);
    assert!(report.notes[0].contains("pair half has 1 usable pictures"), "{:?}", report.notes);
    assert!(run(Data(vec![]), 64).is_err());
}
