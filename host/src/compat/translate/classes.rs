//! Lists of classes, by VL Hub's names of them.

use vlhub_core::suggest;
use vlhub_sdk::captions::imagenet_subset;

/// VL Hub's names of class lists (`--ds-filter`), and those of `match_labels`.
const LISTS: [(&str, &str); 2] = [("imagenet_classnames", "imagenet"), ("imagenet_def_classnames", "imagenet_wordnet")];

/// VL Hub's lists that this program has not, and why.
const ABSENT: [&str; 9] = [
    "imagenet_classnames_no_overlap",
    "imagenet_classnames_short_no_overlap",
    "imagenet_classnames_no_perm",
    "imagenet_wrongorder_classnames",
    "imagenet_our_classnames",
    "imagenet_def_classnames_first",
    "imagenet_syn_classnames",
    "insecta",
    "birds",
];

/// The list of `match_labels` that a name of `--ds-filter` stands for; other names are lists or files of its own.
///
/// # Errors
/// A list of VL Hub that is not here.
pub(super) fn list(name: &str) -> Result<String, String> {
    if let Some((_, ours)) = LISTS.iter().find(|(theirs, _)| *theirs == name) {
        return Ok((*ours).to_owned());
    }
    if ABSENT.contains(&name) {
        return Err(format!("VL Hub's list `{name}` is not here; write the names into a file, one a line, and name the file"));
    }
    let near = suggest(name, LISTS.iter().map(|(theirs, _)| *theirs)).filter(|near| *near != name && name.ends_with("classnames"));
    match near {
        Some(near) => Err(format!("no list of classes is called `{name}`; did you mean `{near}`? A file with one name a line will do too")),
        None => Ok(name.to_owned()),
    }
}

/// The subset that `--caption-subset` names. The README writes `True` and means the hundred classes of its paper.
pub(super) fn subset(name: &str) -> Option<&str> {
    match name.to_ascii_lowercase().as_str() {
        "" | "false" | "none" => None,
        "true" => Some("in100"),
        _ => Some(name),
    }
}

/// Whether a subset is one of ImageNet's classes that is known by that name.
pub(super) fn is_of_imagenet(subset: &str) -> bool {
    imagenet_subset(subset).is_some()
}

/// How many classes a list has, where its name tells.
pub(super) fn count(list: &str) -> Option<i64> {
    match list {
        "imagenet" | "imagenet_wordnet" => Some(1000),
        list if list.starts_with("in100") => Some(100),
        _ => None,
    }
}
