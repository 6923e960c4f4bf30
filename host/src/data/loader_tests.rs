use super::*;
use crate::data::testing::Memory;
use image::RgbImage;
use rand_core::RngCore;
use vlhub_core::{Augmentation, Caption, CaptionTransform};
use vlhub_sdk::pixels::{Fit, Sampling};

#[derive(Debug)]
struct Letters;
impl Tokenizer for Letters {
    fn body(&self, ids: &[i64]) -> std::ops::Range<usize> {
        0..ids.len()
    }
    fn context(&self) -> usize {
        40
    }
    fn vocab(&self) -> usize {
        256
    }
    fn pad(&self) -> i64 {
        0
    }
    fn encode(&self, text: &str) -> Vec<i64> {
        text.bytes().take(40).map(i64::from).collect()
    }
    fn decode(&self, ids: &[i64]) -> String {
        ids.iter().filter_map(|id| u8::try_from(*id).ok()).map(char::from).collect()
    }
}

/// Adds random numbers to the first pixel, so that a draw is visible in the batch.
#[derive(Debug)]
struct Noise;
impl Augmentation for Noise {
    fn apply(&self, mut image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        rng.fill_bytes(&mut image.get_pixel_mut(0, 0).0);
        Ok(image)
    }
}

/// Appends a random number; drops captions that hold a word.
#[derive(Debug)]
struct Words(&'static str);
impl CaptionTransform for Words {
    fn apply(&self, mut caption: Caption, rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        caption.texts[0] = format!("{} {}", rng.next_u32() % 100, caption.texts[0]);
        Ok((self.0.is_empty() || !caption.texts[0].contains(self.0)).then_some(caption))
    }
}

fn views(word: &'static str) -> Views {
    let image = |name: &str| ImageView { name: name.into(), augment: vec![("noise".into(), Box::new(Noise) as Box<dyn Augmentation>)] };
    let text = TextView { name: "main".into(), transform: vec![("words".into(), Box::new(Words(word)) as Box<dyn CaptionTransform>)] };
    Views { images: vec![image("main"), image("second")], texts: vec![text], labels: true, labeller: None }
}

fn config(threads: usize) -> LoaderConfig {
    let image = ImageInput {
        size: (8, 10),
        mean: [0.5, 0.4, 0.3],
        std: [0.2, 0.25, 0.5],
        fit: Fit::Shortest,
        sampling: Sampling::default(),
        fill: 0,
    };
    LoaderConfig { batch: 6, threads, seed: 5, image: Some(image), max_bad_fraction: 0.5, ..LoaderConfig::default() }
}

fn loader(source: Memory, word: &'static str, config: LoaderConfig, log: &SkipLog) -> Loader {
    Loader::new(Arc::new(source), views(word), Some(Arc::new(Letters)), config, log.clone()).expect("it fits together")
}

/// Everything in a batch as one number.
fn hash(loaded: &LoadedBatch) -> u128 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    let batch = &loaded.batch;
    for tensor in [batch.image("main"), batch.image("second"), batch.text("main"), batch.extra(Batch::LABELS)]
        .map(|tensor| tensor.expect("it is there"))
    {
        hash.update(format!("{:?}", tensor.size()).as_bytes());
        let values: Vec<f64> = tensor.flatten(0, -1).to_kind(tch::Kind::Double).try_into().expect("a vector");
        values.iter().for_each(|value| hash.update(&value.to_bits().to_le_bytes()));
    }
    hash.update(loaded.keys.join(",").as_bytes());
    hash.digest128()
}

fn hashes(loader: &Loader, from: u64, count: usize) -> Vec<u128> {
    let mut stream = loader.start(from);
    (0..count).map(|_| hash(&stream.next().expect("it is within the budget"))).collect()
}

#[test]
fn batches_do_not_depend_on_threads_or_on_where_one_starts() {
    let make = |threads| loader(Memory::new(50).broken(11).panics(23), "number 17", config(threads), &SkipLog::none());
    let whole = hashes(&make(1), 0, 20);
    assert_eq!(make(1).steps_per_epoch(), 8);
    for threads in [2, 4, 9] {
        assert_eq!(hashes(&make(threads), 0, 20), whole, "{threads} threads");
    }
    for from in [1, 7, 8, 13] {
        assert_eq!(hashes(&make(3), from, 20 - from as usize), whole[from as usize..], "from step {from}");
    }
    let other = loader(Memory::new(50), "", LoaderConfig { seed: 6, ..config(2) }, &SkipLog::none());
    assert_ne!(hashes(&other, 0, 1), whole[..1], "another seed");
}

