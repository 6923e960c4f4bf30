//! The suite.

mod balanced;

use std::sync::Arc;

use vlhub_sdk::captions::{ClassSet, Templates, is_imagenet};
use vlhub_sdk::prelude::*;
use vlhub_sdk::suites::{
    ClassList, ClassMatch, Counts, Labelled, SubsetChoice, asked_classes, checked_topk, data_table_with, left_out_note, read_labelled,
    score_rows,
};
use vlhub_sdk::{serde_json, tch};

use crate::prompts::{ClassTexts, Rewriter};
use balanced::Balanced;

/// Zero-shot classification: each picture goes to the class whose texts are nearest (CLIP, Radford et al., 2021).
///
/// A class is the mean of its normalised template embeddings, normalised again. A model that scores in its own way (FILIP) is asked once for
/// each template, and the scores are averaged; it keeps the tokens of all prompts in memory. Where several classes of a picture are right
/// (ReaL), one of them is enough. A model chooses among the classes that the data set's own evaluation asks for: those 200 of ImageNet's that
/// ImageNet-A has.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ZeroshotConfig {
    /// The labelled pictures: a table as in `[data.train]`.
    pub data: serde_json::Value,
    /// Where the data are: short for `data.path`. Empty: as `data` says.
    pub path: String,
    /// Which part of the data: short for `data.split`. Empty: as `data` says.
    pub split: String,
    /// Level of FGVC-Aircraft's classes, `variant`, `family` or `manufacturer`: short for `data.level`. Empty: as `data` says.
    pub level: String,
    /// Rank or column of names of the classes of Arboretum and BioCLIP-Rare, `species`, `genus`, `common_name`, …: short for `data.taxon`.
    /// Empty: as `data` says.
    pub taxon: String,
    /// Sentences around a class name, with `{}` or `{c}` in its place; or `imagenet` (CLIP's 80) or `simple` (seven of them), or
    /// `data` (those that the data set was published with).
    pub templates: Templates,
    /// Class names for the prompts: a list, or a file or the name of a known list as in the caption transform `strip` (`imagenet`, `openclip`,
    /// `default`, `default_first`, …); an empty list takes the data set's own. Where all of the data set's names are among these, they are
    /// matched by name, and further classes may be left without pictures; else they are other names for the data set's classes, in the order of
    /// its labels, and as many.
    pub classes: ClassSet,
    /// Ask for these classes alone (VL Hub's `--caption-subset`): the name of a known subset of ImageNet's classes (`in100`, `in100_dogs`, …), a
    /// file with numbers or names, a list of numbers (labels from 0), or a list of names. Pictures of other classes are left out and counted.
    pub subset: Option<SubsetChoice>,
    /// Caption transforms for each class name, before it is put into the templates: `["upper"]`, `["lower"]` (VL Hub's `--zs-upper`,
    /// `--zs-lower`), `[{ use = "shift_cipher", k = 1 }]`.
    pub class_transform: Vec<serde_json::Value>,
    /// Caption transforms for each prompt, as in `[view.text.NAME]`: `["scramble_words"]` (VL Hub's `--zeroshot-scramble`). What is drawn
    /// depends on the prompt alone. Token ids are not rewritten.
    pub transform: Vec<serde_json::Value>,
    /// Pictures in one call of the model, and about as many texts.
    pub batch: usize,
    /// Report `topK` for each of these K. More than the number of classes counts as all of them.
    pub topk: Vec<usize>,
    /// Use all templates; otherwise only the first.
    pub ensemble: bool,
    /// Report `balanced_topK` too: the mean over classes that have at least two pictures, as VL Hub measures OpenImages.
    pub balanced: bool,
    /// A column of the data that lists the classes among which a picture is judged, with `!` between them, as in VL Hub's confounding species. A
    /// picture without it is judged among all. Empty: every picture is.
    pub candidates: String,
}

