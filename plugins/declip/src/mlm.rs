//! The objective `mlm`.

use vlhub_sdk::nn::{Linear, default_bound};
use vlhub_sdk::ops::{cross_entropy_sum, wide};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch;

use crate::masking::{IGNORED, Masking};

/// Masked language modelling: predicts masked words of a caption from the tokens of the text tower (BERT, arXiv 1810.04805; in DeCLIP, arXiv 2110.05208).
///
/// A second view of the text is made, in which some tokens are replaced. A linear map turns the tower's token at each such place into
/// logits over the vocabulary, and the loss is the mean cross-entropy over all these places. Each text loses `mask` of its tokens, rounded,
/// and at least one. In a causal tower a word is predicted from those before it. DeCLIP's setting is `keep = 0.1` with a token of its own
/// as the mask (`backbone.text.vocab = 49409` and `mask_id` = 49406, in a vocabulary with the start and end tokens behind it). Parameters:
/// `logits.weight` `[vocab, width]` and `logits.bias`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct MlmConfig {
    /// Masking ratio: share of a text's tokens that is predicted, above 0 and at most 1. Start, end and padding do not count.
    pub mask: f64,
    /// Of the predicted tokens, the share that becomes a random token, and not the mask: any but padding, mask, start and end.
    pub random: f64,
    /// Of the predicted tokens, the share that stays as it is. BERT and DeCLIP: 0.1.
    pub keep: f64,
    /// Id of the mask, in the text tower's vocabulary. CLIP's has none: the default is that of x-clip, `#`, which captions hardly need.
    /// BERT has 103 (and 2 is unused), RoBERTa 50264, XLM-RoBERTa 250001. The start and end tokens are refused.
    pub mask_id: i64,
    /// Whether every text begins with a token that the tokenizer adds. It is never masked.
    pub start: bool,
    /// Whether every text ends with a token that the tokenizer adds, before the padding. It is never masked.
    pub end: bool,
    /// The text view that is masked.
    pub from: String,
    /// Name of the masked view that is made. The run file must not make one of this name. Its labels are the extra input `VIEW_labels`, -1
    /// where nothing is predicted.
    pub view: String,
}

impl Default for MlmConfig {
    fn default() -> Self {
        Self { mask: 0.15, random: 0.1, keep: 0.0, mask_id: 2, start: true, end: true, from: "main".into(), view: "mlm".into() }
    }
}

impl MlmConfig {
    /// How texts are masked for this tower, or everything that is wrong with the options.
    fn masking(&self, text: &InputSpec) -> Result<Masking> {
        let InputSpec::Text { vocab, pad, .. } = *text else {
            return Err(Error::Options("the text tower reads no texts".into()));
        };
        let Self { mask, random, keep, mask_id, start, end, .. } = *self;
        let mut problems = OptionProblems::default();
        problems.ensure(mask > 0.0 && mask <= 1.0, || format!("`mask` = {mask} is a share, above 0 and at most 1"));
        problems.probability("random", random);
        problems.probability("keep", keep);
        problems.ensure(random + keep <= 1.0, || format!("`random` = {random} and `keep` = {keep} are more than 1 together"));
        problems.ensure((0..vocab).contains(&mask_id), || {
            format!("`mask_id` = {mask_id} is outside of the text tower's vocabulary 0..{vocab}; enlarge `backbone.text.vocab`")
        });
        problems.ensure(mask_id != pad, || format!("`mask_id` = {mask_id} is the padding"));
        problems.ensure(vocab >= 5, || format!("a vocabulary of {vocab} ids has no room for padding, mask, start, end and a word"));
        problems.ensure(self.view != self.from, || format!("`view` = `{}` would replace the view that it is made `from`", self.view));
        problems.finish()?;
        Ok(Masking { share: mask, random, keep, mask_id, pad, vocab, start, end })
    }
}

impl Config<dyn Objective> for MlmConfig {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        let text = cx.text.as_ref();
        let text = text.ok_or_else(|| Error::Options("masked words need a text tower; add `[backbone.text]` to the run".into()))?;
        let masking = self.masking(&text.input)?;
        let bound = default_bound(text.width);
        let head = Linear::new(&cx.path.sub("logits"), text.width, masking.vocab, bound, bound)?;
        let (from, view) = (self.from.clone(), self.view.clone());
        Ok(Box::new(Mlm { masking, head, from, labels: format!("{view}_labels"), view }))
    }
}

