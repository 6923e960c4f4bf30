//! The laws find those who break them.

use serde::{Deserialize, Serialize};
use tch::nn::Init;
use tch::{Kind, Tensor};
use vlhub_core::{Batch, Config, Features, Loss, Need, Objective, ObjectiveCx, Result, Scope};

use super::objective as laws;
use super::*;
use crate::ops::normalize;

/// Each variant is a contrastive loss with one defect.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
enum Defect {
    None,
    CallsItselfPerSample,
    IgnoresOwn,
    ReadsAnUndeclaredView,
    DeclaresAViewTooMany,
    HasAnIdleParameter,
    DependsOnOrder,
    LikesWrongPairs,
    IsNan,
    IsAMatrix,
    CountsItsHeadTwice,
}

#[derive(Debug)]
struct Toy {
    defect: Defect,
    scale: Tensor,
    calls: std::sync::atomic::AtomicI64,
}

impl Config<dyn Objective> for Defect {
    fn build(&self, cx: &ObjectiveCx<'_>) -> Result<Box<dyn Objective>> {
        let scale = cx.shared.var("scale", &[], Init::Const(1.0));
        if *self == Defect::HasAnIdleParameter {
            let _ = cx.path.var("idle", &[2], Init::Const(1.0));
        }
        Ok(Box::new(Toy { defect: *self, scale, calls: Default::default() }))
    }
}

impl Objective for Toy {
    fn scope(&self) -> Scope {
        if self.defect == Defect::CallsItselfPerSample { Scope::Sample } else { Scope::Batch }
    }
    fn needs(&self) -> Vec<Need> {
        let mut needs = vec![Need::image("main"), Need::text("main")];
        if self.defect == Defect::DeclaresAViewTooMany {
            needs.push(Need::image("alt"));
        }
        needs
    }
    fn loss(&self, features: &Features, _batch: &Batch) -> Result<Loss> {
        if self.defect == Defect::ReadsAnUndeclaredView {
            features.image("alt")?;
        }
        let image = normalize(&features.image("main")?.embed);
        let text = normalize(&features.text("main")?.embed);
        let own = if self.defect == Defect::IgnoresOwn { 0..features.total() } else { features.own() };
        let logits = self.scale.exp() * image.narrow(0, own.start, own.end - own.start).matmul(&text.tr());
        let each = -logits.log_softmax(1, Kind::Float).diagonal(own.start, 0, 1);
        let mut loss = each.sum(Kind::Float) / features.total() as f64;
        match self.defect {
            Defect::DependsOnOrder => loss += image.get(0).dot(&text.get(0)) * (own.start == 0) as i64,
            Defect::LikesWrongPairs => loss = -loss,
            Defect::IsNan => loss *= f64::NAN,
            Defect::IsAMatrix => loss = logits,
            // Stands for hidden state: the second call is another function.
            Defect::CountsItsHeadTwice => loss *= 1 + self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            _ => {}
        }
        Ok(loss.into())
    }
}

/// Tests of one process share libtorch's generator.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

type NamedLaw = (&'static str, fn(&laws::ObjectiveOptions) -> Verdict);

const ALL: &[NamedLaw] = &[
    ("builds_twice", laws::builds_twice),
    ("needs", laws::needs),
    ("finite", laws::finite),
    ("gradients", laws::gradients),
    ("partition", laws::partition),
    ("permutation", laws::permutation),
    ("aligned", laws::aligned),
    ("cached_step", laws::cached_step),
    ("learns", laws::learns),
];

fn verdict(law: &str, defect: Defect) -> Verdict {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (_, law) = ALL.iter().find(|(name, _)| *name == law).expect("a law");
    law(&defect)
}

#[test]
fn a_sound_objective_keeps_every_law() {
    for (law, _) in ALL {
        assert_eq!(verdict(law, Defect::None), Ok(()), "{law}");
    }
}

#[test]
fn each_defect_breaks_the_law_that_is_about_it() {
    for (defect, law, word) in [
        (Defect::CallsItselfPerSample, "partition", "the sum of the losses"),
        (Defect::CallsItselfPerSample, "cached_step", "gradient of"),
        (Defect::IgnoresOwn, "partition", "the sum of the losses"),
        (Defect::ReadsAnUndeclaredView, "needs", "does not declare"),
        (Defect::DeclaresAViewTooMany, "gradients", "image `alt` is declared"),
        (Defect::HasAnIdleParameter, "gradients", "objective.idle"),
        (Defect::DependsOnOrder, "permutation", "another order"),
        (Defect::LikesWrongPairs, "aligned", "shuffled"),
        (Defect::IsNan, "finite", "NaN"),
        (Defect::IsNan, "learns", "NaN"),
        (Defect::IsNan, "gradients", "not finite"),
        (Defect::IsAMatrix, "finite", "[6, 6]"),
        (Defect::CountsItsHeadTwice, "partition", "the sum of the losses"),
    ] {
        let why = verdict(law, defect).expect_err(&format!("{law} lets {defect:?} pass"));
        assert!(why.contains(word), "{law} on {defect:?}: {why}");
    }
}

#[test]
fn an_exception_must_name_a_law_and_give_a_reason() {
    let known = ["objective::clip::partition", "objective::clip::learns"];
    for (except, word) in [
        (&[("objective::clip::partition", "it couples rows")][..], None),
        (&[("objective::clip::partitoin", "it couples rows")], Some("did you mean `objective::clip::partition`")),
        (&[("objective::other::learns", "gone")], Some("objective::other::learns")),
        (&[("objective::clip::learns", " ")], Some("no reason")),
    ] {
        match (exceptions(except, &known), word) {
            (Ok(()), None) => {}
            (Err(why), Some(word)) => assert!(why.contains(word), "{why}"),
            (other, word) => panic!("{other:?}, expected {word:?}"),
        }
    }
    assert!(exceptions(&[], &[]).expect_err("no plugin").contains("no plugin is linked"));
}

#[test]
fn a_name_is_lower_case_and_starts_with_a_letter() {
    for (name, good) in [("vit_b_32", true), ("clip", true), ("Clip", false), ("2d", false), ("a-b", false), ("", false), ("_a", false)] {
        assert_eq!(all::name(name).is_ok(), good, "{name}");
    }
}

#[test]
fn toys_depend_on_their_seed_alone() {
    assert_eq!(toy::randn(&[5], 3), toy::randn(&[5], 3));
    assert_ne!(toy::randn(&[5], 3), toy::randn(&[5], 4));
}
