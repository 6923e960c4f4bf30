//! `host/FLAGS.md`: the table of flags for readers.

use std::fmt::Write;

use super::flag::{CompatFlag, FlagEffect, FlagValue};
use super::table::GROUPS;

const HEAD: &str = "# Flags of open_clip and VL Hub

`vlhub train` and `vlhub eval` take the command lines of open_clip 3.3.0, of its main branch (4.2.0.dev0, 89fb801) and of the Python VL Hub
(penfever/vlhub, fe468a4): put `vlhub train` in place of `python -m open_clip_train.main`, `torchrun … -m training.main` and the like. This page is
written by a test from the table that the program reads.

- The flags become a run file, which `--print-config` prints; trained again, it is the same run. `key=value` goes over them.
- Without a run file open_clip's defaults hold, and those that differ from a run file's are written into it: RN50, 32 epochs, 10,000 steps of warm-up,
  4 workers, β₂ and ε by model, the random crop of 90 to 100 %, every checkpoint kept. VL Hub's defaults are the same but for 1 worker and no crop. `amp`, the
  default of both, is float16 with a scaled loss, as there, but fp32 on a CPU. Flags beside a run file go over it, and nothing else does: a flag
  that needs another, such as `--accum-freq` the batch, takes the run file's where no flag says it.
- A switch may be `--gc`, `--gc=True`, `--gc true` or `--gc=False`, which in Python is true. `_` and `-` are alike. A flag may be cut short where argparse
  would know it.
- Supervised nets (`--integer-labels`, `--linear-probe`, a run file without a text tower) are measured by their heads, on the same data sets: the
  suite `accuracy`.
- Nothing to train on, no run file: the model is measured, as there. Data, and paths that no longer start at a run file, start where the program does.
- *Both* are open_clip and VL Hub; *there* is the program that the flag is from. Flags that ask for what is so anyway do nothing; those with *told* say so in the log; those that mean nothing here
  are *refused*, with the reason.
";

/// The page.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for (title, flags) in GROUPS {
        let _ = write!(page, "\n## {title}\n\n| flag | of | meaning | here | difference |\n|---|---|---|---|---|\n");
        for flag in flags {
            page += &line(flag);
        }
    }
    page
}

fn line(flag: &CompatFlag) -> String {
    let value = match flag.takes {
        FlagValue::Switch => "",
        FlagValue::Place => "[=PATH]",
        FlagValue::Whole | FlagValue::Number => " N",
        FlagValue::Wholes | FlagValue::Numbers => " N…",
        FlagValue::Texts => " TEXT…",
        FlagValue::Text | FlagValue::OneOf(_) => " TEXT",
    };
    let (here, difference) = match flag.effect {
        FlagEffect::Option(path) => (format!("`{path}`"), flag.difference),
        FlagEffect::Translated(text) => (options(text), flag.difference),
        FlagEffect::Suite(suite) => (format!("`eval.{suite}`"), flag.difference),
        FlagEffect::Own => (format!("`--{}`", flag.name), flag.difference),
        FlagEffect::Ignored(why) => ("nothing".to_owned(), why),
        FlagEffect::Told(why) => ("nothing, told".to_owned(), why),
        FlagEffect::Refused(why) => ("refused".to_owned(), why),
    };
    format!("| `--{}{value}` | {} | {} | {here} | {difference} |\n", flag.name, flag.origin.name(), flag.meaning)
}

/// What a flag becomes, with the options in it as code.
fn options(text: &str) -> String {
    if text.contains('{') {
        return format!("`{text}`");
    }
    let words = |part: &str| part.contains(' ') && !part.contains(['.', '=']);
    let part = |part: &str| if words(part) { part.to_owned() } else { format!("`{part}`") };
    text.split(", ").map(part).collect::<Vec<_>>().join(", ")
}