#[derive(Debug)]
struct Mlm {
    masking: Masking,
    head: Linear,
    from: String,
    view: String,
    /// Name of the extra input.
    labels: String,
}

/// Tokens `[B, T, width]` and labels `[B, T]` of the same places, for the ids `[B, L]` and their labels.
///
/// # Errors
/// When the tower's tokens are neither one for each id, nor one for each but the first.
fn aligned(tokens: &Tokens, ids: &Tensor, labels: &Tensor, pad: i64) -> Result<(Tensor, Tensor)> {
    let (given, length) = (tokens.values.size()[1], labels.size()[1]);
    if given == length {
        return Ok((tokens.values.shallow_clone(), labels.shallow_clone()));
    }
    if given + 1 == length {
        // BERT pooled at its first token gives the others alone. The mask says whether it is the first one that lacks.
        let predicted = labels.not_equal(IGNORED);
        let expected = ids.narrow(1, 1, given).not_equal(pad);
        let other = tokens.mask.not_equal_tensor(&expected).logical_and(&predicted.any_dim(1, true));
        let wrong = other.any().logical_or(&predicted.select(1, 0).any());
        if wrong.int64_value(&[]) == 0 {
            return Ok((tokens.values.shallow_clone(), labels.narrow(1, 1, given)));
        }
    }
    Err(Error::invalid(format!(
        "the text tower gives {given} tokens for {length} ids, and which belongs to which is not known; masked words need one token for each \
         id, or for each but a start token"
    )))
}

impl Objective for Mlm {
    fn scope(&self) -> Scope {
        Scope::Sample
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::text(&self.view).tokens()]
    }

    fn prepare(&self, batch: &mut Batch, rng: &mut dyn RngCore) -> Result<()> {
        let ids = batch.text(&self.from)?;
        let (size, device) = (ids.size(), ids.device());
        if size.len() != 2 || ids.kind() != Kind::Int64 {
            return Err(Error::invalid(format!("texts to mask are int64 ids [B, L], not {:?} {size:?}", ids.kind())));
        }
        let flat = Vec::<i64>::try_from(ids.to_device(Device::Cpu).contiguous().view([-1]))?;
        let (masked, labels) = self.masking.apply(&flat, size[1] as usize, rng)?;
        let shaped = |values: &[i64]| Tensor::from_slice(values).view(size.as_slice()).to_device(device);
        batch.set_text(&self.view, shaped(&masked))?;
        batch.set_extra(&self.labels, shaped(&labels))
    }

    fn weight(&self, batch: &Batch) -> f64 {
        // The engine refuses what is no number, with the objective's name.
        batch.extra(&self.labels).map_or(f64::NAN, |labels| labels.not_equal(IGNORED).sum(Kind::Int64).int64_value(&[]) as f64)
    }

    fn loss(&self, features: &Features, batch: &Batch) -> Result<Loss> {
        let (values, labels) =
            aligned(features.text_tokens(&self.view)?, batch.text(&self.view)?, batch.extra(&self.labels)?, self.masking.pad)?;
        let labels = labels.flatten(0, -1);
        let places = labels.not_equal(IGNORED).nonzero().squeeze_dim(1);
        let count = places.size()[0];
        if count == 0 {
            return Ok(Loss::from(values.sum(Kind::Float) * 0.0).with("mlm_accuracy", 0.0));
        }
        // Most tokens are not predicted, and logits are as wide as the vocabulary: theirs are never made.
        let logits = self.head.forward(&wide(&values.flatten(0, 1).index_select(0, &places)));
        let labels = labels.index_select(0, &places);
        let right = tch::no_grad(|| logits.argmax(-1, false).eq_tensor(&labels).sum(Kind::Int64)).int64_value(&[]);
        Ok(Loss::from(cross_entropy_sum(&logits, &labels) / count as f64).with("mlm_accuracy", right as f64 / count as f64))
    }
}