impl Default for ZeroshotConfig {
    fn default() -> Self {
        Self {
            data: serde_json::json!({ "use": "shapes", "split": "held_out" }),
            path: String::new(),
            split: String::new(),
            level: String::new(),
            taxon: String::new(),
            templates: Templates::List(vec!["a photo of a {}.".into()]),
            classes: ClassSet::List(Vec::new()),
            subset: None,
            class_transform: Vec::new(),
            transform: Vec::new(),
            batch: 64,
            topk: vec![1, 5],
            ensemble: true,
            balanced: false,
            candidates: String::new(),
        }
    }
}

impl ZeroshotConfig {
    /// The table of the data, with the short forms laid over it.
    fn data_table(&self) -> serde_json::Value {
        let short = [("path", &*self.path), ("split", &*self.split), ("level", &*self.level), ("taxon", &*self.taxon)];
        data_table_with(&self.data, &short)
    }

    /// The classes that are asked for, and the data set's labels as places among them.
    fn classes(&self, data: &dyn Dataset, cx: &EvalCx<'_>) -> Result<(Vec<String>, ClassMatch)> {
        let known = data.classes();
        let other = match &self.classes {
            ClassSet::List(names) if names.is_empty() => None,
            set => Some(set.names_read_by(cx.read_text)?),
        };
        if known.is_empty() && other.is_none() {
            return Err(Error::Options("the data set has no classes; name them in `classes`, or choose a labelled data set".into()));
        }
        let classes = other.unwrap_or_else(|| known.to_vec());
        let (ours, prompts) = (ClassList::named("`data`", known), ClassList::named("`classes`", &classes));
        // Two lists of ImageNet's classes have names in common that stand for other classes, or for two (`missile`): the order tells them apart.
        let both = known != classes && is_imagenet(known) && is_imagenet(&classes);
        let matched = if both {
            ClassMatch::in_order(&ours, &prompts, "both are lists of ImageNet's classes")
        } else {
            ClassMatch::with_other_names(&ours, &prompts)
        };
        let matched = matched.map_err(|error| Error::Options(error.to_string()))?;
        let count = if known.is_empty() { classes.len() } else { known.len() };
        let numbers = matched.classes_of(count).unwrap_or_default();
        let in_order_of_labels: Vec<String> = numbers.iter().map(|class| classes[*class].clone()).collect();
        let lists: &[&[String]] = if known.is_empty() { &[&classes] } else { &[known, &in_order_of_labels] };
        match asked_classes(self.subset.as_ref(), data.evaluated(), (count, lists), cx.read_text)? {
            None => Ok((classes, matched)),
            Some(asked) => {
                let asked = if known.is_empty() { asked } else { asked.renumbered(&numbers, classes.len())? };
                Ok((asked.names(&classes), matched.only(asked)))
            }
        }
    }
}

impl Config<dyn EvalSuite> for ZeroshotConfig {
    fn build(&self, cx: &EvalCx<'_>) -> Result<Box<dyn EvalSuite>> {
        let topk = checked_topk(&self.topk, self.batch)?;
        let meta = if self.candidates.is_empty() { Want::Unread } else { Want::Optional };
        let wants = Wants { meta, ..Wants::NOTHING.label(Want::Optional) };
        let data = cx.datasets.open_for(&self.data_table(), wants).map_err(|error| error.within("`data`"))?;
        let mut templates = self.templates.sentences_for(data.templates())?;
        if !self.ensemble {
            templates.truncate(1);
        }
        let (classes, matched) = self.classes(data.as_ref(), cx)?;
        let names = Rewriter::build("class_transform", &self.class_transform, cx)?;
        let prompts = Rewriter::build("transform", &self.transform, cx)?;
        let texts = ClassTexts { templates, names, prompts };
        // What a transform refuses must not be found out after the last step of a run.
        texts.of(&classes[..classes.len().min(1)])?;
        let candidates = Some(self.candidates.clone()).filter(|column| !column.is_empty());
        Ok(Box::new(Zeroshot { data, texts, classes, matched, batch: self.batch, topk, balanced: self.balanced, candidates }))
    }
}

