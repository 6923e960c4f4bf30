//! Precisions and formats of the optimiser's state, through the command line. What a machine may not compute is tried first, and left out.

use std::path::Path;

use serde_json::Value;
use vlhub_sdk::tch::{Kind, Tensor};

use crate::program::{SMALL, command, must, ran, run};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), SMALL).expect("written");
    folder
}

/// Whether products of this kind (`bf16`, `fp16`) end no process here.
fn may(folder: &Path, kind: &str) -> bool {
    run(folder, &[&format!("internal-probe-{kind}")]).code == 0
}

/// A number of each step of a run, infinite where it was not finite or was not told.
fn curve(folder: &Path, name: &str, key: &str) -> Vec<f64> {
    let log = std::fs::read_to_string(folder.join(format!("logs/{name}/metrics.jsonl"))).expect("it is there");
    let number = |text: &str| {
        let line: Value = serde_json::from_str(text).expect("a whole line");
        line[key].as_f64().or(line["metrics"][key].as_f64()).unwrap_or(f64::INFINITY)
    };
    log.lines().map(number).collect()
}

/// Trains with `options`, once straight and once killed after step 8 and resumed. Both must end with the same bits and have the same losses.
fn resumes(folder: &Path, name: &str, options: &[&str]) {
    let train = |name: &str, more: &[&str], failpoint: &str| {
        let mut command = command(folder);
        command.args(["train", "run.toml", &format!("name={name}")]).args(options).args(more);
        ran(command.env("VLHUB_FAILPOINT", failpoint).output().expect("it starts"))
    };
    let straight = train(name, &[], "");
    assert_eq!(straight.code, 0, "{name}: {}", straight.err);
    let killed = format!("{name}_killed");
    assert_ne!(train(&killed, &[], "step-8=abort").code, 0, "{name}: the failpoint was not met");
    let resumed = train(&killed, &["--resume"], "");
    assert_eq!(resumed.code, 0, "{name}: {}", resumed.err);
    let hash = |name: &str| must(folder, &["internal-hash", &format!("logs/{name}")]);
    assert_eq!(hash(&killed), hash(name), "{name}");
    for key in ["loss", "grad_norm"] {
        assert_eq!(curve(folder, &killed, key), curve(folder, name, key), "{name}: {key}");
    }
}

/// The tensors of a run's checkpoint.
fn saved(folder: &Path, name: &str, step: u64) -> Vec<(String, Tensor)> {
    let file = folder.join(format!("logs/{name}/checkpoints/step-{step:09}/rank-0.safetensors"));
    vlhub_host::formats::read_safetensors(&file).expect("it is kept")
}

#[test]
fn float16_is_resumed_with_the_scale_of_its_loss() {
    let folder = folder();
    let place = folder.path();
    if !may(place, "fp16") {
        return;
    }
    must(place, &["train", "run.toml", "name=float"]);
    let gsam = "optimizer.gsam={ rho_max = 0.05, alpha = 0.1 }";
    for (name, options) in
        [("plain", &["train.precision=amp_fp16"][..]), ("all", &["train.precision=amp", "train.grad_cache.rows=5", gsam])]
    {
        resumes(place, name, options);
        let scales = curve(place, name, "loss_scale");
        assert_eq!(scales, curve(place, &format!("{name}_killed"), "loss_scale"), "{name}");
        assert_eq!(scales[0], 65536.0, "{name}: {scales:?}");
        let power_of_two = |scale: &f64| (1.0..=65536.0).contains(scale) && scale.log2().fract() == 0.0;
        assert!(scales.iter().all(power_of_two), "{name}: {scales:?}");
        let scale = saved(place, name, 14).into_iter().find(|(name, _)| name == "optimizer.loss_scale").expect("it is saved").1;
        assert_eq!(scale.double_value(&[0]), *scales.last().expect("14 steps"), "{name}");
    }
    // Products have three digits.
    let (float, half) = (curve(place, "float", "loss"), curve(place, "plain", "loss"));
    assert!((float[0] - half[0]).abs() < 0.02 * float[0] && float[0] != half[0], "{} and {}", float[0], half[0]);
    let apart = float.iter().zip(&half).map(|(float, half)| (float - half).abs()).fold(0.0, f64::max);
    assert!(apart < 0.3, "{float:?}\n{half:?}");
    assert!(curve(place, "float", "loss_scale").iter().all(|scale| scale.is_infinite()), "float has no scale");
}