register!(dyn Objective, "mlm", MlmConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use vlhub_sdk::tch::nn::VarStore;
    use vlhub_sdk::testkit::toy::{self, Seeded};

    fn ids() -> Tensor {
        Tensor::from_slice(&[18i64, 4, 5, 19, 0, 18, 6, 7, 8, 19]).view([2, 5])
    }

    fn prepared(config: &MlmConfig) -> (Box<dyn Objective>, Batch) {
        let store = VarStore::new(Device::Cpu);
        let objective = config.build(&toy::objective_cx(store.root())).expect("builds");
        let mut batch = Batch::new(2);
        batch.set_text("main", ids()).expect("two rows");
        objective.prepare(&mut batch, &mut Seeded(5)).expect("prepares");
        (objective, batch)
    }

    /// Tokens from the places `range` of the ids, which the mask says to be real.
    fn features(range: std::ops::Range<i64>) -> Features {
        let (start, count) = (range.start, range.end - range.start);
        let values = toy::randn(&[2, 6, toy::WIDTH], 3).narrow(1, start, count);
        let real = Tensor::cat(&[&ids(), &Tensor::zeros([2, 1], (Kind::Int64, Device::Cpu))], 1).not_equal(0);
        let tokens = Some(Tokens { values, mask: real.narrow(1, start, count) });
        let mut features = Features::new(0..2, 2);
        let pooled = toy::randn(&[2, toy::WIDTH], 4);
        features.insert(Modality::Text, "mlm", Encoded { embed: pooled.shallow_clone(), pooled, tokens });
        features
    }

    #[test]
    fn the_masked_view_and_its_labels_are_made_beside_the_text() {
        let (objective, batch) = prepared(&MlmConfig { random: 0.0, mask: 1.0, ..Default::default() });
        assert!(batch.text("main").expect("stays").equal(&ids()), "the text itself stays");
        let masked = Vec::<i64>::try_from(batch.text("mlm").expect("made").flatten(0, -1)).expect("ids");
        assert_eq!(masked, [18, 2, 2, 19, 0, 18, 2, 2, 2, 19]);
        let labels = Vec::<i64>::try_from(batch.extra("mlm_labels").expect("made").flatten(0, -1)).expect("labels");
        assert_eq!(labels, [-1, 4, 5, -1, -1, -1, 6, 7, 8, -1]);
        assert_eq!(objective.weight(&batch), 5.0, "one for each masked token");
        assert!(objective.weight(&Batch::new(2)).is_nan(), "nothing was prepared");
    }

    #[test]
    fn tokens_are_matched_with_ids_or_refused() {
        let (objective, batch) = prepared(&MlmConfig { mask: 1.0, ..Default::default() });
        let whole = objective.loss(&features(0..5), &batch).expect("one token for each id").value();
        let rest = objective.loss(&features(1..5), &batch).expect("the start token lacks").value();
        assert!((whole - rest).abs() < 1e-6, "the same tokens at the same places: {whole} and {rest}");
        for (range, why) in [(0..6, "one more"), (2..5, "two lack"), (2..6, "the start and the first word lack, and padding follows")] {
            let error = objective.loss(&features(range), &batch).expect_err(why).to_string();
            assert!(error.contains("tokens for 5 ids"), "{why}: {error}");
        }
    }

    #[test]
    fn a_text_of_which_nothing_is_predicted_costs_nothing() {
        let (objective, mut batch) = prepared(&MlmConfig::default());
        batch.set_extra("mlm_labels", Tensor::full([2, 5], IGNORED, (Kind::Int64, Device::Cpu))).expect("two rows");
        assert_eq!(objective.weight(&batch), 0.0);
        assert_eq!(objective.loss(&features(0..5), &batch).expect("a loss").value(), 0.0);
    }

    #[test]
    fn options_that_mean_nothing_are_refused_by_name() {
        let base = MlmConfig::default;
        for (config, word, why) in [
            (MlmConfig { mask: 0.0, ..base() }, "mask", "nothing to predict"),
            (MlmConfig { mask: f64::NAN, ..base() }, "mask", "nan is no share"),
            (MlmConfig { random: -0.1, ..base() }, "random", "below 0"),
            (MlmConfig { keep: 0.95, ..base() }, "keep", "more than all"),
            (MlmConfig { mask_id: 20, ..base() }, "mask_id", "outside of the vocabulary"),
            (MlmConfig { mask_id: 0, ..base() }, "mask_id", "padding"),
            (MlmConfig { view: "main".into(), ..base() }, "view", "it would replace the text"),
        ] {
            let store = VarStore::new(Device::Cpu);
            let error = config.build(&toy::objective_cx(store.root())).expect_err(why).to_string();
            assert!(error.contains(word), "{why}: {error}");
            assert!(store.is_empty(), "{why}: nothing was made");
        }
    }
}
