//! Each set on a small folder in the real layout.

use std::path::Path;

use vlhub_sdk::testkit::source::every_law;

use vlhub_sdk::serde_json::{Value, json};

use super::*;

/// A folder with text files, and files of pictures, which a source does not look into.
fn folder(texts: &[(&str, String)], pictures: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    let path = |name: &str| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it is below the root")).expect("room");
        path
    };
    for (name, text) in texts {
        std::fs::write(path(name), text).expect("room");
    }
    for name in pictures {
        std::fs::write(path(name), "a picture").expect("room");
    }
    root
}

/// The samples of a source: key, texts, and the columns that are not empty.
fn samples(config: &dyn Config<dyn Source>, root: &Path) -> Result<Vec<(String, Vec<String>, String)>> {
    let source = config.build(&SourceCx::new(root))?;
    let read = |index| {
        let raw = source.read(index).map_err(|bad| Error::invalid(bad.to_string()))?;
        assert!(matches!(&raw.picture, Some(Picture::Encoded(bytes)) if !bytes.is_empty()), "{}", raw.key);
        let meta = raw.caption.meta.values().filter(|value| !value.is_empty()).cloned().collect::<Vec<_>>().join(" ");
        Ok((raw.key, raw.caption.texts, meta))
    };
    (0..source.len()).map(read).collect()
}

fn named(config: &dyn Config<dyn Source>, root: &Path) -> Vec<(String, Vec<String>)> {
    samples(config, root).expect("it is whole").into_iter().map(|(key, texts, _)| (key, texts)).collect()
}

fn expected(all: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    all.iter().map(|(key, texts)| ((*key).to_owned(), texts.iter().map(|text| (*text).to_owned()).collect())).collect()
}

fn flickr(name: FlickrSet, split: &str) -> FlickrConfig {
    FlickrConfig { name, path: ".".into(), split: split.into() }
}

fn karpathy(images: &[(&str, &str, &str, &[&str])]) -> String {
    let image = |(filepath, filename, split, texts): &(&str, &str, &str, &[&str])| {
        let sentences: Vec<Value> = texts.iter().map(|raw| json!({"raw": raw, "tokens": [], "imgid": 0, "sentid": 0})).collect();
        let mut image = json!({"filename": filename, "split": split, "sentences": sentences, "imgid": 0, "sentids": [0]});
        if !filepath.is_empty() {
            image["filepath"] = json!(filepath);
        }
        image
    };
    json!({"images": images.iter().map(image).collect::<Vec<_>>(), "dataset": "x"}).to_string()
}

#[test]
fn flickr_is_read_in_every_layout() {
    let two = expected(&[("1.jpg", &["A dog runs .", "a dog, brown"]), ("3.jpg", &["A cat ."])]);
    let list = karpathy(&[
        ("", "1.jpg", "test", &["A dog runs .", "a dog, brown "]),
        ("", "2.jpg", "train", &["no"]),
        ("", "3.jpg", "test", &["A cat ."]),
    ]);
    let by_json = folder(&[("dataset_flickr30k.json", list)], &["flickr30k-images/1.jpg", "flickr30k-images/3.jpg"]);
    assert_eq!(named(&flickr(FlickrSet::Flickr30k, "test"), by_json.path()), two);
    let error = samples(&flickr(FlickrSet::Flickr30k, "tset"), by_json.path()).expect_err("no such split").to_string();
    assert!(error.contains("known: test train all"), "{error}");
    every_law(&flickr(FlickrSet::Flickr30k, "test"), by_json.path()).expect("it keeps the laws of sources");

    let lines = "image,caption\n1.jpg,A dog runs .\n1.jpg,a dog, brown\n3.jpg,A cat .\n";
    let by_table = folder(&[("flickr8k_test_karpathy.txt", lines.into())], &["Images/1.jpg", "Images/3.jpg"]);
    assert_eq!(named(&flickr(FlickrSet::Flickr8k, "test"), by_table.path()), two);

    let tokens = "1.jpg#0\tA dog runs .\n1.jpg#1\ta dog, brown\n2.jpg#0\tno\n3.jpg#0\tA cat .\n".to_owned();
    let files = [("Flickr8k.token.txt", tokens.clone()), ("Flickr_8k.testImages.txt", "1.jpg\n3.jpg\n".into())];
    let by_token = folder(&files, &["Flicker8k_Dataset/1.jpg", "Flicker8k_Dataset/3.jpg"]);
    assert_eq!(named(&flickr(FlickrSet::Flickr8k, "test"), by_token.path()), two);

    let whole =
        folder(&[("results_20130124.token", tokens)], &["flickr30k-images/1.jpg", "flickr30k-images/2.jpg", "flickr30k-images/3.jpg"]);
    let config = flickr(FlickrSet::Flickr30k, "test");
    let source = config.build(&SourceCx::new(whole.path())).expect("it is whole");
    assert!(source.len() == 3 && source.notes()[0].contains("knows no split"), "{:?}", source.notes());
    let broken = folder(&[("results_20130124.token", "1.jpg#0\ta\nnothing here\n".into())], &["flickr30k-images/1.jpg"]);
    let error = samples(&config, broken.path()).expect_err("line 2").to_string();
    assert!(error.contains("results_20130124.token:2: no picture and caption"), "{error}");
}

