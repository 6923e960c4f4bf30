//! The objective against open_clip, the worked example and its own rules.

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::golden::losses::{cases, close, encoded, float_waves, matrix, near, number};
use vlhub_sdk::{Teacher, Tower};

use crate::DistillConfig;

fn tower(image: bool) -> Tower {
    let input = if image {
        InputSpec::Image { size: (4, 4), mean: [0.0; 3], std: [1.0; 3] }
    } else {
        InputSpec::Text { context: 5, vocab: 10, pad: 0, truncates: false }
    };
    Tower { input, width: 8 }
}

/// A run with a teacher `big`, whose weights have a scale or not.
fn cx(store: &VarStore, teacher_log_scale: Option<f64>) -> ObjectiveCx<'_> {
    let (image, text) = (Some(tower(true)), Some(tower(false)));
    let teacher = Teacher { name: "big".into(), embed: 8, image: image.clone(), text: text.clone(), log_scale: teacher_log_scale };
    ObjectiveCx { path: store.root() / "objective", shared: store.root(), embed: 8, image, text, teachers: vec![teacher] }
}

fn config() -> DistillConfig {
    DistillConfig { teacher: "big".into(), ..Default::default() }
}

/// Features of the view `main`: the student's image and text, then the teacher's.
fn features(of: [&Tensor; 4]) -> Features {
    let rows = of[0].size()[0];
    let mut features = Features::new(0..rows, rows);
    let forwards = [Forward::image("main"), Forward::text("main")];
    for (at, embed) in of.into_iter().enumerate() {
        let forward = forwards[at % 2].clone();
        features.insert_for(if at < 2 { forward } else { forward.from_teacher("big") }, encoded(embed));
    }
    features
}

fn loss(config: &DistillConfig, store: &VarStore, teacher_log_scale: Option<f64>, of: [&Tensor; 4]) -> Result<Loss> {
    let objective = config.build(&cx(store, teacher_log_scale))?;
    objective.loss(&features(of).only(&objective.needs(), "distill"), &Batch::new(of[0].size()[0]))
}

/// The inputs of the worked example, and a teacher of their signed squares.
fn waves() -> [Tensor; 4] {
    let (image, text) = float_waves();
    let (teacher_image, teacher_text) = (&image * image.abs(), &text * text.abs());
    [image, text, teacher_image, teacher_text]
}

#[test]
fn equals_the_worked_example() {
    let [image, text, teacher_image, teacher_text] = waves();
    for (options, of_weights, why) in [
        (None, Some(100f64.ln()), "the scale of the teacher's weights"),
        (Some(100f64.ln()), None, "the scale of the options"),
        (Some(100f64.ln()), Some(1.0), "the options go first"),
    ] {
        let store = VarStore::new(Device::Cpu);
        let config = DistillConfig { teacher_log_scale: options, ..config() };
        let found = loss(&config, &store, of_weights, [&image, &text, &teacher_image, &teacher_text]).expect("a loss");
        near(found.value(), 0.108714859526072, 1e-5, why);
    }
}

/// Loss to 1e-5, gradients to 1e-4 of their largest entry.
#[test]
fn loss_and_gradients_equal_open_clip() {
    let cases = cases(env!("CARGO_MANIFEST_DIR"), "distill", "cases");
    assert_eq!(cases.len(), 4);
    for case in &cases {
        let origin = format!("{} of open_clip", case["name"]);
        let number = |key: &str| number(case, key);
        let leaves = ["image", "text", "teacher_image", "teacher_text"].map(|key| matrix(case, key).set_requires_grad(true));
        let store = VarStore::new(Device::Cpu);
        let config = DistillConfig { init_log_scale: number("logit_scale"), ..config() };
        let found = loss(&config, &store, Some(number("teacher_log_scale")), leaves.each_ref()).expect("a loss");
        near(found.value(), number("loss"), 1e-5, &origin);
        found.total.backward();
        for (leaf, key) in leaves.iter().zip(["image_grad", "text_grad"]) {
            close(&leaf.grad(), &matrix(case, key), 1e-4, &format!("{origin}: {key}"));
        }
        let slope = store.variables()["logit_scale"].grad().double_value(&[]);
        let wanted = number("logit_scale_grad");
        assert!((slope - wanted).abs() <= 1e-4 * wanted.abs().max(1e-3), "{origin}: the scale's gradient is {slope}, not {wanted}");
        assert!(leaves[2..].iter().all(|leaf| !leaf.grad().defined()), "{origin}: nothing flows back into the teacher");
    }
}

#[test]
fn a_student_that_is_its_teacher_has_no_gradient() {
    let [image, text, ..] = waves();
    let (image, text) = (image.set_requires_grad(true), text.set_requires_grad(true));
    let store = VarStore::new(Device::Cpu);
    let found = loss(&config(), &store, Some(config().init_log_scale), [&image, &text, &image.detach(), &text.detach()]).expect("a loss");
    found.total.backward();
    for (slope, what) in [(image.grad(), "image"), (text.grad(), "text"), (store.variables()["logit_scale"].grad(), "scale")] {
        assert!(slope.abs().max().double_value(&[]) < 1e-5, "{what}: {slope:?}");
    }
}

