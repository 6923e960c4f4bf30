//! Weights into a model: every parameter that the file should have, every one that it should not, and no half-loaded model by accident.

use std::collections::BTreeSet;

use tch::Tensor;
use vlhub_core::{InputSpec, Modality};

use super::names::{TIMM, Tensors, translate};
use super::resize::{PictureSize, resize};
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};

/// What is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A whole model: every tower. Parameters of objectives are loaded where the file has them.
    Whole,
    /// One tower, with its projection where the file has it: a network's own weights.
    Tower(Modality),
}

/// What became of a file.
#[derive(Debug, Default)]
pub struct Fitted {
    /// Whose names the file used.
    pub names: &'static str,
    /// Number of tensors that were loaded.
    pub loaded: usize,
    /// Parameters of the model that the file lacks; they keep their initial values.
    pub missing: Vec<String>,
    /// Parameters of objectives that the file lacks, as it may; they keep their initial values too.
    pub unfilled: Vec<String>,
    /// Tensors of the file that the model lacks, by their names in the file.
    pub unexpected: Vec<String>,
    /// Position embeddings that were brought to another size: name, and from what to what.
    pub resized: Vec<(String, String)>,
    /// `logit_scale` of the file: models without an objective have no place for it.
    pub scale: Option<Tensor>,
}

/// Copies a file's tensors into the model. `pictures` is what the weights say of the height and width of their pictures.
///
/// # Errors
/// Unless `partial`: the missing, unexpected and misshapen names, some of each. Nothing is changed then. A file of which nothing fits is
/// always an error.
pub fn fit(towers: &Towers, file: &Tensors, part: Part, partial: bool, place: &str, pictures: PictureSize) -> Outcome<Fitted> {
    let variables: Vec<(String, Tensor)> = towers.variables().into_iter().filter(|(name, _)| part.holds(towers, name)).collect();
    let wanted: BTreeSet<String> = variables.iter().map(|(name, _)| name.clone()).collect();
    let text = if towers.custom_text { "text." } else { "" };
    let (mut file, names) = translate(file, &wanted, text);
    let supervised = part == Part::Whole && names == TIMM && towers.text.is_none() && take_head(&mut file, &wanted);
    let picture = towers.image.as_ref().and_then(|net| match net.input {
        InputSpec::Image { size, .. } => Some(size),
        InputSpec::Text { .. } => None,
    });
    let scale = file.get("logit_scale").map(|found| found.tensor.shallow_clone());
    let mut fitted = Fitted { names, scale, ..Fitted::default() };
    let mut copies = Vec::new();
    let mut misshapen = Vec::new();
    for (name, variable) in &variables {
        let Some(found) = file.get(name) else {
            // A supervised net has no projection: its head reads what stands before one.
            let may_lack = part.may_lack(towers, name) || supervised && towers.is_projection(Modality::Image, name);
            let of = if may_lack { &mut fitted.unfilled } else { &mut fitted.missing };
            of.push(name.clone());
            continue;
        };
        let (from, to) = (found.tensor.size(), variable.size());
        if let Some(resized) = resize(name, &found.tensor, &to, picture, pictures) {
            copies.push((variable, resized.tensor));
            fitted.resized.push((name.clone(), resized.how));
        } else if from == to {
            copies.push((variable, found.tensor.shallow_clone()));
        } else if found.tensor.numel() == 1 && variable.numel() == 1 {
            // The logit scale is a number in some files and a list of one in others.
            copies.push((variable, found.tensor.reshape(to.as_slice())));
        } else {
            let here = if found.from == *name { String::new() } else { format!(" (here `{name}`)") };
            misshapen.push(format!("`{}`{here} has shape {from:?} in the file and {to:?} in the model", found.from));
        }
    }
    let unexpected = file.iter().filter(|(name, _)| !wanted.contains(*name) && !is_aside(name) && part.expects(towers, name));
    fitted.unexpected = unexpected.map(|(_, found)| found.from.clone()).collect();
    fitted.loaded = copies.len();
    let complete = fitted.missing.is_empty() && misshapen.is_empty() && fitted.unexpected.is_empty();
    if copies.is_empty() || !(partial || complete) {
        return Err(refusal(&fitted, &misshapen, file.len(), place));
    }
    fitted.missing.extend(misshapen);
    let _no_grad = tch::no_grad_guard();
    for (variable, found) in copies {
        variable.shallow_clone().f_copy_(&found).map_err(vlhub_core::Error::from)?;
    }
    Ok(fitted)
}

