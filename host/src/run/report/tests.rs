use serde_json::json;
use vlhub_core::Matrix;

use super::*;
use crate::run::history::Evaluation;
use crate::run::results::classes as class_rows;
use crate::run::results::examples::{StoredAnswer, StoredExample, StoredPicture};

fn full() -> RunData {
    let steps = (1..=300)
        .map(|step| {
            let x = f64::from(step);
            json!({"step": step, "loss": 4.0 / (1.0 + x / 60.0) + 0.2 * (x * 1.7).sin(), "lr": 1e-3 * (x / 50.0).min(1.0), "samples_per_second": 900.0 + 40.0 * x.cos(), "data_time": 0.01, "batch_time": 0.07, "metrics": {"logit_scale": 14.3 + x / 100.0}})
        })
        .collect();
    let evaluation = |step: u64, top1: f64| Evaluation {
        name: "zeroshot".into(),
        step,
        metrics: [("top1".to_owned(), top1)].into(),
        chance: [("top1".to_owned(), 0.1)].into(),
        samples: 100,
        interval: [("top1".to_owned(), [top1 - 0.1, top1 + 0.1])].into(),
        notes: vec!["80 prompts".into()],
        ..Evaluation::default()
    };
    let matrix = Matrix { classes: vec!["a".into(), "<b>".into(), "c".into()], counts: vec![vec![8, 1, 1], vec![0, 9, 1], vec![4, 0, 6]] };
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    RunData {
        name: "first <run>".into(),
        about: vec![fact("model", "vit_tiny & friends"), fact("data", "shapes, 96 samples"), fact("cpu", "a <processor>")],
        options: [fact("data.train.size", "16"), fact("eval.zeroshot.data.path", "\"held <out>\"")].into(),
        config: "[train]\nlr = 0.001 # <fast>\n".into(),
        steps,
        results: vec![evaluation(100, 0.3), evaluation(300, 0.52)],
        classes: vec![("zeroshot".into(), class_rows::of_matrix(&matrix))],
        matrices: vec![("zeroshot".into(), matrix)],
        skipped: vec![("truncated JPEG".into(), 3, "a.tar · 0001".into())],
        ..RunData::default()
    }
}

#[test]
fn a_report_shows_everything_and_escapes_it() {
    let page = page(&full(), None);
    for (wanted, why) in [
        ("first &lt;run&gt;", "the name is escaped"),
        ("vit_tiny &amp; friends", "facts of the engine are shown"),
        ("5.2 ×", "results are compared with chance"),
        ("80 prompts", "notes are shown"),
        ("a taken for &lt;b&gt;: 1 (10.0 %)", "cells have titles, and class names are escaped"),
        ("0.42 to 0.62", "numbers have intervals"),
        ("<td>&lt;b&gt;</td><td class=\"n\">90.0 %</td><td class=\"n\">90.0 %</td>", "recall and precision of a class"),
        ("shapes, 96 samples", "the data is described"),
        ("path = &quot;held &lt;out&gt;&quot;", "and that of suites"),
        ("a &lt;processor&gt;", "the machine is described"),
        ("Confused classes side by side", "three classes can be ordered"),
        ("truncated JPEG", "unusable samples are listed"),
        ("lr = 0.001 # &lt;fast&gt;", "the configuration is there"),
        ("zeroshot: top1", "two evaluations make a curve"),
        ("logit_scale", "numbers of objectives have curves"),
        ("14.3 % of the time", "waiting for data is measured"),
    ] {
        assert!(page.contains(wanted), "{why}: {wanted}");
    }
    assert!(
        !page.contains("<run>") && !page.contains("<b>") && !page.contains("<out>") && !page.contains("<script") && !page.contains("NaN")
    );
    assert_eq!(page.matches("<svg").count(), 5 + 1 + 2);
}

#[test]
fn an_empty_run_has_a_report() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("metrics.jsonl"), "").expect("written");
    let page = page(&RunData { name: "empty".into(), path: dir.path().to_owned(), ..RunData::default() }, None);
    assert!(page.contains("No step was recorded") && page.contains("Nothing is known of it"));
}

#[test]
fn a_thousand_classes_are_one_picture_and_the_page_stays_small() {
    let classes: Vec<_> = (0..1000).map(|class| format!("a class with a name of some length, number {class}")).collect();
    // Every class is taken for many others, as a poor model does it.
    let counts =
        (0..1000).map(|row| (0..1000).map(|column| u64::from(row == column || (row * 7 + column * 13) % 40 == 0)).collect()).collect();
    let matrix = Matrix { classes, counts };
    let results = vec![Evaluation { name: "big".into(), ..Evaluation::default() }];
    let rows = class_rows::of_matrix(&matrix);
    let run = RunData { results, classes: vec![("big".into(), rows)], matrices: vec![("big".into(), matrix)], ..RunData::default() };
    let page = page(&run, None);
    assert!(
        page.contains("data:image/png;base64,") && page.contains("The 980 classes between") && page.len() < 1_500_000,
        "{}",
        page.len()
    );
}

#[test]
fn more_classes_than_a_page_holds_are_in_the_file() {
    let rows =
        (0..5000).map(|class| class_rows::ClassRow { class: format!("c{class}"), recall: Some(0.5), ..Default::default() }).collect();
    let results = vec![Evaluation { name: "big".into(), ..Evaluation::default() }];
    let page = page(&RunData { results, classes: vec![("big".into(), rows)], ..RunData::default() }, None);
    assert!(page.contains("and 2980 more, in per_class/big.csv") && page.len() < 600_000, "{}", page.len());
}

