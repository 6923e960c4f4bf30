//! `[train]`, `[optimizer]`, `[schedule]`, and where a run is kept.

use serde_json::{Value, json};
use tch::Device;

use super::{Purpose, Translator};
use crate::device;

/// Epochs of a run, in both programs.
const EPOCHS: i64 = 32;

/// Rows of a batch, in both programs and in a run file.
const BATCH: i64 = 64;

/// VL Hub's `--gpumaxbatch`: rows of a chunk of gradient caching.
const CHUNK: i64 = 32;

impl Translator<'_> {
    /// Batches, optimiser, schedule, precision, checkpoints and logs.
    pub(super) fn training(&mut self) {
        self.batch();
        self.optimizer();
        self.schedule();
        self.precision();
        self.checkpoints();
        self.logs();
        let given = self.request.given;
        match given.whole("workers") {
            Some(workers) => self.set("train.workers", workers.max(1), "workers"),
            None => self.default("train.workers", 4, "workers"),
        }
        self.default("train.epochs", EPOCHS, "epochs");
        // Steps go before epochs: those of the run file would leave the flag without effect.
        if given.get("epochs").is_some() && self.count_of_file("train.steps").is_some() {
            self.set("train.steps", 0, "epochs");
        }
    }

    /// The batch and its chunks: gradient caching of VL Hub, accumulation of open_clip. Both are exact here.
    fn batch(&mut self) {
        let given = self.request.given;
        let rows = given.whole("batch-size");
        let steps = given.whole("accum-freq").unwrap_or(1);
        if steps > 1 {
            let chunk = rows.or_else(|| self.count_of_file("train.batch")).unwrap_or(BATCH);
            match chunk.checked_mul(steps) {
                Some(batch) => self.set("train.batch", batch, "accum-freq"),
                None => self.problem("accum-freq", "times the rows of a batch is too large"),
            }
            // Chunks that the run file has are those that fit into memory.
            if rows.is_some() || !self.file_cuts(chunk) {
                self.set("train.grad_cache.rows", chunk, "accum-freq");
            }
        } else if let Some(rows) = rows {
            self.set("train.batch", rows, "batch-size");
        }
        let caches = given.on("gc") || given.get("gc").is_none() && self.count_of_file("train.grad_cache.rows").is_some();
        match given.whole("gpumaxbatch") {
            Some(most) if caches => self.set("train.grad_cache.rows", most, "gpumaxbatch"),
            Some(_) => self.notes.push("`--gpumaxbatch` has no effect without `--gc`, as in VL Hub".into()),
            None if given.on("gc") && !self.file_cuts(i64::MAX) => self.set("train.grad_cache.rows", CHUNK, "gc"),
            None => {}
        }
    }

    /// Whether the run file says how batches are cut into chunks: by memory, or into chunks of at most `most` rows.
    fn file_cuts(&self, most: i64) -> bool {
        self.count_of_file("train.grad_cache.rows").is_some_and(|rows| rows <= most) || self.text_of_file("train.memory").is_some()
    }

    /// AdamW, with open_clip's moments for the kind of model.
    fn optimizer(&mut self) {
        let given = self.request.given;
        if !self.model_name().to_lowercase().contains("vit") {
            self.default("optimizer.beta2", 0.999, "beta2");
            self.default("optimizer.eps", 1e-8, "eps");
        }
        if let Some(name) = given.text("opt").filter(|name| *name != "adamw") {
            self.problem("opt", format!("`{name}` is not offered; `adamw` is"));
        }
        if let Some(patterns) = given.get("wd-exclude") {
            for (at, pattern) in patterns.values.iter().enumerate() {
                self.set(&format!("optimizer.groups.wd_exclude_{at}"), json!({"match": pattern, "wd": 0.0}), "wd-exclude");
            }
        }
        let image = given.number("image-layer-decay").or(given.number("visual-layer-decay"));
        let flag = if given.get("image-layer-decay").is_some() { "image-layer-decay" } else { "visual-layer-decay" };
        let text = given.number("text-layer-decay");
        let one_sided = "is one number for both towers here: `optimizer.layer_decay`; say the same for image and text";
        match (image, text) {
            (Some(image), Some(text)) if image == text || self.is_textless() => self.set("optimizer.layer_decay", image, flag),
            (Some(image), None) if self.is_textless() || image == 1.0 => self.set("optimizer.layer_decay", image, flag),
            (Some(_), _) => self.problem(flag, one_sided),
            (None, Some(1.0)) | (None, None) => {}
            (None, Some(_)) => self.problem("text-layer-decay", one_sided),
        }
    }

    /// The learning rate's way.
    fn schedule(&mut self) {
        let given = self.request.given;
        if given.on("skip-scheduler") {
            self.set("schedule.use", "constant", "skip-scheduler");
            self.set("schedule.warmup", 0, "skip-scheduler");
            return;
        }
        match given.text("lr-scheduler") {
            Some("cosine") => self.set("schedule.use", "cosine", "lr-scheduler"),
            Some("const") => self.set("schedule.use", "constant", "lr-scheduler"),
            Some(other) => self.problem("lr-scheduler", format!("`{other}` is not offered; `cosine` and `const` are")),
            None => {}
        }
        self.default("schedule.warmup", 10000, "warmup");
    }

    /// The arithmetic. Few CPUs multiply float16, so there the default of Python, `amp`, is taken only where a flag says it.
    fn precision(&mut self) {
        let given = self.request.given;
        let Some(asked) = given.text("precision") else {
            if !self.defaults_hold() {
                return;
            }
            let ours = if self.on_gpu() { "amp_fp16" } else { "fp32" };
            self.default("train.precision", ours, "precision");
            if ours == "fp32" {
                self.notes.push("precision `amp`, open_clip's default, is fp32 on a CPU".into());
            }
            return;
        };
        let ours = match asked {
            "amp" => "amp_fp16",
            "amp_bf16" | "amp_bfloat16" => "amp_bf16",
            "bf16" | "pure_bf16" => "pure_bf16",
            "fp32" => "fp32",
            other => {
                let why = format!("`{other}` keeps weights in float16 and scales no loss; take `amp`, whose weights stay float");
                return self.problem("precision", why);
            }
        };
        self.set("train.precision", ours, "precision");
        if ours == "fp32" && self.on_gpu() {
            self.notes.push("precision `fp32` is float; open_clip lets a GPU multiply it in TF32, which is `train.precision=tf32`".into());
        }
    }

    /// Whether the run would be on a GPU. What is wrong with a device's name is told by the check.
    fn on_gpu(&self) -> bool {
        let name = self.request.given.text("device").or(self.text_of_file("device")).unwrap_or("auto");
        device::device(name).is_ok_and(|device| matches!(device, Device::Cuda(_)))
    }

    /// Which checkpoints are kept. One is written after every epoch.
    fn checkpoints(&mut self) {
        let given = self.request.given;
        let frequency = given.whole("save-frequency");
        if given.on("delete-previous-checkpoint") {
            self.set("train.keep_last", 2, "delete-previous-checkpoint");
        } else if let Some(0) = frequency {
            self.set("train.keep_last", 2, "save-frequency");
        } else if self.request.purpose == Purpose::Train && (frequency.is_some() || self.defaults_hold()) {
            let epochs = given.whole("epochs").or_else(|| self.count_of_file("train.epochs")).unwrap_or(EPOCHS).max(2);
            if frequency.is_some() {
                self.set("train.keep_last", epochs, "save-frequency");
                // Where the run file counts steps, epochs do not tell how many checkpoints there are: keep those of all multiples of 1.
                let by_steps = given.get("epochs").is_none() && self.count_of_file("train.steps").is_some();
                if by_steps || self.count_of_file("train.save_every").is_some() {
                    self.set("train.keep_every", 1, "save-frequency");
                }
            } else {
                self.default("train.keep_last", epochs, "save-frequency");
            }
        }
        if frequency.is_some_and(|frequency| frequency != 1) {
            self.notes.push("a checkpoint is written after every epoch, whatever `--save-frequency` says".into());
        }
    }

    /// The run's folder and its loggers.
    fn logs(&mut self) {
        let given = self.request.given;
        if let Some(logs) = given.text("logs") {
            if logs.eq_ignore_ascii_case("none") {
                self.problem("logs", "a run has a folder, with its checkpoints; name one");
            } else {
                self.set("logs", logs, "logs");
            }
        }
        let reports: Vec<&str> = given.text("report-to").into_iter().flat_map(|text| text.split(',')).map(str::trim).collect();
        let reports = if reports == ["all"] { vec!["tensorboard", "wandb"] } else { reports };
        let reports: Vec<Value> = reports.into_iter().filter(|name| !name.is_empty()).map(Into::into).collect();
        if !reports.is_empty() {
            self.set("report_to", reports, "report-to");
        }
    }
}