#[test]
fn kaggles_table_of_flickr30k_is_read_with_its_line_that_lacks_a_bar() {
    let lines = [
        "image_name| comment_number| comment",
        "1.jpg| 0| A dog runs .",
        "1.jpg| 4   A dog runs across the grass .",
        "3.jpg| 0| A cat | a bar .",
    ];
    let table = lines.join("\n");
    let pictures = ["flickr30k_images/1.jpg", "flickr30k_images/3.jpg"];
    let config = flickr(FlickrSet::Flickr30k, "all");
    let read = folder(&[("results.csv", table.clone())], &pictures);
    let wanted = expected(&[("1.jpg", &["A dog runs .", "A dog runs across the grass ."]), ("3.jpg", &["A cat | a bar ."])]);
    assert_eq!(named(&config, read.path()), wanted);
    for broken in ["1.jpg| 4", "1.jpg| 4 ", "1.jpg| dogs run", "1.jpg| 4dogs run"] {
        let refused = folder(&[("results.csv", format!("{table}\n{broken}\n"))], &pictures);
        let error = samples(&config, refused.path()).expect_err(broken).to_string();
        assert!(error.contains("results.csv:5: no picture and caption"), "{broken}: {error}");
    }
}

#[test]
fn coco_is_read_by_year_and_by_karpathys_splits() {
    let annotations = json!({
        "info": {}, "licenses": [],
        "images": [{"id": 9, "file_name": "000000000009.jpg", "width": 2}, {"id": 4, "file_name": "000000000004.jpg"}],
        "annotations": [
            {"image_id": 9, "id": 12, "caption": "two\n"}, {"image_id": 9, "id": 3, "caption": "one"}, {"image_id": 4, "id": 5, "caption": "a bus"},
        ],
    });
    let list = karpathy(&[("val2014", "COCO_val2014_000000000001.jpg", "test", &["a bike"]), ("train2014", "b.jpg", "train", &["no"])]);
    let files = [("annotations/captions_val2017.json", annotations.to_string()), ("dataset_coco.json", list)];
    let root = folder(&files, &["val2017/000000000009.jpg", "val2017/000000000004.jpg", "val2014/COCO_val2014_000000000001.jpg"]);
    let of = |split: &str| CocoCaptionsConfig { path: ".".into(), split: split.into() };
    let year = expected(&[("000000000004.jpg", &["a bus"]), ("000000000009.jpg", &["one", "two"])]);
    assert_eq!(named(&of("val2017"), root.path()), year, "in the order of the numbers, as torchvision reads them");
    assert_eq!(named(&of("test"), root.path()), expected(&[("val2014/COCO_val2014_000000000001.jpg", &["a bike"])]));
    every_law(&of("val2017"), root.path()).expect("it keeps the laws of sources");
    let error = samples(&of("val2014"), root.path()).expect_err("the year is not there");
    assert!(error.is_absent() && error.to_string().contains("captions_val2014.json"), "{error}");
}

