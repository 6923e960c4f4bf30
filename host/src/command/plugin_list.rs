//! `vlhub plugins list`: a menu of plugins by kind, presets folded under the plugin whose options they share.

use vlhub_core::Registry;

use super::screen::{self, cut, wrapped};
use super::{fits, print_json};
use crate::catalog::{self, Family, Plugin};
use crate::failure::{Failure, Outcome};
use crate::linked;

/// What `vlhub plugins list` was asked for.
#[derive(Debug, Default)]
pub struct PluginFilter {
    /// Kinds and patterns of names; empty means everything.
    pub filter: Vec<String>,
    /// Show the names of presets.
    pub presets: bool,
    /// Every chosen plugin with its options, as JSON.
    pub json: bool,
    /// The page `plugins/CATALOG.md`.
    pub markdown: bool,
}

/// How much room the names get at most, in characters; a longer one has a line of its own.
const NAME_COLUMN: usize = 22;

/// Prints the plugins that are wanted.
///
/// # Errors
/// Nothing fits the filter.
pub fn list(all: &[Plugin], wanted: &PluginFilter) -> Outcome {
    if wanted.markdown {
        super::say_text(&catalog::markdown(all));
        return Ok(());
    }
    let kinds: Vec<&str> = wanted.filter.iter().filter_map(|word| kind_of(word)).collect();
    let patterns: Vec<&String> = wanted.filter.iter().filter(|word| kind_of(word).is_none()).collect();
    let chosen: Vec<&Plugin> = all
        .iter()
        .filter(|plugin| kinds.is_empty() || kinds.contains(&plugin.kind.as_str()))
        .filter(|plugin| patterns.is_empty() || patterns.iter().any(|pattern| fits(pattern, &plugin.name)))
        .collect();
    if wanted.json {
        return print_json(&chosen);
    }
    if chosen.is_empty() {
        return Err(nothing_fits(all, &wanted.filter));
    }
    // Whoever names a pattern looks for presets too.
    let presets = wanted.presets || !patterns.is_empty();
    let brief = wanted.filter.is_empty();
    say!("{}", menu(&chosen, screen::width(), brief, presets));
    if patterns.is_empty()
        && let Some(text) = left_out(all, &kinds)
    {
        say!("{}", wrapped(&text, screen::width(), 0));
    }
    Ok(())
}

/// What of the first-party plugins this build does not have, of some kinds or of all.
fn left_out(all: &[Plugin], kinds: &[&str]) -> Option<String> {
    let absent = linked::absent(|kind, name| all.iter().any(|plugin| plugin.kind == kind && plugin.name == name));
    let absent: Vec<_> = absent.iter().filter(|plugins| kinds.is_empty() || kinds.contains(&plugins.kind)).collect();
    let mut told: Vec<String> = absent
        .iter()
        .map(|plugins| match &plugins.names[..] {
            _ if kinds.is_empty() => format!("`{}`", plugins.feature),
            names @ ([_] | [_, _] | [_, _, _]) => format!("{} (`{}`)", names.join(", "), plugins.feature),
            names => format!("{} and {} more (`{}`)", names[..2].join(", "), names.len() - 2, plugins.feature),
        })
        .collect();
    told.dedup();
    (!told.is_empty()).then(|| format!("Not in this build, and the Cargo features that bring it in: {}", told.join(", ")))
}

/// The kind that a word of the command line means: its name, its plural, or what `cargo vlhub new --kind` calls it.
fn kind_of(word: &str) -> Option<&'static str> {
    let word = if matches!(word, "suite" | "suites") { "eval" } else { word };
    Registry::KINDS.iter().copied().find(|kind| *kind == word || word.strip_suffix('s') == Some(*kind))
}

fn nothing_fits(all: &[Plugin], filter: &[String]) -> Failure {
    let filter = filter.join(" ");
    if all.is_empty() {
        return Failure::usage(format!("no plugin fits `{filter}`; this build has no plugin"));
    }
    let general = |kind: &&str| {
        let families = catalog::fold(all.iter().filter(|plugin| plugin.kind == **kind).collect());
        let names: Vec<&str> = families.iter().map(|family| family.general.name.as_str()).collect();
        format!("{kind}: {}", names.join(" "))
    };
    let known: Vec<String> = Registry::KINDS.iter().filter(|kind| all.iter().any(|plugin| plugin.kind == ***kind)).map(general).collect();
    let names: Vec<&str> = all.iter().map(|plugin| plugin.name.as_str()).collect();
    let hint = vlhub_core::suggest(&filter, names.into_iter().chain(Registry::KINDS.iter().copied()));
    let hint = hint.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Failure::usage(format!("no plugin fits `{filter}`{hint}\nknown, presets aside:\n  {}", known.join("\n  ")))
}

