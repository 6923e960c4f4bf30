//! Batch norm in towers: under gradient caching, with frozen statistics, beside adapters and in a moving average.

use super::objectives::random;
use super::*;
use crate::engine::batch_norm;
use crate::engine::towers::Seeds;

/// A ResNet and a text tower; `options` go to the ResNet.
fn config(options: &str, objectives: &str) -> RunConfig {
    let image = "image_size = 32\nlayers = [1, 1, 1, 1]\nchannels = [8, 8, 8, 8]\nblock = \"basic\"\n";
    let text = "[backbone.text]\nuse = \"text_transformer\"\ncontext = 8\nwidth = 16\nlayers = 1\nheads = 2\n";
    let file =
        format!("seed = 4\nembed = 8\ncustom_text = true\n[backbone.image]\nuse = \"resnet\"\n{image}{options}\n{text}{objectives}\n");
    let document = Document::parse(&file, "test", PathBuf::from(".")).expect("it is TOML");
    RunConfig::of(&document, &Registry::linked().expect("no duplicates")).unwrap_or_else(|failure| panic!("{failure}"))
}

/// Parameters and running statistics that depend on their place alone: libtorch's generator belongs to all tests at once.
fn fill(towers: &Towers) {
    let _no_grad = tch::no_grad_guard();
    for (place, (name, mut tensor)) in towers.variables().into_iter().enumerate().filter(|(_, (_, tensor))| tensor.is_floating_point()) {
        let draw = random(&tensor.size(), place as i64);
        let is_norm = name.starts_with("visual.") && (name.contains("bn") || name.contains("downsample.1"));
        let filled = if name.ends_with("running_var") {
            draw.abs() + 0.5
        } else if is_norm && name.ends_with("weight") {
            draw * 0.25 + 1.0
        } else {
            draw * 0.25
        };
        tensor.copy_(&filled);
    }
}

fn pictures(rows: i64) -> Batch {
    let ids = ((random(&[rows, 8], -2) + 1.0) * 14.4 + 3.0).to_kind(Kind::Int64);
    let mut batch = super::batch(&(random(&[rows, 3, 32, 32], -1) * 2.0 + 1.0), &ids);
    for (seed, view) in [(-3, "a"), (-4, "b")] {
        batch.set_image(view, random(&[rows, 3, 32, 32], seed) * 2.0 + 1.0).expect("rows agree");
    }
    batch
}

fn engine(options: &str, objectives: &str, cache: GradCacheConfig) -> Engine {
    let trainable = crate::session::build_for_training(&config(options, objectives), Device::Cpu).expect("it builds");
    fill(&trainable.session.towers);
    trainable.readonly.follow(&trainable.session.towers, 0.0).expect("it copies");
    let optimizer =
        Optimizer::new(OptimizerConfig::default(), crate::session::parameters::trained(&trainable.session.towers, &trainable.lora));
    Engine { readonly: trainable.readonly, lora: trainable.lora, ..alone(trainable.session, optimizer, cache) }
}

/// The loss, every gradient of a parameter, and every buffer after one batch.
fn after_one_batch(options: &str, objectives: &str, cache: GradCacheConfig) -> (f64, Tensors, Tensors) {
    let mut engine = engine(options, objectives, cache);
    let (outcome, _) = engine.gradients(pictures(6), 5).unwrap_or_else(|error| panic!("{objectives}: {error}"));
    let gradients = engine.towers.trained().into_iter().filter(|(_, tensor)| tensor.grad().defined());
    let gradients = gradients.map(|(name, tensor)| (name, tensor.grad().copy())).collect();
    let buffers = engine.towers.variables().into_iter().filter(|(name, _)| name.contains("running_"));
    (outcome.loss, gradients, buffers.map(|(name, tensor)| (name, tensor.copy())).collect())
}

fn all(tensors: &Tensors) -> Tensor {
    Tensor::cat(&tensors.values().map(|tensor| tensor.reshape([-1]).to_kind(Kind::Double)).collect::<Vec<_>>(), 0)
}

#[test]
fn with_running_statistics_chunks_of_any_size_give_the_gradients_of_the_plain_step() {
    let byol = "[objective.byol]\nhidden = 16\nout = 8";
    for objectives in ["[objective.clip]", "[objective.clip]\n[objective.simclr]\nhidden = [16, 16]\nout = 8", byol] {
        let frozen = "freeze_bn_stats = \"all\"";
        let (loss, expected, statistics) = after_one_batch(frozen, objectives, chunks(0));
        assert!(expected.keys().any(|name| name == "visual.trunk.bn1.weight"), "the norms' own weights are trained");
        for cache in [chunks(1), chunks(2), chunks(4), GradCacheConfig { keep: Keep::Chunks(1), ..chunks(4) }] {
            let shown = format!("{objectives}, chunks of {}, {:?} kept", cache.rows, cache.keep);
            let (chunked, gradients, now) = after_one_batch(frozen, objectives, cache);
            assert!((chunked - loss).abs() <= 1e-5 * loss.abs().max(1.0), "{shown}: loss {chunked} and {loss}");
            let error = distance(&all(&gradients), &all(&expected));
            assert!(error < 1e-5, "{shown}: all gradients are off by {error}");
            assert!(now.iter().all(|(name, tensor)| tensor.equal(&statistics[name])), "{shown}: statistics moved");
        }
    }
}

