//! The tiled losses never hold N × N numbers. A program of its own: the peak belongs to the whole process.
#![cfg(target_os = "linux")]

use vlhub_plugin_clip::{ClipConfig, Positives, SiglipConfig};
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::toy::{objective_cx, randn};

const ROWS: i64 = 4096;
const MATRIX: i64 = ROWS * ROWS * 4;

/// The largest resident size so far, in bytes.
fn peak() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("the peak is there");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<i64>().ok()).expect("a number of KiB") * 1024
}

fn step(config: &dyn Config<dyn Objective>, rows: i64) {
    let store = VarStore::new(Device::Cpu);
    let objective = config.build(&objective_cx(store.root())).expect("builds");
    let mut features = Features::new(0..rows, rows);
    for (modality, seed) in [(Modality::Image, 1), (Modality::Text, 2)] {
        let embed = randn(&[rows, 8], seed).set_requires_grad(true);
        features.insert(modality, "main", Encoded { pooled: embed.shallow_clone(), embed, tokens: None });
    }
    let mut batch = Batch::new(rows);
    batch.set_extra(Batch::LABELS, Tensor::arange(rows, (Kind::Int64, Device::Cpu)).remainder(1000).unsqueeze(1)).expect("a row each");
    objective.loss(&features, &batch).expect("a loss").total.backward();
}

#[test]
fn tiles_take_less_memory_than_one_matrix() {
    let variants =
        ClipConfig { dcl: true, extra_projections: true, sim_reg_weight: 1.0, positives: Positives::Labels, ..Default::default() };
    let configs: [&dyn Config<dyn Objective>; 4] = [
        // What suits so many rows.
        &ClipConfig::default(),
        &ClipConfig { tile: 256, ..Default::default() },
        &ClipConfig { tile: 256, ..variants },
        &SiglipConfig { tile: 256, positives: Positives::Labels, ..Default::default() },
    ];
    // Small products on many threads wait for each other, where other tests run beside.
    vlhub_sdk::tch::set_num_threads(1);
    // Whatever libtorch keeps from its first use on.
    configs.iter().for_each(|config| step(*config, 512));
    let before = peak();
    configs.iter().for_each(|config| step(*config, ROWS));
    let tiled = peak() - before;
    step(&ClipConfig { tile: ROWS, ..Default::default() }, ROWS);
    let whole = peak() - before;
    assert!(tiled < MATRIX / 2, "{tiled} bytes, where one matrix has {MATRIX}");
    assert!(whole > MATRIX, "the measure sees a matrix: {whole} bytes");
}
