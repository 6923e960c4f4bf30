//! From the values of a pickle to named tensors.

use super::values::{Id, Node, Pickle};
use super::view::View;
use super::{Budget, Checked, Extras, PartChoice, WeightSet};

/// Where training programs keep weights as they are trained, in order of preference. open_clip looks at the first alone.
const RAW: &[&str] = &["state_dict", "model_state_dict", "model", "module"];
/// Where they keep their moving average: timm, then others.
const AVERAGES: &[&str] = &["state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema"];
/// Numbers that OpenAI's archives keep as tensors; open_clip drops them too.
const OPENAI_NUMBERS: &[&str] = &["input_resolution", "context_length", "vocab_size"];

/// Finds the named tensors of a pickle, and what else it tells.
pub(super) fn find(pickle: &Pickle<'_>, wanted: PartChoice<'_>, budget: &mut Budget<'_>) -> Checked<(Vec<(String, View)>, Extras)> {
    let mut extras = Extras::default();
    let root = pickle.root;
    let holder = match pickle.node(root) {
        Node::Object { .. } if wanted == PartChoice::Set(WeightSet::Average) => return Err(NO_AVERAGE.into()),
        Node::Object { .. } => {
            let mut views = tensors(pickle, root, budget, &mut extras)?;
            views.retain(|(name, _)| !OPENAI_NUMBERS.contains(&name.as_str()));
            return Ok((views, extras));
        }
        Node::Dict(entries) => entries,
        _ => return Err("it holds no dict of tensors".into()),
    };
    let get = |wanted: &str| holder.iter().rev().find(|(key, _)| pickle.text(*key) == Some(wanted)).map(|(_, value)| *value);
    let is_dict = |id: &Id| matches!(pickle.node(*id), Node::Dict(entries) if !entries.is_empty());
    let first = |parts: &'static [&'static str]| parts.iter().find_map(|part| get(part).filter(is_dict).map(|id| (*part, id)));
    let chosen = match wanted {
        PartChoice::Part(part) => {
            Some((part, get(part).filter(is_dict).ok_or_else(|| format!("it has no dict `{part}`; {}", holds(pickle, holder)))?))
        }
        PartChoice::Any => first(RAW).or_else(|| first(AVERAGES)),
        PartChoice::Set(WeightSet::Average) => Some(first(AVERAGES).ok_or_else(|| format!("{NO_AVERAGE}; {}", holds(pickle, holder)))?),
        PartChoice::Set(WeightSet::Raw) => match (first(RAW), first(AVERAGES)) {
            (None, Some((part, _))) => return Err(format!("it has nothing but an average, `{part}`; {}", holds(pickle, holder))),
            (raw, _) => raw,
        },
    };
    extras.average = chosen.is_some_and(|(part, _)| AVERAGES.contains(&part));
    let parts = RAW.iter().chain(AVERAGES).filter(|part| get(part).as_ref().is_some_and(is_dict));
    extras.others = parts.map(|part| (*part).to_owned()).collect();
    extras.others.retain(|other| chosen.is_none_or(|(part, _)| part != other));
    extras.part = chosen.map(|(part, _)| part.to_owned());
    if chosen.is_some() {
        note(pickle, holder, &mut extras);
    }
    let views = match chosen {
        Some((_, id)) => tensors(pickle, id, budget, &mut extras)?,
        // Without a part, only what lies at the top: dicts beside it are something else.
        None => {
            let mut views = Vec::new();
            let mut letters = Letters(budget.limits.header);
            for (key, value) in holder {
                match (pickle.text(*key), pickle.node(*value)) {
                    (Some(name), Node::Tensor(window)) => {
                        let name = letters.name("", name)?;
                        views.push((name.clone(), pickle.view(window).map_err(|why| format!("tensor `{name}`: {why}"))?));
                    }
                    (None, Node::Tensor(_) | Node::Unread) => return Err(NAMELESS.into()),
                    (Some(name), Node::Unread) => return Err(unread(&letters.name("", name)?)),
                    (name, _) => skipped(&mut extras, name.unwrap_or("a key that is no text")),
                }
                budget.tensors_at_most(views.len())?;
            }
            views
        }
    };
    if views.is_empty() {
        return Err(format!("no tensors were found in it; {}", holds(pickle, holder)));
    }
    Ok((views, extras))
}

const NO_AVERAGE: &str = "it holds no moving average of weights";
const NAMELESS: &str = "the name of a tensor is no text, or one of more than 1000 bytes";

