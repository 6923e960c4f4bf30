//! The laws of each kind, and the toys they are tried on.
//!
//! `conformance!()` makes one test of every law for every plugin that its test program links, named `kind::plugin::law`. Everything is
//! small (width 8, 6 rows, pictures of 4 × 4) and runs on one thread, because libtorch's random generator belongs to the process. A law is
//! a function that says what is wrong, so that a plugin author can also call one by hand.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use vlhub_core::{Kind, PluginEntry, registered_here, suggest};

pub mod all;
pub mod augmentation;
pub mod backbone;
pub mod caption;
pub mod eval;
pub mod golden;
pub mod objective;
pub mod source;
pub mod store;
pub mod toy;

#[cfg(test)]
mod tests;

/// The verdict of a law: nothing, or what is wrong.
pub type Verdict = Result<(), String>;

/// A law for the registered plugins of one kind.
pub type Law<K> = (&'static str, fn(&'static PluginEntry<K>) -> LawOutcome);

/// How one plugin fared under one law.
#[derive(Debug, PartialEq)]
pub enum LawOutcome {
    /// It keeps the law.
    Kept,
    /// It breaks the law.
    Broken(String),
    /// The law cannot be tried on it, for this reason.
    Untried(String),
}

impl From<Verdict> for LawOutcome {
    fn from(verdict: Verdict) -> Self {
        verdict.map_or_else(Self::Broken, |()| Self::Kept)
    }
}

/// Runs the laws, with the command line of a test program. `except` names laws that a plugin cannot meet, each with the reason.
pub fn main(except: &[(&'static str, &'static str)]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials(except)).exit_code()
}

/// One trial for each plugin and law, and one for the exceptions.
pub fn trials(except: &[(&'static str, &'static str)]) -> Vec<Trial> {
    let here = registered_here();
    let mut cases = Vec::new();
    collect(&mut cases, here.backbone, backbone::LAWS);
    collect(&mut cases, here.objective, objective::LAWS);
    collect(&mut cases, here.augmentation, augmentation::LAWS);
    collect(&mut cases, here.caption, caption::LAWS);
    collect(&mut cases, here.eval, eval::LAWS);
    collect(&mut cases, here.source, source::LAWS);
    collect(&mut cases, here.store, store::LAWS);
    let problem = exceptions(except, &cases.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
    let mut trials = vec![Trial::test("conformance::exceptions", move || problem.map_err(Failed::from))];
    for (name, run) in cases {
        let excused = except.iter().find(|(law, _)| *law == name).map(|(_, reason)| *reason);
        trials.push(Trial::ignorable_test(name, move || match excused {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => match run() {
                LawOutcome::Kept => Ok(Completion::Completed),
                LawOutcome::Broken(why) => Err(Failed::from(why)),
                LawOutcome::Untried(why) => Ok(Completion::ignored_with(why)),
            },
        }));
    }
    trials
}

type Case = (String, Box<dyn FnOnce() -> LawOutcome + Send>);

fn collect<K: Kind + ?Sized>(cases: &mut Vec<Case>, entries: Vec<&'static PluginEntry<K>>, laws: &'static [Law<K>]) {
    for entry in entries {
        for (law, verdict) in all::laws::<K>() {
            cases.push((format!("{}::{}::{law}", K::NAME, entry.name), Box::new(move || verdict(entry))));
        }
        for (law, verdict) in laws {
            cases.push((format!("{}::{}::{law}", K::NAME, entry.name), Box::new(move || verdict(entry))));
        }
    }
}

/// An exception for a law that nothing is held to is a mistake, and so is a program without plugins.
fn exceptions(except: &[(&str, &str)], known: &[&str]) -> Verdict {
    if known.is_empty() {
        return Err("no plugin is linked into this test program; `use` the crate and `register!` a plugin in it".into());
    }
    for (law, reason) in except {
        if !known.contains(law) {
            let near = suggest(law, known.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(format!("`except` names `{law}`, which is not a law of a linked plugin{near}"));
        }
        if reason.trim().is_empty() {
            return Err(format!("`except` gives no reason for `{law}`"));
        }
    }
    Ok(())
}

/// `Err` with `what` unless `holds`.
pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

/// Whether two tensors agree within `tolerance` of the larger of 1 and their largest entry.
pub(crate) fn close(actual: &tch::Tensor, expected: &tch::Tensor, tolerance: f64, what: &str) -> Verdict {
    ensure(actual.size() == expected.size(), || format!("{what}: shape {:?} instead of {:?}", actual.size(), expected.size()))?;
    if actual.numel() == 0 {
        return Ok(());
    }
    let (actual, expected) = (actual.to_kind(tch::Kind::Double), expected.to_kind(tch::Kind::Double));
    let scale = expected.abs().max().double_value(&[]).max(1.0);
    let off = (&actual - &expected).abs().max().double_value(&[]);
    // Not `off > …`, which a NaN would pass.
    ensure(off <= tolerance * scale, || format!("{what}: differs by {off:e}, more than {tolerance:e} of {scale}"))
}

/// As [`close`], for numbers.
pub(crate) fn near(actual: f64, expected: f64, tolerance: f64, what: &str) -> Verdict {
    ensure((actual - expected).abs() <= tolerance * expected.abs().max(1.0), || format!("{what}: {actual} instead of {expected}"))
}

/// An error of the contract, as a verdict.
pub(crate) fn failed(doing: &'static str) -> impl Fn(vlhub_core::Error) -> String {
    move |error| format!("{doing}: {error}")
}
