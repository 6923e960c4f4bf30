//! Taking the flags of open_clip and VL Hub out of a command line.

use std::ffi::OsString;

use super::flag::{CompatFlag, FlagEffect, FlagValue};
use super::given::{GivenFlag, GivenFlags};
use super::table;
use crate::failure::{Failure, Outcome};

/// A command line in two parts.
#[derive(Debug, Default)]
pub struct SplitLine {
    /// Arguments for this program's own parser.
    pub own: Vec<OsString>,
    /// The other flags.
    pub given: GivenFlags,
}

/// Takes the flags of open_clip and VL Hub out of the arguments of a command. `own` are the names of the command's own flags, which go first.
///
/// # Errors
/// An unknown flag, with what is near; an abbreviation of several; a value that is missing or wrong.
pub fn split(command: &str, arguments: &[OsString], own: &[String]) -> Outcome<SplitLine> {
    let mut line = SplitLine::default();
    let mut at = 0;
    while at < arguments.len() {
        let argument = &arguments[at];
        at += 1;
        if argument == "--" {
            line.own.extend_from_slice(&arguments[at - 1..]);
            break;
        }
        let Some(written) = argument.to_str().filter(|text| text.starts_with("--")) else {
            line.own.push(argument.clone());
            continue;
        };
        let (spelled, inline) = written.split_once('=').map_or((written, None), |(name, value)| (name, Some(value)));
        let name = spelled[2..].replace('_', "-");
        let known = own.contains(&name);
        let flag = match table::exact(&name) {
            Some(flag) if !known || flag.takes == FlagValue::Switch => flag,
            _ if known => {
                line.own.push(inline.map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}")).into());
                continue;
            }
            _ => unabbreviated(command, spelled, &name, own)?,
        };
        let values = values(flag, spelled, inline, &arguments[at..])?;
        at += values.taken;
        if known && flag.effect == FlagEffect::Own {
            // A switch of both programs: `--dry-run=False` is as if it were not there.
            line.own.extend((values.list == ["true"]).then(|| OsString::from(format!("--{name}"))));
        } else {
            line.given.push(GivenFlag { flag, values: values.list });
        }
    }
    Ok(line)
}

/// The flag that a name begins.
fn unabbreviated(command: &str, spelled: &str, name: &str, own: &[String]) -> Outcome<&'static CompatFlag> {
    match &table::abbreviated(name)[..] {
        [flag] if !name.is_empty() => Ok(flag),
        [] => {
            let known = own.iter().map(String::as_str).chain(table::all().map(|flag| flag.name));
            let near = vlhub_core::suggest(name, known).map(|near| format!("; did you mean `--{near}`?")).unwrap_or_default();
            Err(Failure::usage(format!(
                "`{spelled}` is no flag of `vlhub {command}`, of open_clip or of VL Hub{near} `vlhub {command} --help` lists its own, and \
                 host/FLAGS.md those of open_clip and VL Hub"
            )))
        }
        several => {
            let names: Vec<String> = several.iter().map(|flag| format!("--{}", flag.name)).collect();
            Err(Failure::usage(format!("`{spelled}` could be {}; write it out", names.join(", "))))
        }
    }
}

/// What follows a flag, and how many arguments of the rest that takes.
struct Values {
    list: Vec<String>,
    taken: usize,
}

