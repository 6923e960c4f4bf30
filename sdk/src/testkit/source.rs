//! Laws of data sources.
//!
//! `conformance!()` tries them on a source's default options, which most sources cannot be opened with, because they name no file: those laws
//! are then passed over. A source's own tests call [`every_law`] with options and a folder of files that they wrote.

use std::path::Path;

use vlhub_core::{Bad, Config, Extent, Raw, Source, SourceCx, Want, Wants};

use super::{Law, LawOutcome, Verdict, all, ensure, failed};

/// Options of a source.
pub type SourceOptions = dyn Config<dyn Source>;

/// The laws, by name.
pub const LAWS: &[Law<dyn Source>] = &[
    ("repeats", |entry| with(entry, repeats)),
    ("required", |entry| with(entry, required)),
    ("unread", |entry| with(entry, unread)),
    ("labels", |entry| with(entry, labels)),
    ("glance", |entry| with(entry, glance)),
];

/// Most samples that are read: a law is no scan of a data set.
const READ: usize = 64;

fn with(entry: &vlhub_core::PluginEntry<dyn Source>, law: fn(&SourceOptions, &Path) -> Verdict) -> LawOutcome {
    let config = match all::default_config(entry) {
        Ok(config) => config,
        Err(why) => return LawOutcome::Broken(why),
    };
    match config.build(&SourceCx::new(Path::new("."))) {
        Ok(_) => law(&*config, Path::new(".")).into(),
        Err(error) => {
            LawOutcome::Untried(format!("the default options name no data ({error}); call `testkit::source::every_law` with some"))
        }
    }
}

/// All laws, for options whose relative paths start at `folder`.
pub fn every_law(config: &SourceOptions, folder: &Path) -> Verdict {
    for (name, law) in
        [("repeats", repeats as fn(&SourceOptions, &Path) -> Verdict), ("required", required), ("unread", unread), ("labels", labels)]
    {
        law(config, folder).map_err(|why| format!("{name}: {why}"))?;
    }
    glance(config, folder).map_err(|why| format!("glance: {why}"))
}

fn open(config: &SourceOptions, folder: &Path, wants: Wants, extent: Extent) -> Result<Box<dyn Source>, String> {
    config.build(&SourceCx { wants, extent, ..SourceCx::new(folder) }).map_err(failed("opening it"))
}

fn read(source: &dyn Source) -> Vec<Result<Raw, Bad>> {
    (0..source.len().min(READ)).map(|index| source.read(index)).collect()
}

/// Two openings list the same samples and tell the same fingerprint, and a sample is the same each time and in any order.
pub fn repeats(config: &SourceOptions, folder: &Path) -> Verdict {
    let (first, second) = (open(config, folder, Wants::WHATEVER, Extent::Whole)?, open(config, folder, Wants::WHATEVER, Extent::Whole)?);
    ensure(!first.is_empty(), || "it lists no sample; a source without any is an error when it is opened".into())?;
    ensure(first.fingerprint() == second.fingerprint(), || {
        format!("two fingerprints of the same data: {} and {}", first.fingerprint(), second.fingerprint())
    })?;
    ensure(first.len() == second.len() && first.classes() == second.classes(), || "two openings list different samples or classes".into())?;
    let count = first.len().min(READ);
    let forwards = read(&*first);
    let mut backwards: Vec<_> = (0..count).rev().map(|index| second.read(index)).collect();
    backwards.reverse();
    for (index, (one, other)) in forwards.iter().zip(&backwards).enumerate() {
        ensure(one == other, || format!("sample {index} differs when it is read in another order"))?;
        let key = first.key(index);
        ensure(!key.is_empty() && key == second.key(index), || format!("sample {index} is called `{key}` and `{}`", second.key(index)))?;
        ensure(first.unit(index) == second.unit(index), || format!("sample {index} has two sampling units"))?;
        if let Ok(raw) = one {
            ensure(raw.key == key, || format!("sample {index} is called `{key}`, and `{}` when it is read", raw.key))?;
        }
    }
    Ok(())
}

/// What is required is there in every sample that is not refused. A source that has none of it says so when it is opened.
pub fn required(config: &SourceOptions, folder: &Path) -> Verdict {
    type Ask = (&'static str, Wants, fn(&Raw) -> bool);
    let asks: [Ask; 3] = [
        ("picture", Wants::NOTHING.picture(Want::Required), |raw| raw.picture.is_some()),
        ("caption", Wants::NOTHING.text(Want::Required), |raw| raw.caption.texts.iter().any(|text| !text.trim().is_empty())),
        ("label", Wants::NOTHING.label(Want::Required), |raw| !raw.caption.labels.is_empty()),
    ];
    for (part, wants, has) in asks {
        let Ok(source) = open(config, folder, wants, Extent::Whole) else { continue };
        for raw in read(&*source).into_iter().flatten() {
            ensure(has(&raw), || format!("`{}` has no {part}, which is required", raw.key))?;
        }
    }
    Ok(())
}

/// Where nothing but the picture is read, at least as many samples can be used as where more is read.
pub fn unread(config: &SourceOptions, folder: &Path) -> Verdict {
    let count = |wants: Wants| {
        open(config, folder, wants, Extent::Whole).map_or(0, |source| read(&*source).iter().filter(|read| read.is_ok()).count())
    };
    let pictures = Wants::NOTHING.picture(Want::Required);
    let (alone, captioned, labelled) = (count(pictures), count(pictures.text(Want::Required)), count(pictures.label(Want::Required)));
    ensure(alone >= captioned.max(labelled), || {
        format!("{alone} samples can be used as pictures alone, {captioned} with captions and {labelled} with labels")
    })
}

/// Labels index the classes where those have names, and a source that has labels says so.
pub fn labels(config: &SourceOptions, folder: &Path) -> Verdict {
    let Ok(source) = open(config, folder, Wants::NOTHING.label(Want::Required), Extent::Whole) else { return Ok(()) };
    ensure(source.labelled(), || "samples with labels are listed, but `labelled()` says that there are none".into())?;
    let classes = source.classes().len();
    for raw in read(&*source).into_iter().flatten() {
        for label in &raw.caption.labels {
            let known = *label >= 0 && (classes == 0 || *label < classes as i64);
            ensure(known, || format!("`{}` has the label {label}, of {classes} classes", raw.key))?;
        }
    }
    Ok(())
}

/// A glance finds samples where the whole has some, and no more than it.
pub fn glance(config: &SourceOptions, folder: &Path) -> Verdict {
    let whole = open(config, folder, Wants::WHATEVER, Extent::Whole)?;
    let glance = open(config, folder, Wants::WHATEVER, Extent::Glance)?;
    ensure(!glance.is_empty() && glance.len() <= whole.len(), || {
        format!("a glance finds {} samples, and there are {}", glance.len(), whole.len())
    })
}
