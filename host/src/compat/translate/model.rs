//! The model, its weights, and what of it is trained.

use std::path::Path;

use serde_json::{Map, Value, json};
use vlhub_core::Backbone;

use super::{Purpose, Translator};
use crate::models::Models;

/// The model that both programs train where none is named.
const DEFAULT: &str = "RN50";

/// VL Hub's name of CoCa, and the model that it stands for here.
const COCA: (&str, &str) = ("coca", "coca_ViT-L-14");

/// What a name of a model stands for.
enum Named {
    /// A config, with the tables of a run file that it stands for.
    Config(Map<String, Value>),
    /// An image tower of that plugin.
    Tower(String),
    /// Something whose tables are not known yet: published weights, or a name that the check will tell of.
    Unknown,
}

impl Translator<'_> {
    /// Model, weights, and locks.
    pub(super) fn model(&mut self) {
        let given = self.request.given;
        let default = self.request.below.is_none() && !self.request.of_run;
        if given.get("model").is_some() || default {
            self.named();
        }
        self.weights();
        self.locks();
        for (flag, list) in [("force-image-size", true), ("image-size", false)] {
            let Some(sizes) = given.get(flag) else { continue };
            let sizes: Vec<i64> = sizes.values.iter().filter_map(|text| text.parse().ok()).collect();
            match sizes[..] {
                [size] => self.set("backbone.image.image_size", size, flag),
                [height, width] if list && height == width => self.set("backbone.image.image_size", height, flag),
                _ => self.problem(flag, "is the height and width of square pictures, one number"),
            }
        }
        if given.on("force-quick-gelu") {
            // ModifiedResNets have no such activation; their text towers have.
            if self.image_tower_has("quick_gelu") {
                self.set("backbone.image.quick_gelu", true, "force-quick-gelu");
            }
            if !self.is_textless() {
                self.set("backbone.text.quick_gelu", true, "force-quick-gelu");
            }
        }
        if let Some(tokenizer) = given.text("tokenizer-path") {
            self.set("tokenizer", self.path(tokenizer), "tokenizer-path");
        }
    }

    /// Whether nothing reads texts: supervised nets, and self-supervision of pictures alone.
    pub(super) fn is_textless(&self) -> bool {
        ["integer-labels", "linear-probe", "sim-clr", "byol"].iter().any(|flag| self.request.given.on(flag)) || self.file_is_textless()
    }

    /// Whether the model is the run file's, and has no text tower.
    fn file_is_textless(&self) -> bool {
        if self.request.given.get("model").is_some() || self.of_file("backbone.text").is_some() {
            return false;
        }
        match self.text_of_file("model") {
            Some(name) => matches!(self.what_is(name), Named::Config(tables) if tables["backbone"].get("text").is_none()),
            None => self.of_file("backbone.image").is_some(),
        }
    }

    /// The model that the flags name, or else the run file, or the one that is taken without.
    pub(super) fn model_name(&self) -> &str {
        let name = self.request.given.text("model").or_else(|| self.text_of_file("model")).unwrap_or(DEFAULT);
        if name == COCA.0 { COCA.1 } else { name }
    }

    /// Whether the image tower has an option, as far as the model tells which tower that is.
    fn image_tower_has(&self, option: &str) -> bool {
        let of_file = self.text_of_file("backbone.image.use").filter(|_| self.request.given.get("model").is_none());
        match of_file {
            Some(tower) => {
                let listed = self.request.registry.get::<dyn Backbone>(tower).ok();
                listed.is_none_or(|listed| listed.defaults().get(option).is_some())
            }
            None => {
                let lacks = |tables: &Map<String, Value>| tables["backbone"]["image"].get(option).is_none();
                !matches!(self.what_is(self.model_name()), Named::Config(tables) if lacks(&tables))
            }
        }
    }

    /// What the model's name stands for.
    fn what_is(&self, name: &str) -> Named {
        if name.contains(':') {
            return Named::Unknown;
        }
        let start = self.request.below.as_ref().map_or(Path::new("."), |below| below.folder.as_path());
        let listed = self.of_file("model_configs").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let folders = listed.map(|folder| start.join(folder)).chain(self.request.model_configs.iter().cloned());
        let folders = folders.map(|folder| std::path::absolute(&folder).unwrap_or(folder)).collect();
        let base = if self.request.given.get("model").is_some() { Path::new(".") } else { start };
        if let Ok(tables) = Models::new(folders, base).expand(name) {
            return Named::Config(tables);
        }
        // timm names weights after the dot.
        let tower = name.split('.').next().unwrap_or(name);
        match self.request.registry.get::<dyn Backbone>(tower) {
            Ok(_) => Named::Tower(tower.to_owned()),
            Err(_) => Named::Unknown,
        }
    }

    /// The number of outputs of a model without texts: VL Hub's nets for classes have one for each class.
    pub(super) fn outputs(&self) -> Option<i64> {
        match self.what_is(self.model_name()) {
            Named::Config(tables) if tables["backbone"].get("text").is_none() => tables.get("embed").and_then(Value::as_i64),
            _ => None,
        }
    }

    /// Whether the model writes captions.
    pub(super) fn captions_too(&self) -> bool {
        matches!(self.what_is(self.model_name()), Named::Config(tables) if tables.contains_key("objective"))
    }

    /// The tables of a model's name.
    fn named(&mut self) {
        let name = self.model_name().to_owned();
        if self.request.given.text("model") == Some(COCA.0) {
            self.notes.push(format!("`--model {}` is `{}` here: open_clip's CoCa, whose image tower has positions", COCA.0, COCA.1));
        }
        let put = |this: &mut Self, path: &str, value: Value| match this.request.given.get("model") {
            Some(_) => this.set(path, value, "model"),
            None => this.document.put(path, value, "default of --model"),
        };
        match self.what_is(&name) {
            Named::Config(mut tables) if self.is_textless() && tables["backbone"].get("text").is_some() => {
                let image = tables["backbone"]["image"].take();
                put(self, "embed", tables["embed"].take());
                put(self, "backbone.image", image);
            }
            Named::Tower(tower) => {
                put(self, "backbone.image.use", tower.into());
                put(self, "embed", 512.into());
                if !self.is_textless() {
                    let text = json!({"use": "text_transformer", "context": 77, "width": 512, "heads": 8, "layers": 12});
                    put(self, "backbone.text", text);
                }
            }
            Named::Config(_) | Named::Unknown => {
                let name = self.model_path(&name);
                put(self, "model", name.into());
            }
        }
    }

    /// `--pretrained` and the flags that name weights otherwise.
    fn weights(&mut self) {
        let given = self.request.given;
        if let Some(weights) = given.text("pretrained").filter(|text| !text.is_empty()) {
            self.set("pretrained", self.weights_path(weights), "pretrained");
        }
        if let Some(weights) = given.text("pretrained-head").filter(|text| !text.is_empty()) {
            self.set("backbone.image.init", self.path(weights), "pretrained-head");
        }
        if given.on("fine-tune") && self.request.purpose == Purpose::Train {
            match self.request.resume {
                Some(weights) if !["latest", "auto"].contains(&weights) => self.set("pretrained", self.path(weights), "resume"),
                _ => self.problem("fine-tune", "begins with the weights that `--resume PATH` names; name them"),
            }
        }
    }

    /// Towers of which nothing, or only the last layers, are trained.
    fn locks(&mut self) {
        let given = self.request.given;
        for (lock, unlocked, path) in [
            ("lock-image", "lock-image-unlocked-groups", "backbone.image.unlocked"),
            ("lock-text", "lock-text-unlocked-layers", "backbone.text.unlocked"),
        ] {
            let groups = given.whole(unlocked);
            match (given.on(lock), groups) {
                (true, Some(groups)) if groups < 0 => self.problem(unlocked, "must not be negative"),
                (true, Some(groups)) => self.set(path, groups, unlocked),
                (true, None) => self.set(path, 0, lock),
                (false, Some(groups)) if groups > 0 => {
                    self.notes.push(format!("`--{unlocked}` has no effect without `--{lock}`, as in open_clip and VL Hub"));
                }
                (false, _) => {}
            }
        }
        if given.on("lock-image-freeze-bn-stats") {
            if given.on("lock-image") {
                self.set("backbone.image.freeze_bn_stats", true, "lock-image-freeze-bn-stats");
            } else {
                self.notes.push("`--lock-image-freeze-bn-stats` has no effect without `--lock-image`, as in open_clip and VL Hub".into());
            }
        }
    }
}
