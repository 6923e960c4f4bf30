//! Every flag of open_clip and VL Hub, by what it is about.

mod captions;
mod data;
mod evaluation;
mod logging;
mod model;
mod objectives;
mod others;
mod processes;
mod training;

use super::flag::CompatFlag;

/// The groups, each with its title.
pub const GROUPS: [(&str, &[CompatFlag]); 9] = [
    ("Data", data::DATA),
    ("Captions and labels", captions::CAPTIONS),
    ("Models and weights", model::MODEL),
    ("Objectives", objectives::OBJECTIVES),
    ("Training", training::TRAINING),
    ("Runs, checkpoints and logs", logging::LOGGING),
    ("Evaluation", evaluation::EVALUATION),
    ("Several processes", processes::PROCESSES),
    ("Sounds, and pictures of any shape", others::OTHERS),
];

/// Every flag.
pub fn all() -> impl Iterator<Item = &'static CompatFlag> {
    GROUPS.iter().flat_map(|(_, flags)| flags.iter())
}

/// The flag of a name, with `-` for each `_`.
pub(super) fn exact(name: &str) -> Option<&'static CompatFlag> {
    all().find(|flag| flag.name == name)
}

/// The flags that a prefix stands for, as in Python's argparse: in each program the only one that begins so. More than one where the programs
/// disagree, or where a prefix is none of a single flag.
pub(super) fn abbreviated(prefix: &str) -> Vec<&'static CompatFlag> {
    let begins = |of: fn(&CompatFlag) -> bool| -> Vec<&'static CompatFlag> {
        all().filter(|flag| of(flag) && flag.name.starts_with(prefix)).collect()
    };
    let programs = [begins(|flag| flag.origin.in_open_clip()), begins(|flag| flag.origin.in_vlhub())];
    let mut single: Vec<&CompatFlag> = programs.iter().filter(|found| found.len() == 1).flatten().copied().collect();
    single.dedup_by_key(|flag| flag.name);
    if single.is_empty() { all().filter(|flag| flag.name.starts_with(prefix)).collect() } else { single }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_written_with_dashes() {
        let mut names: Vec<&str> = all().map(|flag| flag.name).collect();
        assert!(names.iter().all(|name| !name.contains('_') && !name.starts_with('-')));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a flag stands in the table once");
    }

    #[test]
    fn prefixes_are_argparses() {
        let names = |prefix| abbreviated(prefix).iter().map(|flag| flag.name).collect::<Vec<_>>();
        assert_eq!(names("batch"), ["batch-size"]);
        // The only one in VL Hub; open_clip has two more.
        assert_eq!(names("train-d"), ["train-data"]);
        assert_eq!(names("gpumax"), ["gpumaxbatch"]);
        assert!(names("lock-im").len() > 1, "none of a single flag in either");
        assert!(names("nothing").is_empty());
    }
}