struct Zeroshot {
    data: Arc<dyn Dataset>,
    texts: ClassTexts,
    /// Those that are asked for.
    classes: Vec<String>,
    /// The data set's labels as places in `classes`.
    matched: ClassMatch,
    batch: usize,
    topk: Vec<usize>,
    balanced: bool,
    /// Column of the classes among which a picture is judged.
    candidates: Option<String>,
}

impl std::fmt::Debug for Zeroshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zeroshot").field("classes", &self.classes.len()).finish_non_exhaustive()
    }
}

/// What stands between the classes of a candidates' column.
const BETWEEN_CANDIDATES: char = '!';

impl Zeroshot {
    /// Puts the classes among which a picture is not judged behind all others.
    fn judge(&self, scores: &mut [Vec<f32>], batch: &Labelled) {
        let Some(column) = &self.candidates else { return };
        for (at, row) in scores.iter_mut().enumerate() {
            let Some(listed) = batch.meta.get(at).and_then(|meta| meta.get(column)).filter(|listed| !listed.trim().is_empty()) else {
                continue;
            };
            let names: Vec<&str> = listed.split(BETWEEN_CANDIDATES).map(str::trim).collect();
            let own = batch.classes(at);
            // A class may stand there under another spelling of its name; the picture's own class is a candidate always.
            row.iter_mut()
                .enumerate()
                .filter(|(class, _)| !own.contains(class) && !names.contains(&self.classes[*class].as_str()))
                .for_each(|(_, score)| *score = f32::NEG_INFINITY);
        }
    }
}

impl EvalSuite for Zeroshot {
    fn requires(&self) -> Requires {
        Requires::ENCODERS
    }

    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let prompts = self.texts.encoded(&self.classes, model, self.batch)?;
        let mut counts = Counts::new(self.classes.len(), &self.topk);
        let mut balanced = self.balanced.then(|| Balanced::new(self.classes.len(), &self.topk));
        report.notes.extend(self.matched.note().map(str::to_owned));
        report.notes.extend(self.data.notes().iter().cloned());
        let left_out = read_labelled(self.data.as_ref(), &self.matched, self.batch, &mut report.skipped, |ready| {
            let scores = prompts.scores(&model.images(&ready.images, prompts.tokens())?)?;
            let mut rows = score_rows(&scores, self.classes.len(), &ready.keys)?;
            self.judge(&mut rows, &ready);
            if let Some(balanced) = &mut balanced {
                balanced.add(&rows, &ready);
            }
            counts.add_batch(&rows, &ready, &self.classes);
            Ok(())
        })?;
        report.notes.extend(left_out_note(&self.matched, left_out));
        counts.write(&self.classes, report);
        if let Some(balanced) = balanced {
            balanced.write(report);
        }
        Ok(())
    }
}

register!(dyn EvalSuite, "zeroshot", ZeroshotConfig);

/// `zeroshot` on the data of the source `name`, with the templates that it brings.
fn on(name: &str) -> ZeroshotConfig {
    ZeroshotConfig { data: serde_json::json!({ "use": name }), templates: Templates::Set("data".into()), ..ZeroshotConfig::default() }
}

macro_rules! presets {
    ($($name:literal)*) => { $(register!(dyn EvalSuite, $name, ZeroshotConfig, || on($name));)* };
}

presets! {
    "imagenet" "imagenet_v2" "imagenet_a" "imagenet_r" "imagenet_sketch" "imagenet_real" "imagenet_c" "imagenet_stylized" "objectnet"
    "food101" "fgvc_aircraft" "stanford_cars" "flowers102"
    "inat2017" "inat2018" "inat2021" "birds525" "insecta" "fungi" "insects2" "arboretum" "bioclip_rare"
}

// Its classes differ much in size.
register!(dyn EvalSuite, "openimages", ZeroshotConfig, || ZeroshotConfig { balanced: true, ..on("openimages") });
// Each picture is judged between the two species of its pair.
register!(dyn EvalSuite, "confounding", ZeroshotConfig, || ZeroshotConfig { candidates: "class_options".into(), ..on("confounding") });

#[cfg(test)]
mod asked_tests;
#[cfg(test)]
mod tests;
