//! The options of `classify`.

use vlhub_sdk::prelude::*;

/// Predicts class labels with a linear head on the pooled image features; `classes` must be given.
///
/// A row may have several labels, and one without any counts nothing. The head starts as timm's vision transformers do: weights from a normal
/// distribution of deviation 0.02, biases zero.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ClassifyConfig {
    /// Number of classes, at least 1; labels are 0 to one less. It has no default.
    pub classes: i64,
    /// The image view that is read.
    pub view: String,
    /// `cross_entropy`: the classes exclude each other. `bce`: each class is a yes-or-no question, by the mean over the classes.
    pub loss: Criterion,
    /// What several labels of one row amount to with `cross_entropy`: their `mean`, so that each row counts once; their `sum`, which is the loss
    /// of VL Hub's `--multiclass` but for its sum over the rows; or `each`, so that each label of the batch counts once.
    pub several: Several,
    /// Share of each target that is spread evenly over all classes, from 0 to below 1.
    pub label_smoothing: f64,
    /// With `bce`: sum over the classes instead of taking the mean.
    pub sum_classes: bool,
    /// With `bce`: targets above this, after smoothing and mixing, are 1 and all others 0 (timm's `bce_target_thresh`).
    pub target_threshold: Option<f64>,
    /// Parameter of the symmetric beta distribution of mixup's shares; 0 turns it off. Each picture is blended with that of the row as far
    /// from the end of the batch as it is from the start, with one share for the whole batch.
    pub mixup: f64,
    /// The same for cutmix, which pastes a rectangle of the other picture; 0 turns it off.
    pub cutmix: f64,
    /// With both on, how often a batch gets cutmix: a probability.
    pub switch: f64,
    /// How often a batch is mixed at all: a probability.
    pub mix_probability: f64,
    /// Name of the view that holds the mixed pictures, so that other objectives keep `view` as it is. Two objectives that mix need two names.
    pub mixed_view: String,
}

/// How a row's logits are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "snake_case")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Criterion {
    /// Softmax over the classes.
    #[default]
    CrossEntropy,
    /// A sigmoid for each class.
    Bce,
}

/// What several labels of one row amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "snake_case")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Several {
    /// The mean of their losses; a row counts once.
    #[default]
    Mean,
    /// The sum of their losses; a row counts once.
    Sum,
    /// The mean of their losses; a row counts as often as it has labels.
    Each,
}

impl Default for ClassifyConfig {
    fn default() -> Self {
        Self {
            classes: 0,
            view: "main".into(),
            loss: Criterion::CrossEntropy,
            several: Several::Mean,
            label_smoothing: 0.0,
            sum_classes: false,
            target_threshold: None,
            mixup: 0.0,
            cutmix: 0.0,
            switch: 0.5,
            mix_probability: 1.0,
            mixed_view: "classify_mixed".into(),
        }
    }
}

impl ClassifyConfig {
    /// Whether batches are ever mixed.
    pub(crate) fn mixes(&self) -> bool {
        self.mixup > 0.0 || self.cutmix > 0.0
    }

    /// Everything that is wrong.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.classes < 1 {
            problems.push(format!(
                "`classes` is {}; write the number of classes of the data, for example `classes = 1000` for ImageNet",
                self.classes
            ));
        }
        if self.classes == 1 && self.loss == Criterion::CrossEntropy {
            problems.push("`classes` is 1, and the cross-entropy of one class is always 0; write `loss = \"bce\"`".into());
        }
        if self.view.is_empty() {
            problems.push("`view` is empty; name an image view, such as \"main\"".into());
        }
        if self.mixes() && (self.mixed_view.is_empty() || self.mixed_view == self.view) {
            problems.push(format!(
                "`mixed_view` is `{}`; mixed pictures need a name of their own, such as \"classify_mixed\"",
                self.mixed_view
            ));
        }
        let ranges = [("label_smoothing", Some(self.label_smoothing)), ("target_threshold", self.target_threshold)];
        for (name, value) in ranges {
            if let Some(value) = value.filter(|value| !(0.0..1.0).contains(value)) {
                problems.push(format!("`{name}` is {value}; it lies between 0, inclusive, and 1, exclusive"));
            }
        }
        for (name, value) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if !(value.is_finite() && value >= 0.0) {
                problems.push(format!("`{name}` is {value}; it is above 0, or 0 to turn it off"));
            }
        }
        for (name, value) in [("switch", self.switch), ("mix_probability", self.mix_probability)] {
            if !(0.0..=1.0).contains(&value) {
                problems.push(format!("`{name}` is {value}; a probability is between 0 and 1"));
            }
        }
        let (bce, softmax) = (self.loss == Criterion::Bce, self.loss == Criterion::CrossEntropy);
        let misplaced = [
            (bce && self.several != Several::Mean, "several", "`loss = \"cross_entropy\"`: with `bce` the labels of a row are one target"),
            (softmax && self.sum_classes, "sum_classes", "`loss = \"bce\"`"),
            (softmax && self.target_threshold.is_some(), "target_threshold", "`loss = \"bce\"`"),
        ];
        for (_, name, needed) in misplaced.into_iter().filter(|(wrong, ..)| *wrong) {
            problems.push(format!("`{name}` goes with {needed}"));
        }
        problems
    }
}