#[test]
fn a_student_comes_to_choose_as_its_teacher_does() {
    let [image, text, teacher_image, teacher_text] = waves();
    let store = VarStore::new(Device::Cpu);
    let mut leaves = [image, text].map(|leaf| leaf.set_requires_grad(true));
    let now = |leaves: &[Tensor; 2]| {
        loss(&config(), &store, Some(2.0), [&leaves[0], &leaves[1], &teacher_image, &teacher_text]).expect("a loss").total
    };
    let least = loss(&config(), &VarStore::new(Device::Cpu), Some(2.0), [&teacher_image, &teacher_text, &teacher_image, &teacher_text]);
    let (first, least) = (now(&leaves).double_value(&[]), least.expect("a loss").value());
    for _ in 0..100 {
        now(&leaves).backward();
        for leaf in &mut leaves {
            let step = leaf.grad() * 0.1;
            *leaf = (leaf.detach() - step).set_requires_grad(true);
        }
    }
    let last = now(&leaves).double_value(&[]);
    assert!(last < first && last < least + 0.1, "from {first} to {last}; its teacher's features at its own scale give {least}");
}

#[test]
fn several_pairs_are_averaged_and_the_teacher_reads_them_all() {
    let [image, text, teacher_image, teacher_text] = waves();
    let store = VarStore::new(Device::Cpu);
    let pairs = [("main", "main"), ("main", "eda")].map(|(image, text)| (image.to_owned(), text.to_owned())).to_vec();
    let objective = DistillConfig { pairs, ..config() }.build(&cx(&store, Some(1.5))).expect("builds");
    let mut needs: Vec<Need> = [Need::image("main"), Need::text("eda"), Need::text("main")]
        .into_iter()
        .flat_map(|need| [need.clone(), need.from_teacher("big")])
        .collect();
    needs.sort();
    assert_eq!(objective.needs(), needs, "one forward for each view and model");
    let mut all = features([&image, &text, &teacher_image, &teacher_text]);
    all.insert(Modality::Text, "eda", encoded(&image));
    all.insert_for(Forward::text("eda").from_teacher("big"), encoded(&teacher_image));
    let both = objective.loss(&all, &Batch::new(4)).expect("a loss").value();
    let one = |of: [&Tensor; 4]| loss(&config(), &VarStore::new(Device::Cpu), Some(1.5), of).expect("a loss").value();
    let (first, second) = (one([&image, &text, &teacher_image, &teacher_text]), one([&image, &image, &teacher_image, &teacher_image]));
    near(both, (first + second) / 2.0, 1e-5, "the mean over the two pairs");
}

#[test]
fn the_scale_is_shared_and_stays_between_one_and_its_bound() {
    for (start, end, why) in [(9.0, 100f64.ln(), "above"), (-1.0, 0.0, "below"), (2.0, 2.0, "inside")] {
        let store = VarStore::new(Device::Cpu);
        let mut objective = DistillConfig { init_log_scale: start, ..config() }.build(&cx(&store, Some(1.0))).expect("builds");
        objective.after_step(&Features::new(0..0, 0), 1.0).expect("clamps");
        assert_eq!(store.variables().keys().collect::<Vec<_>>(), ["logit_scale"], "the name of published checkpoints, and nothing else");
        near(store.variables()["logit_scale"].double_value(&[]), end, 1e-6, why);
    }
}

#[test]
fn a_teacher_without_a_scale_is_refused_when_training_starts() {
    let store = VarStore::new(Device::Cpu);
    let objective = config().build(&cx(&store, None)).expect("a trained model is built without its teacher's weights");
    let [image, text, ..] = waves();
    let prepared = objective.prepare(&mut Batch::new(4), &mut vlhub_sdk::testkit::toy::Seeded(0)).map(drop);
    let computed = objective.loss(&features([&image, &text, &image, &text]), &Batch::new(4)).map(drop);
    for error in [prepared.expect_err("no scale"), computed.expect_err("no scale")] {
        assert!(matches!(&error, Error::Options(why) if why.contains("`teacher_log_scale`") && why.contains("`big`")), "{error}");
    }
}

#[test]
fn options_and_towers_that_do_not_fit_are_told_of_together() {
    let store = VarStore::new(Device::Cpu);
    let mut cx = cx(&store, Some(1.0));
    cx.text = None;
    cx.teachers[0].image = None;
    let config =
        DistillConfig { pairs: vec![], max_scale: 0.5, init_log_scale: f64::NAN, teacher_log_scale: Some(f64::INFINITY), ..config() };
    let error = config.build(&cx).expect_err("refused").to_string();
    for words in [
        "`pairs`",
        "`max_scale` is 0.5",
        "`init_log_scale` is NaN",
        "`teacher_log_scale` is inf",
        "`[backbone.text]`",
        "the teacher `big` has no image tower",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    let error = DistillConfig::default().build(&cx).expect_err("refused").to_string();
    for words in ["no teacher `teacher`", "it has: big", "`[teacher.teacher]`"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(store.is_empty(), "nothing was made");
}