#[test]
fn an_epoch_holds_every_sample_once_and_epochs_differ() {
    let loader = loader(Memory::new(48), "", config(2), &SkipLog::none());
    let mut stream = loader.start(0);
    let mut epoch = |number: u64| {
        let mut keys = Vec::new();
        for step in 0..8 {
            let loaded = stream.next().expect("nothing is broken");
            assert_eq!((loaded.step, loaded.epoch), (number * 8 + step, number));
            keys.extend(loaded.keys);
        }
        keys
    };
    let (first, second) = (epoch(0), epoch(1));
    assert_ne!(first, second);
    for mut keys in [first, second] {
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 48);
    }
    let plain = super::Loader::new(
        Arc::new(Memory::new(9)),
        Views::default(),
        None,
        LoaderConfig { batch: 4, order: ReadingOrder::Listed, ..config(2) },
        SkipLog::none(),
    );
    let keys = plain.expect("it fits together").start(0).next().expect("nothing is broken").keys;
    assert_eq!(keys, ["sample 0", "sample 1", "sample 2", "sample 3"], "the source's order");
}

#[test]
fn tensors_hold_the_right_numbers() {
    let mut plain = views("");
    plain.images.iter_mut().for_each(|view| view.augment.clear());
    plain.texts[0].transform.clear();
    let source = Arc::new(Memory::new(6));
    let config = LoaderConfig { order: ReadingOrder::Listed, ..config(2) };
    for truncate in [true, false] {
        let config = LoaderConfig { truncate, ..config.clone() };
        let views = Views { images: std::mem::take(&mut plain.images), ..views_of_text() };
        let loaded = Loader::new(Arc::clone(&source) as Arc<dyn Source>, views, Some(Arc::new(Letters)), config, SkipLog::none())
            .expect("it fits together")
            .start(0)
            .next()
            .expect("nothing is broken");
        let ids = loaded.batch.text("main").expect("it is there");
        let longest = "very very very  sample number 3".len() as i64;
        assert_eq!(ids.size(), [6, if truncate { longest } else { 40 }]);
        assert_eq!(ids.int64_value(&[3, 0]), i64::from(b'v'));
        assert_eq!(ids.int64_value(&[4, longest - 1]), 0, "padding");
        assert_eq!(
            Vec::<i64>::try_from(loaded.batch.extra(Batch::LABELS).expect("it is there").flatten(0, -1)).expect("numbers"),
            [0, 1, 2, 0, 1, 2]
        );
        if truncate {
            let image = loaded.batch.image("main").expect("it is there");
            assert_eq!(image.size(), [6, 3, 8, 10]);
            let raw = source.read(2).expect("it is whole");
            let raw = crate::data::decode::pixels(&raw, Default::default()).expect("it is whole").into_image();
            let pixels = vlhub_sdk::pixels::eval_transform(&raw, (8, 10));
            for (channel, mean, std) in [(0, 0.5, 0.2), (1, 0.4, 0.25), (2, 0.3, 0.5)] {
                let expected = (f64::from(pixels.get_pixel(7, 5).0[channel]) / 255.0 - mean) / std;
                let got = image.double_value(&[2, channel as i64, 5, 7]);
                assert!((got - expected).abs() < 1e-6, "channel {channel}: {got} against {expected}");
            }
        }
    }
}

fn views_of_text() -> Views {
    Views { images: Vec::new(), texts: vec![TextView { name: "main".into(), transform: Vec::new() }], labels: true, labeller: None }
}