#[test]
fn with_the_statistics_of_chunks_the_gradients_are_others() {
    let (loss, expected, _) = after_one_batch("", "[objective.clip]", chunks(0));
    let (chunked, gradients, _) = after_one_batch("", "[objective.clip]", chunks(2));
    let error = distance(&all(&gradients), &all(&expected));
    assert!((chunked - loss).abs() > 1e-3 && error > 0.05, "loss {chunked} and {loss}, gradients off by {error}");
}

#[test]
fn a_warning_names_the_tower_where_chunks_are_normalised_by_themselves() {
    let warned = |options: &str, rows: i64| {
        let engine = engine(options, "[objective.clip]", chunks(rows));
        batch_norm::chunked(&engine.towers, &engine.cache, 6)
    };
    let said = warned("", 2).join("\n");
    for part in ["backbone.image", "train.grad_cache.rows = 2", "13 batch norms", "visual.trunk.bn1", "freeze_bn_stats = \"all\""] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (options, rows) in [("", 0), ("", 6), ("freeze_bn_stats = \"all\"", 2), ("freeze = \"all\"", 2)] {
        assert_eq!(warned(options, rows), Vec::<String>::new(), "{options}, chunks of {rows}");
    }
    assert!(warned("unlocked = 1\nfreeze_bn_stats = true", 2).join("\n").contains("3 batch norms"), "those of the open block");
    let adapters = "freeze_bn_stats = true\nlora = { rank = 2, match = [\"*conv1.weight\"] }";
    assert_eq!(warned(adapters, 2), Vec::<String>::new(), "adapters freeze the norms, whose statistics stay then");
}

#[test]
fn statistics_that_nothing_has_set_are_told_where_they_are_to_stay() {
    let session = crate::session::build_trained(&config("freeze_bn_stats = \"all\"", ""), Device::Cpu, None).expect("it builds");
    let said = batch_norm::unset(&session.towers).join("\n");
    assert!(said.contains("13 of 13 running statistics") && said.contains("backbone.image.init"), "{said}");
    fill(&session.towers);
    assert_eq!(batch_norm::unset(&session.towers), Vec::<String>::new());
    let open = crate::session::build_trained(&config("", ""), Device::Cpu, None).expect("it builds");
    assert_eq!(batch_norm::unset(&open.towers), Vec::<String>::new(), "they will be set by training");
}

#[test]
fn running_statistics_stay_where_they_are_asked_to() {
    let (locked, open) = ("visual.trunk.bn1", "visual.trunk.layer4.0.bn1");
    for (options, locked_moves, open_moves) in [
        ("unlocked = 2", true, true),
        ("unlocked = 2\nfreeze_bn_stats = true", false, true),
        ("unlocked = 2\nfreeze_bn_stats = \"all\"", false, false),
    ] {
        let session = crate::session::build_trained(&config(options, ""), Device::Cpu, None).expect("it builds");
        let mean = |layer: &str| session.towers.vars.variables()[&format!("{layer}.running_mean")].copy();
        let before = (mean(locked), mean(open));
        let seeds = Seeds { step: 1, offset: 0 };
        session.towers.encode_need(&Need::image("main"), &pictures(4), Some(seeds), 0).expect("it runs");
        assert_eq!((!mean(locked).equal(&before.0), !mean(open).equal(&before.1)), (locked_moves, open_moves), "{options}");
    }
}

#[test]
fn one_value_for_each_channel_is_refused_in_training() {
    let mut engine = engine("", "[objective.clip]", chunks(1));
    let said = engine.gradients(pictures(2), 0).expect_err("a map of one place, a chunk of one row").to_string();
    assert!(said.contains("one value for each channel") && said.contains("train.grad_cache.rows"), "{said}");
}

#[test]
fn a_step_that_is_not_taken_moves_no_running_statistics() {
    let mut engine = engine("", "[objective.clip]", chunks(0));
    let hash = |engine: &Engine| crate::session::parameters::hash(&engine.towers.variables());
    let before = hash(&engine);
    let mut broken = pictures(6);
    broken.set_image("main", random(&[6, 3, 32, 32], -1) * f64::NAN).expect("rows agree");
    assert!(!engine.step(broken, 0, 1e-3, 1.0).expect("it runs").is_finite());
    assert_eq!(hash(&engine), before);
    let mean = |engine: &Engine| engine.towers.vars.variables()["visual.trunk.bn1.running_mean"].copy();
    let still = mean(&engine);
    assert!(engine.gradients(pictures(6), 1).expect("it runs").0.is_finite());
    assert!(!mean(&engine).equal(&still), "a pass moves them");
}
