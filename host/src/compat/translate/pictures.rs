//! `[preprocess]` and `[view.image.…]`: what becomes of pictures.

use serde_json::{Value, json};

use super::Translator;

impl Translator<'_> {
    /// Preprocessing and augmentation.
    pub(super) fn pictures(&mut self) {
        let given = self.request.given;
        for (flag, option) in [("image-mean", "mean"), ("image-std", "std")] {
            let Some(values) = given.get(flag) else { continue };
            let numbers: Vec<f64> = values.values.iter().filter_map(|text| text.parse().ok()).collect();
            match numbers[..] {
                [one] => self.set(&format!("preprocess.{option}"), vec![one; 3], flag),
                [_, _, _] => self.set(&format!("preprocess.{option}"), numbers, flag),
                _ => self.problem(flag, "is three numbers: red, green, blue"),
            }
        }
        match given.text("image-interpolation") {
            Some("random") => self.problem("image-interpolation", "a filter drawn at random is not offered; say `bicubic` or `bilinear`"),
            Some(filter) => self.set("preprocess.interpolation", filter, "image-interpolation"),
            None => {}
        }
        if let Some(pixels) = given.whole("max-image-pixels") {
            self.set("max_pixels", if pixels == 0 { i64::MAX } else { pixels }, "max-image-pixels");
        }
        self.augmentation();
        if given.on("sim-clr") || given.on("byol") || given.on("vssl") {
            let flag = ["sim-clr", "byol", "vssl"].into_iter().find(|flag| given.on(flag)).unwrap_or("sim-clr");
            for view in ["a", "b"] {
                self.set(&format!("view.image.{view}.augment"), json!([{"use": "simclr"}]), flag);
            }
        }
    }

    /// The view `main`: open_clip's random crop, or VL Hub's pipelines.
    fn augmentation(&mut self) {
        let given = self.request.given;
        let configured = given.get("aug-cfg").is_some_and(|given| !given.values.is_empty());
        let (first, steps) = if given.on("sim-clr-trans") {
            if configured {
                self.problem("aug-cfg", "and `--sim-clr-trans` are both an augmentation; leave one of them out");
            }
            let steps = vec![
                json!({"use": "random_resized_crop", "scale": [0.7, 1.0]}),
                json!("color_jitter"),
                json!("greyscale"),
                json!({"use": "blur", "kernel": 5}),
                json!("flip"),
            ];
            ("sim-clr-trans", steps)
        } else if !configured && self.request.below.is_some() {
            // The crop is open_clip's default, and a run file has augmentations of its own.
            let of_file = self.of_file("view.image.main.augment").and_then(Value::as_array).cloned();
            (if given.on("grayscale") { "grayscale" } else { "downsample-trans" }, of_file.unwrap_or_default())
        } else {
            ("aug-cfg", self.configured())
        };
        let mut steps: Vec<(&str, Value)> = steps.into_iter().map(|step| (first, step)).collect();
        for (flag, step) in [("grayscale", json!({"use": "greyscale", "p": 1.0})), ("downsample-trans", json!("jpeg_compression"))] {
            steps.extend(given.on(flag).then_some((flag, step)));
        }
        if configured || ["sim-clr-trans", "grayscale", "downsample-trans"].iter().any(|flag| given.on(flag)) {
            self.set_list("view.image.main.augment", steps);
        } else {
            self.default("view.image.main.augment", steps.into_iter().map(|(_, step)| step).collect::<Vec<_>>(), "aug-cfg");
        }
    }

    /// `--aug-cfg key=value …`: open_clip's `AugmentationCfg`, whose crop keeps 90 to 100 % of the picture where nothing else is said.
    fn configured(&mut self) -> Vec<Value> {
        let mut crop = json!({"use": "random_resized_crop"});
        let (mut jitter, mut jitter_p, mut grey, mut erase) = (None, 1.0, None, json!(null));
        let words = self.request.given.get("aug-cfg").map(|given| given.values.clone()).unwrap_or_default();
        for word in words.iter().filter(|word| !word.is_empty()) {
            let Some((key, text)) = word.split_once('=') else {
                self.problem("aug-cfg", format!("is a list of `key=value`, not `{word}`"));
                continue;
            };
            let value = literal(text);
            match (key, value) {
                ("scale" | "ratio", Some(value)) if value.as_array().is_some_and(|pair| pair.len() == 2) => crop[key] = value,
                ("color_jitter", Some(value)) if value.is_number() || value.is_array() => jitter = Some(value),
                ("color_jitter_prob", Some(Value::Number(p))) => jitter_p = p.as_f64().unwrap_or(1.0),
                ("gray_scale_prob", Some(value @ Value::Number(_))) => grey = Some(value),
                ("re_prob", Some(value @ Value::Number(_))) => erase["p"] = value,
                ("re_count", Some(value @ Value::Number(_))) => erase["count"] = json!([value, value]),
                ("use_timm", _) | (_, Some(Value::Null)) => {}
                ("interpolation", Some(value)) => crop["filter"] = value,
                ("naflex", _) => self.problem("aug-cfg", "`naflex`: pictures have one size, that of the image tower"),
                _ => self.problem(
                    "aug-cfg",
                    format!(
                        "`{word}` is not taken; known: scale ratio color_jitter color_jitter_prob gray_scale_prob re_prob re_count interpolation. \
                         Other augmentations: `view.image.main.augment`"
                    ),
                ),
            }
        }
        let mut steps = vec![crop];
        if let Some(jitter) = jitter {
            let of = |at: usize, otherwise: f64| jitter.get(at).and_then(Value::as_f64).or(jitter.as_f64()).unwrap_or(otherwise);
            // One number means brightness, contrast and saturation, as in timm.
            let hue = jitter.get(3).and_then(Value::as_f64).unwrap_or(0.0);
            let (b, c, s) = (of(0, 0.0), of(1, 0.0), of(2, 0.0));
            steps.push(json!({"use": "color_jitter", "brightness": b, "contrast": c, "saturation": s, "hue": hue, "p": jitter_p}));
        }
        if let Some(p) = grey {
            steps.push(json!({"use": "greyscale", "p": p}));
        }
        if erase.is_object() {
            erase["use"] = json!("random_erasing");
            erase["mode"] = json!("pixel");
            steps.push(erase);
        }
        steps
    }
}

/// A literal of Python: a number, a truth value, a text, or a tuple or list of numbers.
fn literal(text: &str) -> Option<Value> {
    let text = text.trim();
    let inner = text.strip_prefix(['(', '[']).and_then(|text| text.strip_suffix([')', ']']));
    if let Some(inner) = inner {
        let items = inner.split(',').map(str::trim).filter(|item| !item.is_empty());
        return items.map(|item| item.parse::<f64>().ok().map(Value::from)).collect::<Option<Vec<_>>>().map(Value::Array);
    }
    match text {
        "True" => Some(true.into()),
        "False" => Some(false.into()),
        "None" => Some(Value::Null),
        _ => {
            let number = text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<f64>().map(Value::from));
            Some(number.unwrap_or_else(|_| text.trim_matches(['\'', '"']).into()))
        }
    }
}
