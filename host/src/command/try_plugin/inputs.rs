//! A file of tensors as an objective reads it: towers, features and a batch, by their names.

use std::collections::HashMap;

use tch::nn::Path;
use tch::{Device, Kind, Tensor};
use vlhub_core::{Batch, Encoded, Features, Forward, InputSpec, Modality, Need, ObjectiveCx, Teacher, Tokens, Tower, Weights};

use super::{InputFile, InputTensors, need};
use crate::failure::{Failure, Outcome};

/// The batch inputs that have a name of their own: text views and image views by prefix, and the labels.
const IDS: &str = "ids.";
const PICTURES: &str = "pictures.";

/// What a tensor of features holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InputPart {
    Embed,
    Pooled,
    Tokens,
    Mask,
}

/// A name such as `teacher.NAME.image.VIEW.tokens`, taken apart.
struct Named<'a> {
    weights: Weights,
    modality: Modality,
    part: InputPart,
    name: &'a str,
    tensor: &'a Tensor,
}

/// The tensors of a file.
pub(super) struct Inputs<'a> {
    given: &'a InputFile,
    features: Vec<Named<'a>>,
    rows: i64,
    /// Width of the joint space.
    embed: i64,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(given: &'a InputFile) -> Outcome<Self> {
        let mut features = Vec::new();
        for (name, tensor) in &given.tensors {
            features.extend(feature(name, tensor)?);
        }
        let shape = |named: &Named<'_>| match named.tensor.size()[..] {
            [rows, width] => Ok((rows, width)),
            ref other => Err(Failure::usage(format!("`{}` has shape {other:?}; [N, D] is wanted", named.name))),
        };
        let mut embeds = features.iter().filter(|named| named.weights == Weights::Trained && named.part == InputPart::Embed);
        let first = embeds.next().ok_or_else(|| Failure::usage("the input file has no tensor `image.VIEW` or `text.VIEW`"))?;
        let (rows, embed) = shape(first)?;
        let names = given.tensors.iter().filter(|(name, _)| name.starts_with(IDS) || name.starts_with(PICTURES) || is_labels(name));
        for (name, tensor) in features.iter().map(|named| (named.name, named.tensor)).chain(names.map(|(name, at)| (name.as_str(), at))) {
            if tensor.size().first() != Some(&rows) {
                return Err(Failure::usage(format!(
                    "`{name}` has shape {:?} and `{}` has {rows} rows; all views have the same rows",
                    tensor.size(),
                    first.name
                )));
            }
        }
        Ok(Self { given, features, rows, embed })
    }

    /// What the plugin is told: towers as wide as their features, and a teacher for every name.
    pub(super) fn cx<'p>(&self, root: &Path<'p>) -> Outcome<ObjectiveCx<'p>> {
        let mut names: Vec<&String> = self.features.iter().filter_map(|named| teacher(&named.weights)).collect();
        names.sort();
        names.dedup();
        let teachers = names.into_iter().map(|name| self.teacher(name)).collect::<Outcome<_>>()?;
        Ok(ObjectiveCx {
            path: root / "objective",
            shared: root.clone(),
            embed: self.embed,
            image: self.tower(&Weights::Trained, Modality::Image)?,
            text: self.tower(&Weights::Trained, Modality::Text)?,
            teachers,
        })
    }

    fn teacher(&self, name: &str) -> Outcome<Teacher> {
        let weights = Weights::Teacher(name.to_owned());
        let embeds = |named: &&Named<'_>| named.weights == weights && named.part == InputPart::Embed;
        let lacks = || Failure::usage(format!("the input file has no tensor `teacher.{name}.image.VIEW` or `teacher.{name}.text.VIEW`"));
        let embed = self.features.iter().find(embeds).ok_or_else(lacks)?;
        let log_scale = self.given.tensors.get(&format!("teacher.{name}.log_scale"));
        let log_scale = log_scale.map(|tensor| match tensor.numel() {
            1 => Ok(tensor.reshape([1]).double_value(&[0])),
            _ => Err(Failure::usage(format!("`teacher.{name}.log_scale` has shape {:?}; one number is wanted", tensor.size()))),
        });
        Ok(Teacher {
            name: name.to_owned(),
            embed: last(embed.tensor),
            image: self.tower(&weights, Modality::Image)?,
            text: self.tower(&weights, Modality::Text)?,
            log_scale: log_scale.transpose()?,
        })
    }

    /// The tower of which there are features. Pooled outputs and tokens have its width; without them, its embeddings.
    fn tower(&self, weights: &Weights, modality: Modality) -> Outcome<Option<Tower>> {
        let own = || self.features.iter().filter(|named| named.weights == *weights && named.modality == modality);
        let inner: Vec<_> = own().filter(|named| matches!(named.part, InputPart::Pooled | InputPart::Tokens)).collect();
        if let Some(other) = inner.iter().find(|named| last(named.tensor) != last(inner[0].tensor)) {
            let (first, other_size) = (inner[0], other.tensor.size());
            return Err(Failure::usage(format!(
                "`{}` has shape {:?} and `{}` has shape {other_size:?}; pooled outputs and tokens of a tower have one width",
                first.name,
                first.tensor.size(),
                other.name
            )));
        }
        let widest = inner.first().copied().or_else(|| own().find(|named| named.part == InputPart::Embed));
        let input = match modality {
            Modality::Image => InputSpec::Image { size: self.picture(), mean: [0.0; 3], std: [1.0; 3] },
            Modality::Text => self.words()?,
        };
        Ok(widest.map(|named| Tower { input, width: last(named.tensor) }))
    }

    /// Height and width of the pictures.
    fn picture(&self) -> (i64, i64) {
        let pictures = self.given.tensors.iter().find(|(name, _)| name.starts_with(PICTURES));
        match pictures.map(|(_, tensor)| tensor.size()).as_deref() {
            Some(&[_, _, height, width]) => (height, width),
            _ => (1, 1),
        }
    }

    /// What the text tower reads: the file's metadata says it, else its token ids, else it is what CLIP reads.
    fn words(&self) -> Outcome<InputSpec> {
        let ids = || self.given.tensors.iter().filter(|(name, tensor)| name.starts_with(IDS) && tensor.numel() > 0).map(|(_, ids)| ids);
        let number = |key: &str| match self.given.metadata.get(key).map(|text| (text, text.parse::<i64>())) {
            None => Ok(None),
            Some((_, Ok(number))) => Ok(Some(number)),
            Some((text, Err(_))) => Err(Failure::usage(format!("the input file's metadata `{key}` is `{text}`; a whole number is wanted"))),
        };
        let longest = ids().map(last).max().unwrap_or(77);
        let largest = ids().map(|ids| ids.max().int64_value(&[])).max().map_or(49408, |largest| largest + 1);
        Ok(InputSpec::Text {
            context: number("context")?.unwrap_or(longest),
            vocab: number("vocab")?.unwrap_or(largest),
            pad: number("pad")?.unwrap_or(0),
            truncates: true,
        })
    }

    /// Adds the views and labels of the file to a batch; they replace those of the same name.
    pub(super) fn add_views(&self, batch: &mut Batch) -> Outcome {
        for (name, tensor) in &self.given.tensors {
            if let Some(view) = name.strip_prefix(IDS) {
                batch.set_text(view, whole(name, tensor, 2)?)?;
            } else if let Some(view) = name.strip_prefix(PICTURES) {
                match tensor.size()[..] {
                    [_, 3, _, _] => batch.set_image(view, tensor.to_kind(Kind::Float))?,
                    ref other => return Err(Failure::usage(format!("`{name}` has shape {other:?}; [N, 3, H, W] is wanted"))),
                }
            } else if is_labels(name) {
                let labels = if tensor.dim() == 1 { tensor.unsqueeze(1) } else { tensor.shallow_clone() };
                batch.set_extra(Batch::LABELS, whole(name, &labels, 2)?)?;
            }
        }
        Ok(())
    }

    /// Adds everything that has the rows and no other meaning, such as what `prepare` would derive.
    pub(super) fn add_extras(&self, batch: &mut Batch, parameters: &HashMap<String, Tensor>) -> Outcome {
        let known = |name: &str| self.features.iter().any(|named| named.name == name) || parameters.contains_key(name);
        let named = |name: &str| name.starts_with(IDS) || name.starts_with(PICTURES) || is_labels(name);
        for (name, tensor) in &self.given.tensors {
            if tensor.size().first() == Some(&self.rows) && !known(name) && !named(name) {
                batch.set_extra(name.clone(), tensor.shallow_clone())?;
            }
        }
        Ok(())
    }

    /// An empty batch of the file's rows.
    pub(super) fn batch(&self) -> Batch {
        Batch::new(self.rows)
    }

    /// Names of pooled outputs that the file lacks and for which an embedding of another width would stand, with the width.
    pub(super) fn lacking(&self, needs: &[Need], cx: &ObjectiveCx<'_>) -> Vec<(String, i64)> {
        let of_need = |wanted: &Need| {
            let (embed, width) = widths(&wanted.forward, cx).ok()?;
            let name = format!("{}.pooled", key(&wanted.forward));
            (embed != width && !self.given.tensors.contains_key(&name)).then_some((name, width))
        };
        needs.iter().filter_map(of_need).collect()
    }

    /// The outputs that the plugin needs. Those of trained towers are leaves, and go to `leaves` by their names.
    pub(super) fn features(&self, needs: &[Need], cx: &ObjectiveCx<'_>, leaves: &mut InputTensors) -> Outcome<Features> {
        let mut features = Features::new(0..self.rows, self.rows);
        for need in Need::union(needs) {
            let encoded = self.encoded(&need, cx, leaves)?;
            features.insert_for(need.forward, encoded);
        }
        Ok(features)
    }

    fn encoded(&self, wanted: &Need, cx: &ObjectiveCx<'_>, leaves: &mut InputTensors) -> Outcome<Encoded> {
        let key = key(&wanted.forward);
        // Named first where it is missing: without it there may be no tower either.
        need(&self.given.tensors, &key)?;
        let (embed, width) = widths(&wanted.forward, cx)?;
        let mut take = |name: &str, dims: usize, width: i64| -> Outcome<Tensor> {
            let tensor = need(&self.given.tensors, name)?;
            let size = tensor.size();
            if size.len() != dims || size.last() != Some(&width) {
                let wanted = if dims == 3 { format!("[{}, T, {width}]", self.rows) } else { format!("[{}, {width}]", self.rows) };
                return Err(Failure::usage(format!("`{name}` has shape {size:?}; {wanted} is wanted")));
            }
            let leaf = tensor.to_kind(Kind::Float).detach();
            if wanted.forward.is_trained() {
                leaves.insert(name.to_owned(), leaf.set_requires_grad(true));
            }
            Ok(leaf)
        };
        let embed = take(&key, 2, embed)?;
        let pooled = format!("{key}.pooled");
        let pooled = match self.given.tensors.contains_key(&pooled) {
            true => take(&pooled, 2, width)?,
            false => embed.shallow_clone(),
        };
        let tokens = if wanted.tokens {
            let values = take(&format!("{key}.tokens"), 3, width)?;
            Some(Tokens { mask: self.mask(&format!("{key}.mask"), &values.size()[..2])?, values })
        } else {
            None
        };
        Ok(Encoded { embed, pooled, tokens })
    }

    /// Which tokens count; all of them where the file does not say.
    fn mask(&self, name: &str, shape: &[i64]) -> Outcome<Tensor> {
        match self.given.tensors.get(name) {
            None => Ok(Tensor::ones(shape, (Kind::Bool, Device::Cpu))),
            Some(mask) if mask.size() == shape => Ok(mask.to_kind(Kind::Bool)),
            Some(mask) => Err(Failure::usage(format!("`{name}` has shape {:?}; {shape:?} is wanted", mask.size()))),
        }
    }
}