/// Gives the classifier of a network of timm to the head of the one objective that has a layer of its own, and says whether there are both.
fn take_head(file: &mut Tensors, wanted: &BTreeSet<String>) -> bool {
    const CLASSIFIERS: [&str; 4] = ["fc", "head.fc", "head", "classifier"];
    let heads: Vec<&str> =
        wanted.iter().filter_map(|name| name.strip_suffix(".weight")).filter(|name| name.starts_with("objective.")).collect();
    let [head] = heads[..] else { return false };
    // What the tower has under such a name itself stays with the tower.
    let free = |name: String| file.contains_key(&name) && !wanted.contains(&name);
    let there = |name: &&&str| ["weight", "bias"].iter().all(|end| free(format!("visual.trunk.{name}.{end}")));
    let Some(classifier) = CLASSIFIERS.iter().find(there) else { return false };
    for end in ["weight", "bias"] {
        if let Some(tensor) = file.remove(&format!("visual.trunk.{classifier}.{end}")) {
            file.insert(format!("{head}.{end}"), tensor);
        }
    }
    true
}

fn refusal(fitted: &Fitted, misshapen: &[String], tensors: usize, place: &str) -> Failure {
    let some = |what: &str, names: &[String]| {
        let shown: Vec<&str> = names.iter().take(6).map(String::as_str).collect();
        let more = if names.len() > shown.len() { format!(" and {} more", names.len() - shown.len()) } else { String::new() };
        if names.is_empty() { String::new() } else { format!("\n  {what}: {}{more}", shown.join(", ")) }
    };
    let quoted = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let lists = [
        some("missing in the file (names of the model)", &quoted(&fitted.missing)),
        some("not in the model (names of the file)", &quoted(&fitted.unexpected)),
        some("of another shape", misshapen),
    ];
    Failure::new(
        Failure::RESUME,
        format!(
            "the weights of `{place}` do not fit the model: {} of {tensors} tensors do, read with the names of {}{}\n  is it the right model? \
             `pretrained_partial = true` loads what fits and keeps the rest as it was initialised",
            fitted.loaded,
            fitted.names,
            lists.concat()
        ),
    )
}

impl Part {
    /// Whether a variable of the model is to be loaded.
    fn holds(self, towers: &Towers, name: &str) -> bool {
        match self {
            Self::Whole => true,
            Self::Tower(modality) => towers.owner(name) == Some(modality),
        }
    }

    /// Whether a file may lack it: what objectives own, and a projection where one tower's own weights are loaded.
    fn may_lack(self, towers: &Towers, name: &str) -> bool {
        match self {
            Self::Whole => towers.owner(name).is_none(),
            Self::Tower(modality) => towers.is_projection(modality, name),
        }
    }

    /// Whether a name that the model lacks is told of. A network's own weights come with heads for what it was trained on.
    fn expects(self, towers: &Towers, name: &str) -> bool {
        match self {
            Self::Whole => true,
            Self::Tower(modality) => {
                let heads = ["head.", "fc.", "classifier.", "fc_norm.", "cls.", "lm_head.", "pooler.", "decoder.", "head_dist."];
                let inside = name.trim_start_matches("visual.").trim_start_matches("text.").trim_start_matches("trunk.");
                let inside = inside.trim_start_matches("transformer.");
                let other = towers.owner(name).is_some_and(|owner| owner != modality);
                // A whole model may be named for one of its towers.
                let elsewhere = name.starts_with("visual.") != (modality == Modality::Image);
                !other && !elsewhere && !heads.iter().any(|head| inside.starts_with(head))
            }
        }
    }
}

/// Tensors that training keeps beside weights, and tables that are computed here.
fn is_aside(name: &str) -> bool {
    let beside =
        ["optimizer.", "average.", "ema.", "lora.", "objective.", "logit_", "text_decoder."].iter().any(|start| name.starts_with(start));
    let tables = [
        "num_batches_tracked",
        "position_ids",
        "token_type_ids",
        "relative_position_index",
        "relative_coords_table",
        "attn_mask",
        "input_resolution",
        "context_length",
        "vocab_size",
    ];
    // timm's CoaT lists what its blocks share once for each block as well.
    let again =
        name.starts_with("visual.trunk.") && [".cpe.", ".factoratt_crpe", ".mlp3.", ".mlp4."].iter().any(|part| name.contains(part));
    beside || again && name.contains("_blocks") || tables.iter().any(|end| name.ends_with(end))
}