#[test]
fn steps_that_overflow_float16_are_no_fault_until_the_scale_is_one() {
    let folder = folder();
    let place = folder.path();
    if !may(place, "fp16") {
        return;
    }
    // Gradients a thousand times as large are too large for float16 at the first scale, and fit at a smaller one.
    let large = ["train.precision=amp_fp16", "optimizer.wd=0.0", "train.show_batch=false"];
    let ended = run(place, &[&["train", "run.toml", "name=large", "objective.clip.weight=1000.0", "train.steps=30"], &large[..]].concat());
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("gradients overflow float16 at a loss scale of 65536;"), "{}", ended.err);
    let (scales, norms) = (curve(place, "large", "loss_scale"), curve(place, "large", "grad_norm"));
    assert!(
        scales.windows(2).zip(&norms).all(|(pair, norm)| pair[1] == if norm.is_finite() { pair[0] } else { pair[0] / 2.0 }),
        "{scales:?}"
    );
    let last = *scales.last().expect("30 steps");
    assert!((1.0..65536.0).contains(&last), "{scales:?}");
    // The norm is that of the loss itself: about a thousand times the usual one, whatever the scale.
    must(place, &["train", "run.toml", "name=usual", "train.steps=1"]);
    let first = norms.iter().find(|norm| norm.is_finite()).expect("a step was taken");
    let times = first / curve(place, "usual", "grad_norm")[0];
    assert!((1e2..1e4).contains(&times), "{times}");

    let wrong = run(place, &[&["train", "run.toml", "name=wrong", "objective.clip.weight=1e12", "train.steps=30"], &large[..]].concat());
    assert_eq!(wrong.code, 5, "{}", wrong.err);
    assert!(wrong.err.contains("at a loss scale of 1)"), "{}", wrong.err);
    let scales = curve(place, "wrong", "loss_scale");
    assert_eq!(scales.len(), 16, "from 65536 to 2, and then a fault: {scales:?}");
}

#[test]
fn rounded_weights_train_float_ones() {
    let folder = folder();
    let place = folder.path();
    if !may(place, "bf16") {
        return;
    }
    let pure = "train.precision=pure_bf16";
    let chunks = "train.grad_cache={ rows = 3, keep = 2 }";
    let lora = "backbone.text.lora={ rank = 2, match = [\"*mlp*weight\"], train = [\"text_projection\"] }";
    let all = [pure, chunks, lora, "ema.decay=0.9", "optimizer.gsam={ rho_max = 0.05, alpha = 0.1 }", "optimizer.state=bf16"];
    resumes(place, "pure", &[pure]);
    resumes(place, "all", &all);
    for (name, tensor) in saved(place, "pure", 14) {
        assert!([Kind::Float, Kind::Int64].contains(&tensor.kind()), "{name}: {:?}", tensor.kind());
    }
    let weights = saved(place, "pure", 14).into_iter().find(|(name, _)| name == "visual.proj").expect("a weight").1;
    assert!(!weights.to_kind(Kind::BFloat16).to_kind(Kind::Float).equal(&weights), "the float weights are kept");

    // The gradient of the first step, as the first moment holds it.
    let gradient = |name: &str, options: &[&str]| {
        let name = format!("name={name}");
        must(place, &[&["train", "run.toml", &name, "train.steps=1", "train.save_every=1"], options].concat());
        let mut tensors = saved(place, &name[5..], 1);
        tensors.retain(|(name, _)| name.starts_with("optimizer.exp_avg."));
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        Tensor::cat(&tensors.iter().map(|(_, tensor)| tensor.reshape([-1])).collect::<Vec<_>>(), 0)
    };
    let apart = |a: &Tensor, b: &Tensor| ((a - b).norm() / b.norm()).double_value(&[]);
    let (float, rounded, cached) = (gradient("g_float", &[]), gradient("g_pure", &[pure]), gradient("g_cached", &[pure, chunks]));
    let (from_float, in_chunks) = (apart(&rounded, &float), apart(&cached, &rounded));
    // A bfloat16 has 0.4 %.
    assert!((1e-4..0.2).contains(&from_float), "{from_float} from float");
    assert!(in_chunks < 0.03, "{in_chunks} apart in chunks");
}