#[test]
fn winoground_has_two_samples_for_each_line() {
    let line = json!({
        "id": 7, "image_0": "ex_7_img_0", "image_1": "ex_7_img_1", "caption_0": "an old person kisses a young person",
        "caption_1": "a young person kisses an old person", "tag": "Adjective-Age", "secondary_tag": "", "num_main_preds": 1, "collapsed_tag": "Object",
    });
    let root = folder(&[("examples.jsonl", format!("{line}\n"))], &["images/ex_7_img_0.png", "images/ex_7_img_1.png"]);
    let config = WinogroundConfig { path: ".".into() };
    let all = samples(&config, root.path()).expect("it is whole");
    assert_eq!((all[0].0.as_str(), all[1].0.as_str(), all.len()), ("ex_7_img_0.png", "ex_7_img_1.png", 2));
    assert_eq!(all[0].1.iter().rev().collect::<Vec<_>>(), all[1].1.iter().collect::<Vec<_>>(), "each has its own caption first");
    assert_eq!(all[1].1[0], "a young person kisses an old person");
    assert_eq!(all[0].2, "Object 7");
    every_law(&config, root.path()).expect("it keeps the laws of sources");
    let broken = folder(&[("examples.jsonl", "{}\n".into())], &[]);
    let error = samples(&config, broken.path()).expect_err("fields are missing").to_string();
    assert!(error.contains("examples.jsonl:1:") && error.contains("missing field"), "{error}");
}

#[test]
fn sugarcrepe_has_its_categories() {
    let items = json!({
        "10": {"filename": "b.jpg", "caption": "second", "negative_caption": "wrong"},
        "2": {"filename": "a.jpg", "caption": "a red bus", "negative_caption": "a blue bus"},
    });
    let one = json!({"0": {"filename": "a.jpg", "caption": "x", "negative_caption": "y"}});
    let files = [("add_att.json", items.to_string()), ("swap_obj.json", one.to_string())];
    let root = folder(&files, &["val2017/a.jpg", "val2017/b.jpg"]);
    let config = SugarcrepeConfig { path: ".".into(), ..SugarcrepeConfig::default() };
    let all = samples(&config, root.path()).expect("it is whole");
    let names: Vec<_> = all.iter().map(|(key, texts, category)| (key.as_str(), texts[0].as_str(), category.as_str())).collect();
    assert_eq!(names, [("add_att/2", "a red bus", "add_att"), ("add_att/10", "second", "add_att"), ("swap_obj/0", "x", "swap_obj")]);
    let source = config.build(&SourceCx::new(root.path())).expect("it is whole");
    assert!(source.notes()[0].contains("add_obj"), "what is not there is told: {:?}", source.notes());
    let only = SugarcrepeConfig { categories: vec!["swap_obj".into()], ..config.clone() };
    assert_eq!(samples(&only, root.path()).expect("one").len(), 1);
    let wrong = SugarcrepeConfig { categories: vec!["swap".into()], ..config };
    assert!(samples(&wrong, root.path()).expect_err("no such category").to_string().contains("swap_att"));
}

#[test]
fn what_is_not_there_is_absent_with_its_layout() {
    let empty = folder(&[], &[]);
    let some = |text: &str| text.to_owned();
    let configs: [(&dyn Config<dyn Source>, &str); 5] = [
        (&flickr(FlickrSet::Flickr8k, "test"), "dataset_flickr8k.json"),
        (&flickr(FlickrSet::Flickr30k, "test"), "flickr30k-images"),
        (&CocoCaptionsConfig { path: some("."), ..CocoCaptionsConfig::default() }, "annotations/captions_val2017.json"),
        (&WinogroundConfig { path: some(".") }, "examples.jsonl"),
        (&SugarcrepeConfig { path: some("."), ..SugarcrepeConfig::default() }, "add_att.json"),
    ];
    for (config, wanted) in configs {
        let error = config.build(&SourceCx::new(empty.path())).expect_err("nothing is there");
        assert!(error.is_absent() && error.to_string().contains(wanted), "{error}");
    }
    let list = karpathy(&[("", "1.jpg", "test", &["a"])]);
    let without_pictures = folder(&[("dataset_flickr30k.json", list)], &[]);
    let error = flickr(FlickrSet::Flickr30k, "test").build(&SourceCx::new(without_pictures.path()));
    // The pictures may lie beside the list, so the folder itself is one of those looked at.
    assert!(error.is_err_and(|error| error.is_absent()));
}
