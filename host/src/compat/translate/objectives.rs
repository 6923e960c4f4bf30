//! `[objective.…]`: what is minimised.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Translator, classes, find};
use crate::config::document::Document;

/// Flags that choose the loss, and the objective that they ask for. They take the place of CLIP's.
pub(super) const MAIN: [(&str, &str); 8] = [
    ("siglip", "siglip"),
    ("filip", "filip"),
    ("iqe", "iqe"),
    ("alignunif", "align_uniform"),
    ("sim-clr", "simclr"),
    ("byol", "byol"),
    ("integer-labels", "classify"),
    ("linear-probe", "classify"),
];

/// VL Hub's radii and weight of GSAM.
const GSAM: (f64, f64, f64) = (0.1, 0.01, 0.05);

impl Translator<'_> {
    /// The objectives and their options.
    pub(super) fn objectives(&mut self) {
        let given = self.request.given;
        // A run has its head already: of a run, `--integer-labels` and `--linear-probe` say no more than that it is measured by it.
        let of_run = |objective: &str| self.request.of_run && objective == "classify";
        let chosen: Vec<(&str, &str)> = MAIN.iter().filter(|(flag, objective)| given.on(flag) && !of_run(objective)).copied().collect();
        for (flag, objective) in &chosen {
            self.set(&format!("objective.{objective}"), Map::new(), flag);
        }
        let captioner = chosen.is_empty() && (self.captions_too() || self.objective_key(&["caption"]).is_some());
        if captioner {
            self.coca();
        } else {
            for flag in ["coca-contrastive-loss-weight", "coca-caption-loss-weight"] {
                if given.get(flag).is_some() {
                    self.notes.push(format!("`--{flag}` has no effect: the model writes no captions"));
                }
            }
            let of_contrast = ["dcl", "elp", "mlm", "vssl", "img-weight", "image-weight", "text-weight"];
            let asked = of_contrast.iter().any(|flag| given.get(flag).is_some());
            if chosen.is_empty() && self.request.below.is_none() && (self.defaults_hold() || asked) {
                self.document.put("objective.clip", Map::new().into(), "open_clip's default");
            }
        }
        if chosen.iter().any(|(_, objective)| *objective == "classify") {
            self.classify();
        } else if chosen.is_empty() {
            self.options_of_head();
        }
        self.options_of_contrast(&chosen);
        self.beside_contrast();
        self.distillation();
        if given.on("gsam") {
            let (rho_max, rho_min, alpha) = GSAM;
            self.set("optimizer.gsam", json!({"rho_max": rho_max, "rho_min": rho_min, "alpha": alpha}), "gsam");
        }
    }

    /// CoCa: the contrast and the captions, with open_clip's weights.
    fn coca(&mut self) {
        for (flag, objective, weight) in [("coca-contrastive-loss-weight", "clip", 1.0), ("coca-caption-loss-weight", "caption", 2.0)] {
            let of_file = self.objective_key(&[objective]);
            let key = of_file.clone().unwrap_or_else(|| objective.to_owned());
            match self.request.given.number(flag) {
                Some(0.0) if objective == "clip" && of_file.is_none() => {}
                Some(weight) => self.set_of_objective(&key, "weight", weight, flag),
                None => self.default(&format!("objective.{key}.weight"), weight, flag),
            }
        }
    }

    /// The head of a supervised net.
    fn classify(&mut self) {
        let given = self.request.given;
        let flag = if given.on("integer-labels") { "integer-labels" } else { "linear-probe" };
        let filter = given.text("ds-filter").and_then(|name| classes::list(name).ok());
        let named = given.whole("timm-classifier-head-size").filter(|count| *count > 0);
        // What flags say goes before what the run file says.
        let of_flags = given.get("model").and_then(|_| self.outputs()).or_else(|| filter.as_deref().and_then(classes::count));
        let of_flags = named.or(of_flags).or_else(|| folders(&self.document, Path::new("")));
        let of_file = || self.head_of_file().or_else(|| self.outputs());
        let of_file_data = || self.request.below.as_ref().and_then(|below| folders(below, &below.folder));
        let count = of_flags.or_else(of_file).or_else(of_file_data).unwrap_or_else(|| {
            self.notes.push("the head has 1000 classes, as ImageNet; say another number with `--timm-classifier-head-size`".into());
            1000
        });
        self.set("objective.classify.classes", count, if named.is_some() { "timm-classifier-head-size" } else { flag });
        if given.on("multiclass") {
            self.set("objective.classify.several", "sum", "multiclass");
        }
    }

    /// Options of the head that the run file has.
    fn options_of_head(&mut self) {
        let given = self.request.given;
        let Some(key) = self.objective_key(&["classify"]) else { return };
        if let Some(classes) = given.whole("timm-classifier-head-size").filter(|count| *count > 0) {
            self.set_of_objective(&key, "classes", classes, "timm-classifier-head-size");
        }
        if given.on("multiclass") {
            self.set_of_objective(&key, "several", "sum", "multiclass");
        }
    }

    /// How many classes the head of the run file has.
    fn head_of_file(&self) -> Option<i64> {
        let objectives = self.of_file("objective")?.as_object()?;
        let is_head = |key: &str, value: &Value| value.get("use").and_then(Value::as_str).unwrap_or(key) == "classify";
        objectives.iter().find(|(key, value)| is_head(key, value))?.1.get("classes")?.as_i64()
    }

    /// The key of an objective of one of these plugins: of the flags, or of the run file below.
    fn objective_key(&self, plugins: &[&str]) -> Option<String> {
        let objectives = |document| find(document, "objective").and_then(Value::as_object);
        let fits = |key: &String, value: &Value| plugins.contains(&value.get("use").and_then(Value::as_str).unwrap_or(key));
        let among = |document| objectives(document)?.iter().find(|(key, value)| fits(key, value)).map(|(key, _)| key.clone());
        among(&self.document).or_else(|| self.request.below.as_ref().and_then(among))
    }

    /// Sets an option of an objective, which may be one of the run file below under a key of its own.
    fn set_of_objective(&mut self, key: &str, option: &str, value: impl Into<Value>, flag: &str) {
        self.set(&format!("objective.{key}.{option}"), value, flag);
        let plugin = format!("objective.{key}.use");
        if let Some(below) = self.request.below.as_ref().and_then(|below| find(below, &plugin)).cloned() {
            self.set(&plugin, below, flag);
        }
    }

    /// Options of CLIP's loss and of FILIP's.
    fn options_of_contrast(&mut self, chosen: &[(&str, &str)]) {
        let given = self.request.given;
        let of_clip = [
            ("dcl", "dcl", Value::from(true)),
            ("elp", "extra_projections", true.into()),
            ("img-weight", "image_weight", given.number("img-weight").into()),
            ("image-weight", "image_weight", given.number("image-weight").into()),
            ("text-weight", "text_weight", given.number("text-weight").into()),
        ];
        for (flag, option, value) in of_clip {
            if given.get(flag).is_none_or(|given| given.values == ["false"]) {
                continue;
            }
            let plugins: &[&str] = if flag == "dcl" { &["clip", "filip"] } else { &["clip"] };
            match self.objective_key(plugins) {
                Some(key) => self.set_of_objective(&key, option, value, flag),
                None => {
                    let other = chosen.first().map(|(flag, _)| format!(", and `--{flag}` asks for another")).unwrap_or_default();
                    self.problem(flag, format!("is an option of CLIP's loss{other}"));
                }
            }
        }
    }

    /// Masked words and self-supervision of pictures, beside the contrast. As in x-clip, all weights add up to one.
    fn beside_contrast(&mut self) {
        let given = self.request.given;
        let (vssl, mlm) = (given.on("vssl"), given.on("mlm"));
        if !vssl && !mlm {
            return;
        }
        let mut left = 1.0;
        let terms =
            [(vssl, "vssl", "simsiam", "image-ssl-loss-weight"), (true, if mlm { "mlm" } else { "vssl" }, "mlm", "text-ssl-loss-weight")];
        for (_, flag, objective, weight_flag) in terms.into_iter().filter(|(on, ..)| *on) {
            let weight = given.number(weight_flag).unwrap_or(0.05);
            left -= weight;
            let path = format!("objective.{objective}.weight");
            self.set(&path, weight, if given.get(weight_flag).is_some() { weight_flag } else { flag });
        }
        match self.objective_key(&["clip", "filip", "siglip", "iqe", "align_uniform"]) {
            // 1 - 0.05 - 0.05 is not 0.9 in binary.
            Some(key) => self.set_of_objective(&key, "weight", (left * 1e9).round() / 1e9, if mlm { "mlm" } else { "vssl" }),
            None => {
                self.problem(if mlm { "mlm" } else { "vssl" }, "stands beside a loss that compares pictures with texts, and there is none")
            }
        }
    }

    /// A teacher, beside the loss.
    fn distillation(&mut self) {
        let given = self.request.given;
        match (given.text("distill-model"), given.text("distill-pretrained")) {
            (Some(model), Some(weights)) => {
                // A teacher may be a run too.
                let is_run = Path::new(model).join("config.toml").is_file();
                let model = if is_run { self.path(model) } else { self.model_path(model) };
                self.set("teacher.teacher.model", model, "distill-model");
                self.set("teacher.teacher.pretrained", self.weights_path(weights), "distill-pretrained");
                self.set("objective.distill", Map::new(), "distill-model");
            }
            (Some(_), None) => self.problem("distill-model", "needs `--distill-pretrained`, the teacher's weights"),
            (None, Some(_)) => self.problem("distill-pretrained", "needs `--distill-model`, the teacher's model"),
            (None, None) => {}
        }
    }
}

/// The classes of a folder of pictures that is trained on: its sub-folders, or as many of them as are taken. Paths start at `start`.
fn folders(document: &Document, start: &Path) -> Option<i64> {
    let table = find(document, "data.train")?;
    let path = table.get("path").filter(|_| table["use"] == "imagefolder")?.as_str()?;
    let count = std::fs::read_dir(start.join(path)).ok()?.flatten().filter(|entry| entry.path().is_dir()).count() as i64;
    Some(table.get("max_classes").and_then(Value::as_i64).map_or(count, |most| count.min(most))).filter(|count| *count > 0)
}