/// The name of the embeddings of a forward pass.
fn key(forward: &Forward) -> String {
    let Forward { modality, view, weights } = forward;
    match weights {
        Weights::Trained => format!("{modality}.{view}"),
        Weights::Average => format!("average.{modality}.{view}"),
        Weights::Teacher(name) => format!("teacher.{name}.{modality}.{view}"),
    }
}

/// Widths of the embeddings and of the pooled outputs of a forward pass.
fn widths(forward: &Forward, cx: &ObjectiveCx<'_>) -> Outcome<(i64, i64)> {
    let (embed, image, text) = match teacher(&forward.weights) {
        Some(name) => cx.teacher(name).map(|teacher| (teacher.embed, &teacher.image, &teacher.text))?,
        None => (cx.embed, &cx.image, &cx.text),
    };
    let tower = if forward.modality == Modality::Image { image } else { text };
    Ok((embed, tower.as_ref().map_or(embed, |tower| tower.width)))
}

fn is_labels(name: &str) -> bool {
    name == Batch::LABELS
}

fn last(tensor: &Tensor) -> i64 {
    tensor.size().last().copied().unwrap_or(0)
}

fn teacher(weights: &Weights) -> Option<&String> {
    match weights {
        Weights::Teacher(name) => Some(name),
        Weights::Trained | Weights::Average => None,
    }
}