/// The menu: a heading for each kind, a line for each family. A `brief` one cuts summaries at the end of the line, the other wraps them.
fn menu(chosen: &[&Plugin], width: usize, brief: bool, presets: bool) -> String {
    let mut page = String::new();
    let mut folded = 0;
    for kind in Registry::KINDS {
        let families = catalog::fold(chosen.iter().copied().filter(|plugin| plugin.kind == *kind).collect());
        if families.is_empty() {
            continue;
        }
        if !page.is_empty() {
            page.push('\n');
        }
        let count: usize = families.iter().map(|family| family.presets.len()).sum();
        folded += count;
        let more = if count > 0 { format!(" and {count} presets") } else { String::new() };
        page += &format!("{}\n", cut(&format!("{kind} · {}{more} · {}", families.len(), place_in_run_file(kind)), width));
        let names = families.iter().map(|family| family.general.name.chars().count()).filter(|length| *length <= NAME_COLUMN);
        let column = names.max().unwrap_or(0).max(8);
        for family in &families {
            page += &entry(family, column, width, brief, presets);
        }
    }
    page.push('\n');
    let mut help = vec!["`vlhub plugins show NAME`: options of one"];
    if brief {
        help.insert(0, "`vlhub plugins list KIND`: whole summaries of one kind");
    }
    if folded > 0 && !presets {
        help.push("`--all`: names of presets, which differ from the plugin above them in defaults alone");
    }
    page + &wrapped(&help.join(" · "), width, 0)
}

/// One family: the name, the summary, where it came from if it is not built in, and its presets if they are wanted.
fn entry(family: &Family<'_>, column: usize, width: usize, brief: bool, presets: bool) -> String {
    let plugin = family.general;
    let mut text = plugin.summary.clone();
    if plugin.source != "built in" {
        text += &format!(" [{}, {}]", plugin.package, plugin.source);
    }
    let indent = column + 4;
    let mut lines = format!("  {:<column$}  ", plugin.name);
    if plugin.name.chars().count() > column {
        lines = format!("{}\n{:indent$}", lines.trim_end(), "");
    }
    let text = if brief && plugin.source == "built in" { cut(&text, width.saturating_sub(indent)) } else { wrapped(&text, width, indent) };
    lines = format!("{}\n", format!("{lines}{text}").trim_end());
    if presets && !family.presets.is_empty() {
        let names: Vec<&str> = family.presets.iter().map(|preset| preset.name.as_str()).collect();
        lines += &format!("{:indent$}{}\n", "", wrapped(&format!("presets: {}", names.join(" ")), width, indent));
    }
    lines
}

/// Where a run file names plugins of a kind.
fn place_in_run_file(kind: &str) -> &'static str {
    match kind {
        "backbone" => "towers: `[backbone.image]` and `[backbone.text]`",
        "objective" => "losses: `[objective.NAME]`, one or several",
        "augmentation" => "changes of a picture: `augment` of `[view.image.main]`",
        "caption" => "changes of a text: `transform` of `[view.text.main]`",
        "eval" => "suites of measurements: `[eval.KEY]`",
        "source" => "data: `[data.train]`, and `data` of a suite",
        "store" => "where files come from that are not on this machine, by the scheme of their addresses: `[store.NAME]`",
        _ => "named with `use`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(kind: &str, name: &str, summary: &str, line: u32) -> Plugin {
        Plugin {
            kind: kind.into(),
            name: name.into(),
            summary: summary.into(),
            package: "a 0.1.0".into(),
            origin: format!("a.rs:{line}"),
            source: "built in".into(),
            options: Vec::new(),
        }
    }

    #[test]
    fn presets_are_folded_and_every_line_fits() {
        let long = "A tower that is described by a sentence of many words, more than any terminal of the usual width shows in one line.";
        let name = "a_name_that_is_longer_than_the_column_of_names";
        let all = [
            plugin("backbone", "tower", long, 1),
            plugin("backbone", "tower_small", long, 2),
            plugin("backbone", "tower_large", long, 3),
            plugin("objective", name, "A loss.", 4),
        ];
        let all: Vec<&Plugin> = all.iter().collect();
        for width in [40, 80, 200] {
            for brief in [true, false] {
                let page = menu(&all, width, brief, false);
                assert!(page.lines().all(|line| line.chars().count() <= width.max(name.len() + 2)), "{width}: {page}");
                assert!(page.contains("backbone · 1 and 2 presets") && !page.contains("tower_small"), "{page}");
                assert!(page.contains("--all") && page.contains(name), "{page}");
            }
        }
        let whole = menu(&all, 60, false, true).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(whole.contains(long) && whole.contains("presets: tower_small tower_large"), "{whole}");
        let brief = menu(&all, 60, true, false);
        let line = brief.lines().find(|line| line.starts_with("  tower ")).expect("the tower has a line");
        assert!(line.ends_with('…') && !brief.contains("in one line."), "a brief menu has one line for each: {brief}");
    }

    #[test]
    fn every_kind_says_where_it_is_named() {
        for kind in Registry::KINDS {
            assert_ne!(place_in_run_file(kind), place_in_run_file("no kind"), "{kind}");
            assert_eq!((kind_of(kind), kind_of(&format!("{kind}s"))), (Some(*kind), Some(*kind)));
        }
        assert_eq!((kind_of("suite"), kind_of("clip")), (Some("eval"), None));
    }
}