#[test]
fn examples_are_shown_with_their_pictures_as_long_as_there_is_room() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(dir.path().join("examples/r")).expect("made");
    std::fs::write(dir.path().join("examples/r/a.jpg"), [&[0xff, 0xd8][..], &[7; 100]].concat()).expect("written");
    std::fs::write(dir.path().join("examples/r/b.png"), vec![9; gallery::ROOM]).expect("written");
    let answer = |text: &str, right| StoredAnswer { text: text.into(), score: Some(0.25), right };
    let example = |title: &str, file: &str| StoredExample {
        section: "Texts to pictures".into(),
        title: title.into(),
        pictures: vec![StoredPicture { file: format!("r/{file}"), answer: answer("<img src=x>", Some(true)) }],
        texts: vec![answer("not <this>", Some(false))],
    };
    let examples = vec![("r".to_owned(), vec![example("a red <square>", "a.jpg"), example("lost", "none.jpg"), example("large", "b.png")])];
    let results = vec![Evaluation { name: "r".into(), ..Evaluation::default() }];
    let page = page(&RunData { path: dir.path().to_owned(), results, examples, ..RunData::default() }, None);
    for wanted in [
        "Examples of r",
        "a red &lt;square&gt;",
        "<figure class=\"right\"><img src=\"data:image/jpeg;base64,",
        "✓ &lt;img src=x&gt;",
        "✗ not &lt;this&gt;",
        "picture missing",
        "1 more in the folder examples/",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    assert!(!page.contains("<img src=x>") && page.len() < 100_000);
}

#[test]
fn a_link_out_of_the_folder_is_not_read_onto_the_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = dir.path().join("run");
    std::fs::create_dir(&run).expect("made");
    std::fs::write(dir.path().join("secret.toml"), "key = \"secret\"\n").expect("written");
    std::fs::write(run.join("metrics.jsonl"), "{\"step\":1,\"loss\":2.0}\n").expect("written");
    for name in ["config.toml", "train_batch0.png"] {
        std::os::unix::fs::symlink(dir.path().join("secret.toml"), run.join(name)).expect("linked");
    }
    let data = RunData::read(&run).expect("it is a run");
    assert!(data.config.is_empty() && data.options.is_empty() && data.batch.is_none(), "{data:?}");
}

#[test]
fn drawings_are_written_beside_the_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let put = |file: &str, text: &str| {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    put("config.toml", "seed = 1\n");
    put("metrics.jsonl", "{\"step\":1,\"loss\":2.0}\n{\"step\":2,\"loss\":1.0}\n");
    put("checkpoints/results.jsonl", "{\"name\":\"z.1\",\"step\":2,\"metrics\":{\"top1\":0.5}}\n");
    let head: Vec<String> = (0..60).map(|class| format!("c{class}")).collect();
    let row = |class: &String| {
        format!("{class},{}\n", head.iter().map(|other| u8::from(other == class).to_string()).collect::<Vec<_>>().join(","))
    };
    put("confusion_matrix/z.1.csv", &format!("t,{}\n{}", head.join(","), head.iter().map(row).collect::<String>()));
    let path = write_report(dir.path(), None).expect("written");
    let page = std::fs::read_to_string(path).expect("there");
    assert!(page.contains("Classes of z.1") && page.contains("Least recognised"), "a run that is older than per_class/ has its matrix");
    let drawn = ["curves", "confusion_matrix/z.1", "confusion_matrix/z.1.clustered"];
    for stem in drawn {
        let svg = std::fs::read_to_string(dir.path().join(format!("{stem}.svg"))).expect(stem);
        assert!(svg.starts_with("<svg xmlns="), "{stem}");
    }
    let png = std::fs::read(dir.path().join("confusion_matrix/z.1.png")).expect("a picture of many classes needs no letters");
    let picture = image::load_from_memory(&png).expect("a PNG").to_rgb8();
    let side = picture.width() / 60;
    assert!(side > 1 && picture.get_pixel(side / 2, side / 2) != picture.get_pixel(side + side / 2, side / 2), "the diagonal is coloured");
    assert_eq!(dir.path().join("curves.png").exists(), cfg!(feature = "png"));
}

#[test]
fn effective_robustness_is_told_by_both_definitions() {
    let dir = tempfile::tempdir().expect("a directory");
    let csv = dir.path().join("standard.csv");
    std::fs::write(&csv, "model,imagenet,imagenet_r\na,0.5,0.3\nb,0.6,0.4\nc,0.7,0.5\n").expect("written");
    let one =
        |name: &str, top1: f64| Evaluation { name: name.into(), metrics: [("top1".to_owned(), top1)].into(), ..Evaluation::default() };
    let run = RunData { results: vec![one("imagenet", 0.6), one("imagenet_r", 0.45)], ..RunData::default() };
    let plain = page(&run, None);
    assert!(plain.contains("Effective robustness") && plain.contains("0.75000") && plain.contains("--baseline FILE.csv"), "{plain}");
    let with_line = page(&run, Some(&Baseline::read(&csv).expect("three models")));
    assert!(with_line.contains("+0.05") && !with_line.contains("--baseline"), "{with_line}");
}