#[test]
fn what_is_skipped_is_written_once_in_order_and_a_drop_is_not_bad() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut texts = Vec::new();
    for threads in [1, 4] {
        let path = folder.path().join(format!("{threads}.jsonl"));
        let log = SkipLog::open(&path).expect("room");
        let loader = loader(Memory::new(48).broken(11).panics(23), "number 17", config(threads), &log);
        log.resume(0).expect("room");
        hashes(&loader, 0, 16);
        let counts = log.counts();
        assert!(counts["broken"] >= 2 && counts["panic"] >= 2 && counts["dropped by words"] >= 2, "{counts:?}");
        texts.push((std::fs::read_to_string(path).expect("it is there"), counts));
    }
    assert_eq!(texts[0], texts[1], "whatever the number of threads");
    assert!(!texts[0].0.contains("number 17"), "drops are counted, not listed");
}

#[test]
fn what_is_ready_stays_the_next_batch_and_may_be_moved() {
    // Where no memory can be pinned, batches are the same.
    let loader = loader(Memory::new(48), "", LoaderConfig { pinned: true, ..config(2) }, &SkipLog::none());
    let wanted = hashes(&super::tests::loader(Memory::new(48), "", config(2), &SkipLog::none()), 0, 4);
    let mut stream = loader.start(0);
    for (step, wanted) in (0u64..).zip(wanted) {
        let mut waits = 0..10_000;
        while stream.ready().is_none() && waits.next().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let batch = stream.ready().expect("it is made by now");
        *batch = batch.map(|tensor| Ok(tensor.copy())).expect("there is room");
        let loaded = stream.next().expect("nothing is broken");
        assert_eq!((loaded.step, hash(&loaded)), (step, wanted));
    }
}

#[test]
fn too_many_bad_samples_end_a_run_and_are_named() {
    let mut half = Memory::new(48);
    for index in (0..48).step_by(2) {
        half = half.broken(index);
    }
    let loader = loader(half, "", LoaderConfig { max_bad_fraction: 0.01, ..config(3) }, &SkipLog::none());
    let mut stream = loader.start(0);
    let error = (0..100).find_map(|_| stream.next().err()).expect("half of all is too much");
    let LoadError::Budget(message) = &error else { panic!("{error}") };
    assert!(message.contains("11 of ") && message.contains("broken, on purpose") && message.lines().count() == 6, "{message}");
}

#[test]
fn a_source_of_nothing_but_bad_samples_ends_and_does_not_hang() {
    let mut all = Memory::new(12);
    for index in 0..12 {
        all = if index % 2 == 0 { all.broken(index) } else { all.panics(index) };
    }
    let loader = loader(all, "", LoaderConfig { max_bad_run: 20, max_bad_fraction: 1.0, ..config(2) }, &SkipLog::none());
    assert!(matches!(loader.start(0).next(), Err(LoadError::Budget(message)) if message.contains("21 of them in a row")));
    let dropped = super::tests::loader(Memory::new(12), "sample", config(2), &SkipLog::none());
    let error = dropped.start(0).next().expect_err("everything is dropped").to_string();
    assert!(error.contains("`words` drops almost all"), "{error}");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let refused = |len, views, tokenizer: Option<Arc<dyn Tokenizer>>, config| {
        Loader::new(Arc::new(Memory::new(len)), views, tokenizer, config, SkipLog::none()).expect_err("it does not fit").to_string()
    };
    assert!(refused(5, Views::default(), None, config(1)).contains("5 usable samples, fewer than the 6 rows"));
    assert!(refused(6, views(""), None, config(1)).contains("there is no text tower"));
    let without = LoaderConfig { image: None, ..config(1) };
    assert!(refused(6, views(""), Some(Arc::new(Letters)), without).contains("there is no image tower"));
    assert!(refused(6, Views::default(), None, LoaderConfig { batch: 0, ..config(1) }).contains("0 rows"));
}