fn values(flag: &CompatFlag, spelled: &str, inline: Option<&str>, rest: &[OsString]) -> Outcome<Values> {
    // As in argparse: what begins with a dash is a flag, unless it is a negative number or its name would have a space.
    let spaced = |text: &str| text.split('=').next().is_some_and(|name| name.contains(' '));
    let is_value = |text: &str| !text.starts_with('-') || text.parse::<f64>().is_ok() || spaced(text);
    let following = || rest.iter().map_while(|argument| argument.to_str().filter(|text| is_value(text)));
    let values = match (flag.takes, inline) {
        (FlagValue::Switch | FlagValue::Place, None) => {
            let word = following().next().and_then(truth);
            Values { list: vec![word.unwrap_or(true).to_string()], taken: usize::from(word.is_some()) }
        }
        (FlagValue::Switch, Some(text)) => {
            let word = truth(text).ok_or_else(|| Failure::usage(format!("`{spelled}={text}` is neither true nor false")))?;
            Values { list: vec![word.to_string()], taken: 0 }
        }
        (FlagValue::Place, Some(text)) => {
            Values { list: vec![truth(text).map_or_else(|| text.to_owned(), |word| word.to_string())], taken: 0 }
        }
        (_, Some(text)) => Values { list: vec![text.to_owned()], taken: 0 },
        (FlagValue::Numbers | FlagValue::Wholes | FlagValue::Texts, None) => {
            let list: Vec<String> = following().map(str::to_owned).collect();
            Values { taken: list.len(), list }
        }
        (_, None) => {
            let list: Vec<String> = following().take(1).map(str::to_owned).collect();
            Values { taken: list.len(), list }
        }
    };
    if values.list.is_empty() && flag.takes != FlagValue::Texts {
        return Err(Failure::usage(format!("`{spelled}` needs a value: {}", flag.meaning)));
    }
    for value in &values.list {
        let wrong = match flag.takes {
            FlagValue::Whole | FlagValue::Wholes => value.parse::<i64>().is_err().then(|| "a whole number".to_owned()),
            FlagValue::Number | FlagValue::Numbers => {
                let finite = value.parse::<f64>().is_ok_and(f64::is_finite);
                (!finite).then(|| "a number".to_owned())
            }
            FlagValue::OneOf(words) => (!words.contains(&value.as_str())).then(|| format!("one of {}", words.join(", "))),
            _ => None,
        };
        if let Some(wanted) = wrong {
            return Err(Failure::usage(format!("`{spelled}` takes {wanted}, not `{value}`")));
        }
    }
    Ok(values)
}

/// What Python's users write for true and false. There, `bool("False")` is true; here it is what it says.
fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" | "none" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Outcome<SplitLine> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        split("train", &arguments, &["resume".into(), "dry-run".into(), "model-configs".into()])
    }

    #[test]
    fn switches_say_what_they_say() {
        for (arguments, on) in [
            (&["--gc"][..], true),
            (&["--gc=True"], true),
            (&["--gc", "true"], true),
            (&["--gc=False"], false),
            (&["--gc", "false"], false),
            (&["--gc", "--lsuv"], true),
            (&["--gc", "run.toml"], true),
            (&["--gc", "True", "--gc=0"], false),
        ] {
            assert_eq!(read(arguments).expect("a flag").given.on("gc"), on, "{arguments:?}");
        }
        assert!(read(&["--gc=5"]).expect_err("neither").message.contains("neither true nor false"));
    }

    #[test]
    fn values_are_taken_as_argparse_takes_them() {
        let line = read(&[
            "run.toml",
            "--train_data",
            "a.csv::b.csv",
            "--timm_classifier_head_size",
            "-1",
            "--image-mean",
            "0.5",
            ".5",
            "0.5",
            "--wd-exclude",
            "--val-data=pipe:cat x -",
            "train.steps=4",
            "--resume",
            "latest",
            "--dry-run",
            "False",
            "--model_configs=x",
            "--batch=8",
            "--",
            "--y",
        ])
        .expect("it is read");
        let own: Vec<&str> = line.own.iter().map(|text| text.to_str().expect("text")).collect();
        assert_eq!(own, ["run.toml", "train.steps=4", "--resume", "latest", "--model-configs=x", "--", "--y"]);
        assert_eq!(line.given.text("train-data"), Some("a.csv::b.csv"));
        assert_eq!(line.given.whole("timm-classifier-head-size"), Some(-1));
        assert_eq!(line.given.get("image-mean").expect("given").values, ["0.5", ".5", "0.5"]);
        assert!(line.given.get("wd-exclude").expect("given").values.is_empty());
        assert_eq!(line.given.text("val-data"), Some("pipe:cat x -"));
        assert_eq!(line.given.whole("batch-size"), Some(8), "an abbreviation");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (arguments, part) in [
            (&["--epochs"][..], "`--epochs` needs a value"),
            (&["--epochs", "--lr", "1"], "`--epochs` needs a value"),
            (&["--epochs", "1.5"], "takes a whole number, not `1.5`"),
            (&["--lr=fast"], "takes a number, not `fast`"),
            (&["--lr=nan"], "takes a number"),
            (&["--precision", "amp_fp8"], "one of amp, amp_bf16"),
            (&["--bacth-size", "3"], "did you mean `--batch-size`?"),
            (&["--resmue"], "did you mean `--resume`?"),
            (&["--lock-im"], "could be --lock-image"),
            (&["--quite-another"], "is no flag of `vlhub train`, of open_clip or of VL Hub"),
        ] {
            let message = read(arguments).expect_err(part).message;
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
    }
}