/// A tensor of whole numbers, as int64.
fn whole(name: &str, tensor: &Tensor, dims: usize) -> Outcome<Tensor> {
    match tensor.kind() {
        Kind::Int64 | Kind::Int | Kind::Int16 | Kind::Int8 | Kind::Uint8 if tensor.dim() == dims => Ok(tensor.to_kind(Kind::Int64)),
        kind => {
            Err(Failure::usage(format!("`{name}` is {kind:?} of shape {:?}; int64 [N, …] of {dims} dimensions is wanted", tensor.size())))
        }
    }
}

/// A name that features may have, or `None` for any other name.
fn feature<'a>(name: &'a str, tensor: &'a Tensor) -> Outcome<Option<Named<'a>>> {
    let parts: Vec<&str> = name.split('.').collect();
    let (weights, rest) = match &parts[..] {
        ["teacher", _, "log_scale"] => return Ok(None),
        ["average", rest @ ..] => (Weights::Average, rest),
        ["teacher", teacher, rest @ ..] => (Weights::Teacher((*teacher).to_owned()), rest),
        rest => (Weights::Trained, rest),
    };
    let modality = match rest.first() {
        Some(&"image") => Modality::Image,
        Some(&"text") => Modality::Text,
        _ if weights == Weights::Trained => return Ok(None),
        _ => return Err(unknown(name)),
    };
    let part = match rest[1..] {
        [_] => InputPart::Embed,
        [_, "pooled"] => InputPart::Pooled,
        [_, "tokens"] => InputPart::Tokens,
        [_, "mask"] => InputPart::Mask,
        _ => return Err(unknown(name)),
    };
    Ok(Some(Named { weights, modality, part, name, tensor }))
}

fn unknown(name: &str) -> Failure {
    Failure::usage(format!(
        "`{name}` in the input file has no meaning; features are `image.VIEW` or `text.VIEW`, alone or with `.pooled`, `.tokens`, `.mask`, and \
         `average.` or `teacher.NAME.` before them; a teacher has `teacher.NAME.log_scale`"
    ))
}
