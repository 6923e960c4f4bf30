//! Supervised heads that are asked for a part of the classes, and heads of more classes.

use vlhub_sdk::suites::SubsetChoice;

use super::*;

/// A head of so many classes; the red of a picture's first pixel is the place of its largest logit, the green that of the next.
struct Head {
    width: usize,
    names: Vec<String>,
}

impl Model for Head {
    fn images(&self, images: &[RgbImage], _tokens: bool) -> Result<Encoded> {
        let place = |image: &RgbImage| image.get_pixel(0, 0).0.map(f32::from);
        let rows: Vec<f32> = images.iter().flat_map(place).collect();
        let embed = Tensor::from_slice(&rows).view([-1, 3]);
        Ok(Encoded { pooled: embed.shallow_clone(), embed, tokens: None })
    }
    fn texts(&self, _: &[String], _: bool) -> Result<Encoded> {
        Err(Error::invalid("no texts"))
    }
    fn skills(&self) -> Skills<'_> {
        Skills { images: true, classifier: Some(self), classes: &self.names, ..Skills::default() }
    }
}

impl Classifier for Head {
    fn classes(&self) -> usize {
        self.width
    }
    fn classify(&self, images: &Encoded) -> Result<Tensor> {
        let rows = images.embed.size()[0];
        let logits = Tensor::zeros([rows, self.width as i64], (Kind::Float, Device::Cpu));
        for row in 0..rows {
            let [first, next] = [0, 1].map(|at| images.embed.double_value(&[row, at]) as i64);
            let _ = logits.get(row).get(next).fill_(1.0);
            let _ = logits.get(row).get(first).fill_(2.0);
        }
        Ok(logits)
    }
}

/// Pictures: label, largest logit, next largest.
struct Set {
    pictures: Vec<(Vec<i64>, [u8; 2])>,
    classes: Vec<String>,
    evaluated: Vec<u32>,
}

impl Datasets for Set {
    fn open(&self, _: &serde_json::Value) -> Result<Arc<dyn Dataset>> {
        let Self { pictures, classes, evaluated } = self;
        Ok(Arc::new(Self { pictures: pictures.clone(), classes: classes.clone(), evaluated: evaluated.clone() }))
    }
}