#[test]
fn a_stream_that_is_dropped_ends_its_threads_at_once() {
    let start = std::time::Instant::now();
    for steps in 0..5 {
        let loader = loader(Memory::new(48), "", config(4), &SkipLog::none());
        let mut stream = loader.start(0);
        (0..steps).for_each(|_| drop(stream.next().expect("nothing is broken")));
        drop(stream);
        assert_eq!(Arc::strong_count(&loader.shared), 1, "no thread holds it any more");
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

/// Keeps the second half of a text's ids, backwards, and makes labels of its own.
#[derive(Debug)]
struct Halves(Vec<String>);
impl CaptionTransform for Halves {
    fn apply(&self, mut caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        caption.labels = vec![7];
        Ok(Some(caption))
    }
    fn ids(&self, ids: Vec<i64>, _rng: &mut dyn RngCore) -> Result<Vec<i64>> {
        Ok(ids[ids.len() / 2..].iter().rev().copied().collect())
    }
    fn classes(&self) -> Option<&[String]> {
        Some(&self.0)
    }
}

#[test]
fn a_transform_may_rewrite_the_ids_within_their_frame_and_make_labels() {
    let mut views = views_of_text();
    views.texts[0].transform.push(("halves".into(), Box::new(Halves(vec!["x".into(); 8]))));
    assert_eq!(views.classes().map(<[String]>::len), Some(8));
    let tokenizer = crate::data::tokens::clip(77).expect("it builds");
    let config = LoaderConfig { order: ReadingOrder::Listed, batch: 2, image: None, ..config(1) };
    let loaded = Loader::new(Arc::new(Memory::new(6)), views, Some(Arc::clone(&tokenizer)), config, SkipLog::none())
        .expect("it fits together")
        .start(0)
        .next()
        .expect("nothing is broken");
    let ids: Vec<i64> = loaded.batch.text("main").expect("it is there").get(0).try_into().expect("numbers");
    let whole = tokenizer.encode("sample number 0");
    let [start, _, number, zero, end] = whole[..] else { panic!("{whole:?}") };
    assert_eq!(ids[..4], [start, zero, number, end]);
    assert_eq!(loaded.batch.extra(Batch::LABELS).expect("it is there").int64_value(&[0, 0]), 7);
}

/// A source whose second half is drawn at another rate.
#[derive(Debug)]
struct Rated(Memory, f64);
impl Source for Rated {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn key(&self, index: usize) -> String {
        self.0.key(index)
    }
    fn read(&self, index: usize) -> Result<vlhub_core::Raw, Bad> {
        self.0.read(index)
    }
    fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }
    fn shares(&self) -> Vec<vlhub_core::Share> {
        let half = self.len() / 2;
        vec![vlhub_core::Share { samples: half, weight: 1.0 }, vlhub_core::Share { samples: self.len() - half, weight: self.1 }]
    }
}

#[test]
fn with_replacement_shares_are_drawn_at_their_rates_and_an_epoch_has_any_length() {
    let make = |rate, order, epoch_samples, threads| {
        let config = LoaderConfig { order, epoch_samples, image: None, ..config(threads) };
        Loader::new(Arc::new(Rated(Memory::new(20), rate)), Views::default(), None, config, SkipLog::none())
    };
    let keys = |threads, from| {
        let loader = make(3.0, ReadingOrder::Resampled, 600, threads).expect("it fits together");
        assert_eq!(loader.steps_per_epoch(), 100);
        let mut stream = loader.start(from);
        (from..400).flat_map(|_| stream.next().expect("nothing is broken").keys).collect::<Vec<String>>()
    };
    let all = keys(1, 0);
    assert_eq!(all, keys(4, 0));
    assert_eq!(all[150 * 6..], keys(2, 150), "from the middle of the second epoch");
    let second = all.iter().filter(|key| key.trim_start_matches("sample ").parse::<usize>().expect("a number") >= 10).count();
    // 2400 draws, three of four from the second half: 1800, with a standard deviation of 21.
    assert!((1700..1900).contains(&second), "{second}");
    assert_ne!(all[..600], all[600..1200], "epochs differ");
    let refused = |rate, order, samples| make(rate, order, samples, 1).expect_err("it does not fit").to_string();
    assert!(refused(2.0, ReadingOrder::Shuffled, 0).contains("train.resampled = true"));
    assert!(refused(1.0, ReadingOrder::Shuffled, 21).contains("an epoch of 21 samples"));
    assert!(refused(f64::NAN, ReadingOrder::Resampled, 0).contains("above 0"));
    assert!(refused(1.0, ReadingOrder::Shuffled, 5).contains("an epoch has 5"));
    assert_eq!(make(1.0, ReadingOrder::Shuffled, 12, 1).expect("it fits together").steps_per_epoch(), 2, "a part of the data");
}