fn unread(name: &str) -> String {
    format!("tensor `{name}` is quantised, sparse or nested; such tensors are not read")
}

fn skipped(extras: &mut Extras, name: &str) {
    if extras.skipped.len() < 100 {
        extras.skipped.push(name.chars().take(200).collect());
    }
}

/// What the top of a file holds, for a message.
fn holds(pickle: &Pickle<'_>, holder: &[(Id, Id)]) -> String {
    let mut text: Vec<_> =
        holder.iter().filter_map(|(key, _)| pickle.text(*key)).take(20).map(|key| key.chars().take(60).collect()).collect();
    if text.is_empty() {
        text.push("nothing with a name".to_owned());
    }
    format!("its top holds: {}", text.join(" "))
}

/// Scalars beside the weights.
fn note(pickle: &Pickle<'_>, holder: &[(Id, Id)], extras: &mut Extras) {
    for (key, value) in holder {
        let Some(key) = pickle.text(*key) else { continue };
        let text = match pickle.node(*value) {
            Node::Int(number) => number.to_string(),
            Node::Float(number) => number.to_string(),
            Node::Bool(truth) => truth.to_string(),
            Node::Text(_) => pickle.text(*value).unwrap_or_default().chars().take(1000).collect(),
            Node::Dict(entries) => {
                extras.optimizer |= key.starts_with("optimizer") && !entries.is_empty();
                extras.scaler |= key.contains("scaler") && !entries.is_empty();
                continue;
            }
            _ => continue,
        };
        if key == "epoch" {
            extras.epoch = text.parse().ok();
        } else if key == "name" {
            extras.name = Some(text);
        } else if extras.metadata.len() < 100 {
            extras.metadata.insert(key.chars().take(200).collect(), text);
        }
    }
}

/// Bytes that names may still take: a pickle can use one long text again and again.
struct Letters(u64);

impl Letters {
    fn name(&mut self, prefix: &str, key: &str) -> Checked<String> {
        let length = prefix.len() + key.len() + 1;
        if length > 1000 {
            return Err(format!("the name of a tensor is one of more than 1000 bytes: `{}…`", key.chars().take(100).collect::<String>()));
        }
        self.0 = self.0.checked_sub(length as u64).ok_or("the names of its tensors take too much memory")?;
        Ok(if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") })
    }
}

/// Every tensor below a value, under the names on the way joined by points.
fn tensors(pickle: &Pickle<'_>, from: Id, budget: &mut Budget<'_>, extras: &mut Extras) -> Checked<Vec<(String, View)>> {
    let mut views = Vec::new();
    // Visits are counted: what is shared is met once for each way that leads to it, and the ways can double at every level.
    let mut visits = budget.limits.tensors.saturating_mul(8);
    let mut letters = Letters(budget.limits.header);
    let mut waiting = vec![(from, String::new(), 0)];
    while let Some((id, prefix, depth)) = waiting.pop() {
        if depth > budget.limits.depth {
            return Err(format!("`{}` is nested more than {} deep", prefix.chars().take(100).collect::<String>(), budget.limits.depth));
        }
        let (entries, module) = match pickle.node(id) {
            Node::Dict(entries) => (entries, false),
            Node::Object { state: Some(state) } => match pickle.node(*state) {
                Node::Dict(entries) => (entries, true),
                _ => continue,
            },
            _ => continue,
        };
        let mut below = Vec::new();
        for (key, value) in entries {
            visits = visits.checked_sub(1).ok_or("it refers to itself, or shares so much that its names do not end")?;
            let Some(key) = pickle.text(*key) else {
                if matches!(pickle.node(*value), Node::Tensor(_) | Node::Unread) {
                    return Err(NAMELESS.into());
                }
                skipped(extras, "a key that is no text");
                continue;
            };
            let name = letters.name(&prefix, key)?;
            match pickle.node(*value) {
                Node::Tensor(window) => {
                    let view = pickle.view(window).map_err(|why| format!("tensor `{name}`: {why}"))?;
                    views.push((name, view));
                    budget.tensors_at_most(views.len())?;
                }
                Node::Unread => return Err(unread(&name)),
                Node::Object { .. } => below.push((*value, name, depth + 1)),
                // Other attributes of a module are no part of its state dict, even if tensors are in them.
                _ if module => {}
                Node::Dict(_) => below.push((*value, name, depth + 1)),
                _ => skipped(extras, &name),
            }
        }
        waiting.extend(below.into_iter().rev());
    }
    Ok(views)
}