impl Dataset for Set {
    fn len(&self) -> usize {
        self.pictures.len()
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn evaluated(&self) -> &[u32] {
        &self.evaluated
    }
    fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_> {
        Box::new(self.pictures.iter().enumerate().map(|(at, (labels, [first, next]))| {
            let image = RgbImage::from_pixel(1, 1, Rgb([*first, *next, 0]));
            Ok(Sample { key: format!("picture {at}"), image, texts: vec![], labels: labels.clone(), meta: BTreeMap::new() })
        }))
    }
}

fn measured(subset: Option<SubsetChoice>, set: &Set, head: &Head) -> Result<Report> {
    let mut report = Report::default();
    AccuracyConfig { subset, ..accuracy() }.build(&EvalCx::new(set))?.run(head, &mut report)?;
    Ok(report)
}

#[test]
fn a_head_chooses_among_the_classes_that_are_asked_for() {
    let set = |evaluated: &[u32]| Set {
        // The second is right only where class 5 is not asked for; the third is of a class that is left out.
        pictures: vec![(vec![7], [7, 5]), (vec![2], [5, 2]), (vec![5], [5, 0]), (vec![0, 7], [5, 7])],
        classes: kinds(10),
        evaluated: evaluated.to_vec(),
    };
    let silent = Head { width: 10, names: vec![] };
    let named = Head { width: 10, names: kinds(10).into_iter().rev().collect() };
    let all = measured(None, &set(&[]), &silent).expect("a report");
    assert_eq!((all.get("top1"), all.samples), (Some(0.5), 4), "one of two right classes is not enough if neither is first");
    for (subset, evaluated) in [
        (None, &[2, 7, 0][..]),
        (Some(SubsetChoice::Numbers(vec![7, 0, 2])), &[]),
        (Some(SubsetChoice::Numbers(vec![7, 0, 2, 5])), &[0, 2, 7]),
    ] {
        let report = measured(subset.clone(), &set(evaluated), &silent).expect("a report");
        assert_eq!((report.get("top1"), report.samples), (Some(1.0), 3), "{subset:?}");
        assert!(
            report.notes.iter().any(|note| note == "3 of 10 classes are asked for; pictures of other classes that were left out: 1"),
            "{:?}",
            report.notes
        );
        assert_eq!(report.classes.len(), 3);
    }
    // The names of the head are turned round: its logit n is class 9 - n.
    let turned = Set { pictures: vec![(vec![7], [2, 5]), (vec![2], [4, 7])], ..set(&[2, 7]) };
    let report = measured(None, &turned, &named).expect("a report");
    assert_eq!((report.get("top1"), report.classes), (Some(1.0), vec!["kind 2".to_owned(), "kind 7".into()]));
    let none = measured(Some(SubsetChoice::Numbers(vec![9])), &set(&[]), &silent).expect_err("no picture").to_string();
    assert!(none.contains("no sample is of a class that is asked for; 4 of other classes"), "{none}");
}

#[test]
fn a_head_that_was_trained_on_the_subset_has_its_order_or_its_names() {
    let set = Set { pictures: vec![(vec![7], [0, 1]), (vec![2], [1, 0]), (vec![3], [1, 0])], classes: kinds(10), evaluated: vec![] };
    let subset = || Some(SubsetChoice::Numbers(vec![7, 2]));
    let silent = Head { width: 2, names: vec![] };
    let report = measured(subset(), &set, &silent).expect("a report");
    assert_eq!((report.get("top1"), report.samples), (Some(1.0), 2), "by the order of the subset");
    let named = Head { width: 2, names: vec!["kind 2".into(), "kind 7".into()] };
    assert_eq!(measured(subset(), &set, &named).expect("a report").get("top1"), Some(0.0), "its first class is kind 2");
    for (head, wanted) in [(silent, "has 10 classes"), (named, "8 of the 10 classes of `data` are none of the supervised head")] {
        let error = measured(None, &set, &head).expect_err("narrower than the data").to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn labels_without_names_count_the_head_s_classes() {
    let set = Set { pictures: vec![(vec![7], [7, 5]), (vec![2], [5, 2]), (vec![5], [5, 0])], classes: vec![], evaluated: vec![] };
    let report = measured(Some(SubsetChoice::Numbers(vec![2, 7])), &set, &Head { width: 10, names: kinds(10) }).expect("a report");
    assert_eq!((report.get("top1"), report.samples), (Some(1.0), 2));
}

#[test]
fn a_head_of_imagenet_21k_is_asked_for_imagenets_classes() {
    let numbers: Vec<String> = (0..1000).map(|number| format!("n{number:08}")).collect();
    // In Microsoft's order ImageNet's classes are the first; the picture's largest logit is beyond a byte in the other orders.
    let set = Set { pictures: vec![(vec![3], [3, 200]), (vec![200], [3, 200])], classes: numbers, evaluated: vec![] };
    let report = measured(None, &set, &Head { width: 21842, names: vec![] }).expect("a report");
    assert_eq!(report.get("top1"), Some(0.5));
    assert!(report.notes[0].contains("ImageNet-22k (Microsoft's order, 21,842 classes)"), "{:?}", report.notes);
    let asked = measured(Some(SubsetChoice::Numbers(vec![200, 7])), &set, &Head { width: 21842, names: vec![] }).expect("a report");
    assert_eq!((asked.get("top1"), asked.samples), (Some(1.0), 1));
    let error = measured(None, &set, &Head { width: 5000, names: vec![] }).expect_err("no list has so many").to_string();
    assert!(error.contains("has 1000 classes") && error.contains("5000"), "{error}");
}
