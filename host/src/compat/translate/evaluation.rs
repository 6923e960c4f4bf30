//! `[eval.…]`: what is measured, and when.

use std::path::Path;

use serde_json::Value;

use super::data::VALIDATION;
use super::{Purpose, Translator, classes, find};
use crate::compat::flag::FlagEffect;

/// Suites whose names come from a level of the tree of life.
const WITH_TAXON: [&str; 2] = ["arboretum", "bioclip_rare"];

/// Suites that by themselves measure another part of the data, or other classes, than VL Hub does: the option and VL Hub's value of it.
const AS_IN_VLHUB: [(&str, &str, &str); 2] = [("fgvc_aircraft", "split", "val"), ("fgvc_aircraft", "level", "family")];

/// The suite whose classes are either its own or ImageNet's.
const OBJECTNET: &str = "objectnet";

/// Suites with ImageNet's classes. The subsets that are known by name count those classes, so they fit no other suite.
const OF_IMAGENET: [&str; 10] = [
    "imagenet",
    "imagenet_v2",
    "imagenet_a",
    "imagenet_r",
    "imagenet_sketch",
    "imagenet_real",
    "imagenet_c",
    "imagenet_stylized",
    OBJECTNET,
    "openimages",
];

/// Flags that change the texts of every suite, and the caption transform that does so.
const TRANSFORMS: [(&str, &str, &str); 3] = [
    ("zs-upper", "class_transform", "upper"),
    ("zs-lower", "class_transform", "lower"),
    ("zeroshot-scramble", "transform", "scramble_words"),
];

impl Translator<'_> {
    /// The suites.
    pub(super) fn evaluation(&mut self) {
        let given = self.request.given;
        let suites: Vec<(&str, &str, Vec<String>)> = given
            .iter()
            .filter_map(|given| match given.flag.effect {
                FlagEffect::Suite(suite) if given.values != ["false"] => Some((given.flag.name, suite, given.values.clone())),
                _ => None,
            })
            .collect();
        for (flag, suite, values) in &suites {
            // Two flags of one suite are told apart by their own names.
            let twice = suites.iter().any(|(other, known, _)| known == suite && other != flag);
            let key = if twice { flag.replace('-', "_") } else { (*suite).to_owned() };
            let table = format!("eval.{key}");
            // A supervised net is measured by its head, whose suite reads the data set of that name.
            let data = if self.is_textless() {
                self.set(&format!("{table}.use"), "accuracy", flag);
                self.set(&format!("{table}.data.use"), *suite, flag);
                format!("{table}.data")
            } else {
                if twice {
                    self.set(&format!("{table}.use"), *suite, flag);
                }
                table.clone()
            };
            match values.first().map(String::as_str) {
                Some(path) if path != "true" => self.set(&format!("{data}.path"), self.path(path), flag),
                _ if find(&self.document, &table).is_none() => self.set(&table, serde_json::Map::new(), flag),
                _ => {}
            }
            if *suite == OBJECTNET {
                self.classes_of_objectnet(&table, flag);
            }
            for (_, option, value) in AS_IN_VLHUB.iter().filter(|(of, ..)| of == suite) {
                self.set(&format!("{data}.{option}"), *value, flag);
            }
            if WITH_TAXON.contains(suite) {
                // VL Hub's default.
                let taxon = given.text("taxon").unwrap_or("kingdom").to_owned();
                self.set(&format!("{data}.taxon"), taxon, "taxon");
            }
            self.document.says(&table, &format!("--{flag}"));
            self.options(&table, suite);
            self.frequency(&table, "zeroshot-frequency", 2);
        }
        if self.is_textless() {
            for flag in ["no-ensembling", "zs-upper", "zs-lower", "zeroshot-scramble"].into_iter().filter(|flag| given.on(flag)) {
                self.notes.push(format!("`--{flag}` has no effect: a supervised net reads no prompts"));
            }
        } else if suites.is_empty() {
            for flag in ["caption-subset", "no-ensembling", "zs-upper", "zs-lower", "zeroshot-scramble", "taxon"] {
                if given.get(flag).is_some_and(|given| given.values != ["false"]) {
                    self.notes.push(format!("`--{flag}` has no effect: no flag names a suite; write it into `[eval.…]`"));
                }
            }
        }
        if let Some(path) = given.text("val-data").map(str::to_owned)
            && let Some(source) = self.source("val-data", &path)
        {
            self.document.says(VALIDATION, "--val-data");
            self.set(&format!("{VALIDATION}.use"), "retrieval", "val-data");
            self.set(&format!("{VALIDATION}.data"), source, "val-data");
            self.frequency(VALIDATION, "val-frequency", 1);
        }
    }

    /// Measures ObjectNet by ImageNet's classes where its own would not do: heads have ImageNet's, and the known subsets are of those.
    fn classes_of_objectnet(&mut self, table: &str, flag: &str) {
        let subset = self.request.given.text("caption-subset").and_then(classes::subset);
        if self.is_textless() || subset.is_some_and(classes::is_of_imagenet) {
            self.set(&format!("{table}.data.use"), OBJECTNET, flag);
            self.set(&format!("{table}.data.labels"), "imagenet", flag);
        }
    }

    /// Options that all suites have; those of prompts where there are prompts.
    fn options(&mut self, table: &str, suite: &str) {
        let given = self.request.given;
        if let Some(subset) = given.text("caption-subset").and_then(classes::subset) {
            let known = classes::is_of_imagenet(subset);
            if known && !OF_IMAGENET.contains(&suite) {
                self.notes.push(format!("`--caption-subset {subset}` has no effect on `{table}`: its classes are not ImageNet's"));
            } else {
                let subset = if !known && Path::new(subset).is_file() { self.path(subset) } else { subset.to_owned() };
                self.set(&format!("{table}.subset"), subset, "caption-subset");
            }
        }
        if self.is_textless() {
            return;
        }
        if given.on("no-ensembling") {
            self.set(&format!("{table}.ensemble"), false, "no-ensembling");
        }
        for option in ["class_transform", "transform"] {
            let asked: Vec<_> = TRANSFORMS.iter().filter(|(flag, of, _)| *of == option && given.on(flag)).collect();
            if let Some((flag, ..)) = asked.first() {
                let names: Vec<Value> = asked.iter().map(|(.., name)| (*name).into()).collect();
                self.set(&format!("{table}.{option}"), names, flag);
            }
        }
    }

    /// When a suite runs: after so many epochs, and at the end.
    fn frequency(&mut self, table: &str, flag: &str, otherwise: i64) {
        let path = format!("{table}.every");
        if self.request.purpose == Purpose::Eval {
            return;
        }
        let words = |epochs: i64| match epochs {
            ..=0 => "never".to_owned(),
            1 => "1 epoch".to_owned(),
            many => format!("{many} epochs"),
        };
        match self.request.given.whole(flag) {
            _ if self.request.given.on("no-eval") => self.set(&path, "never", "no-eval"),
            Some(epochs) => self.set(&path, words(epochs), flag),
            // Over a run file too: the suite is the flag's.
            None => self.document.put(&path, words(otherwise).into(), &format!("default of --{flag}")),
        }
    }
}