#[test]
fn the_memory_of_a_step_with_rounded_weights_is_told() {
    let folder = folder();
    let place = folder.path();
    if !may(place, "bf16") {
        return;
    }
    // Weights that outweigh the graph of a batch.
    let wide = ["train", "run.toml", "--dry-run", "train.precision=pure_bf16", "backbone.image.width=384", "backbone.image.layers=4"];
    for chunks in ["train.grad_cache.rows=0", "train.grad_cache.rows=4"] {
        let said = must(place, &[&wide[..], &[chunks]].concat());
        let mib = |before: &str| -> f64 {
            let (_, rest) = said.split_once(before).unwrap_or_else(|| panic!("{before:?} is not in\n{said}"));
            rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number of MiB")
        };
        let (told, took) = (mib("  at most "), mib("with at most "));
        assert!((0.8..1.25).contains(&(told / took)), "{chunks}: {told} MiB told, {took} taken");
    }
}

#[test]
fn what_a_device_or_an_option_does_not_have_is_refused() {
    let folder = folder();
    for (option, part) in [
        ("train.precision=tf32", "only GPUs have TF32; take fp32"),
        ("train.precision=pure_fp16", "`amp_fp16`"),
        ("optimizer.state=4bit", "`8bit`"),
    ] {
        let refused = run(folder.path(), &["train", "run.toml", "device=cpu", option]);
        assert_eq!(refused.code, 2, "{option}: {}", refused.err);
        assert!(refused.err.contains(part), "{option}: {part:?} is not in\n{}", refused.err);
        assert!(!folder.path().join("logs").exists(), "{option}: nothing was written");
    }
}

/// Towers wide enough that most of their matrices have 4096 elements.
const WIDE: [&str; 4] = ["backbone.image.width=64", "backbone.text.width=64", "train.log_every=1000", "schedule.warmup=20"];

#[test]
fn states_in_fewer_bits_are_resumed_to_the_bit_and_refuse_another_format() {
    let folder = folder();
    let place = folder.path();
    for state in ["bf16", "8bit"] {
        let option = format!("optimizer.state={state}");
        resumes(place, state, &[&WIDE[..], &[option.as_str()]].concat());
        let kinds: Vec<Kind> = saved(place, state, 14)
            .into_iter()
            .filter(|(name, _)| name.starts_with("optimizer.exp_avg.") && name.ends_with("c_fc.weight"))
            .map(|(_, tensor)| tensor.kind())
            .collect();
        let kind = if state == "bf16" { Kind::BFloat16 } else { Kind::Uint8 };
        assert_eq!(kinds, [kind, kind], "{state}: both towers");
    }
    let again = |change: &str, more: &[&str]| run(place, &[&["train", "run.toml", "name=bf16", change], &WIDE[..], more].concat());
    let other = again("optimizer.state=8bit", &["--resume"]);
    assert!(other.code == 4 && other.err.contains("optimizer.state = bf16 before, 8bit now"), "{}: {}", other.code, other.err);
    // All the same, it is converted.
    let converted = again("optimizer.state=fp32", &["train.steps=16", "--resume", "--allow-changed"]);
    assert_eq!(converted.code, 0, "{}", converted.err);
    let losses = curve(place, "bf16", "loss");
    assert!(losses.len() == 16 && losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
}

#[test]
fn three_hundred_steps_with_states_in_fewer_bits_have_the_curve_of_float() {
    let folder = folder();
    let place = folder.path();
    let train = |state: &str| {
        let (name, option) = (format!("name={state}"), format!("optimizer.state={state}"));
        let run = ["train", "run.toml", &name, &option, "train.steps=300", "train.save_every=300", "optimizer.beta2=0.999"];
        must(place, &[&run[..], &WIDE].concat());
        // Means over 50 steps: a batch is 16 of 96 pictures.
        curve(place, state, "loss").chunks(50).map(|losses| losses.iter().sum::<f64>() / losses.len() as f64).collect::<Vec<f64>>()
    };
    let float = train("fp32");
    assert!(float.len() == 6 && float[5] < 0.95 * float[0], "it learns: {float:?}");
    for state in ["bf16", "8bit"] {
        let losses = train(state);
        let off = losses.iter().zip(&float).map(|(loss, float)| (loss - float).abs()).fold(0.0, f64::max) / float[0];
        assert!(off < 0.05, "{state} is {off} off:\n{losses:?}\n{float:?}");
    }
}
