//! What objectives read: the outputs of the towers, view by view.

use std::collections::BTreeMap;
use std::ops::Range;

use tch::Tensor;

use crate::{Error, Modality, Need, Result};

/// What one tower made of one view.
#[derive(Debug)]
pub struct Encoded {
    /// `[B, D]` in the joint space, not normalised.
    pub embed: Tensor,
    /// `[B, width]` before the projection.
    pub pooled: Tensor,
    /// The tokens, where a [`Need`] asked for them.
    pub tokens: Option<Tokens>,
}

/// The token outputs of a tower.
#[derive(Debug)]
pub struct Tokens {
    /// `[B, T, width]`.
    pub values: Tensor,
    /// `[B, T]` bool: true where a token counts, false on padding.
    pub mask: Tensor,
}

impl Encoded {
    /// Applies `f` to every floating-point tensor; masks are copied shallowly.
    pub fn map(&self, mut f: impl FnMut(&Tensor) -> Tensor) -> Self {
        Self {
            embed: f(&self.embed),
            pooled: f(&self.pooled),
            tokens: self.tokens.as_ref().map(|tokens| Tokens { values: f(&tokens.values), mask: tokens.mask.shallow_clone() }),
        }
    }

    /// The floating-point tensors, in a fixed order.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let mut all = vec![&self.embed, &self.pooled];
        all.extend(self.tokens.as_ref().map(|tokens| &tokens.values));
        all
    }

    /// A copy whose every tensor, masks too, went through `f`.
    fn map_all(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        let mut copy = self.map(&f);
        if let Some(tokens) = &mut copy.tokens {
            tokens.mask = f(&tokens.mask);
        }
        copy
    }

    fn cat(parts: &[&Self]) -> Self {
        let join = |pick: &dyn Fn(&Self) -> Tensor| Tensor::cat(&parts.iter().map(|part| pick(part)).collect::<Vec<_>>(), 0);
        // Chunks of one batch share their width, so tokens can be joined too.
        let tokens = parts.iter().all(|part| part.tokens.is_some()).then(|| Tokens {
            values: join(&|part| part.tokens.as_ref().map(|tokens| tokens.values.shallow_clone()).unwrap_or_default()),
            mask: join(&|part| part.tokens.as_ref().map(|tokens| tokens.mask.shallow_clone()).unwrap_or_default()),
        });
        Self { embed: join(&|part| part.embed.shallow_clone()), pooled: join(&|part| part.pooled.shallow_clone()), tokens }
    }
}

/// The outputs that an objective asked for, and the rows it answers for.
#[derive(Debug)]
pub struct Features {
    images: BTreeMap<String, Encoded>,
    texts: BTreeMap<String, Encoded>,
    own: Range<i64>,
    total: i64,
    /// Whom to name in errors; empty for the engine's own copy, which may read everything.
    reader: String,
}

impl Features {
    /// Features of `total` rows of which `own` belong to this process.
    pub fn new(own: Range<i64>, total: i64) -> Self {
        Self { images: BTreeMap::new(), texts: BTreeMap::new(), own, total, reader: String::new() }
    }

    /// Adds the outputs of one view.
    pub fn insert(&mut self, modality: Modality, view: impl Into<String>, encoded: Encoded) {
        match modality {
            Modality::Image => self.images.insert(view.into(), encoded),
            Modality::Text => self.texts.insert(view.into(), encoded),
        };
    }

    /// The image tower's outputs for a view.
    ///
    /// # Errors
    /// When the objective did not declare the view in `needs`.
    pub fn image(&self, view: &str) -> Result<&Encoded> {
        self.images.get(view).ok_or_else(|| self.undeclared(format!("image `{view}`")))
    }

    /// The text tower's outputs for a view.
    ///
    /// # Errors
    /// When the objective did not declare the view in `needs`.
    pub fn text(&self, view: &str) -> Result<&Encoded> {
        self.texts.get(view).ok_or_else(|| self.undeclared(format!("text `{view}`")))
    }

    /// The tokens of an image view.
    ///
    /// # Errors
    /// When the objective did not declare the view with tokens.
    pub fn image_tokens(&self, view: &str) -> Result<&Tokens> {
        self.image(view)?.tokens.as_ref().ok_or_else(|| self.undeclared(format!("image `{view}` with tokens")))
    }

    /// The tokens of a text view.
    ///
    /// # Errors
    /// When the objective did not declare the view with tokens.
    pub fn text_tokens(&self, view: &str) -> Result<&Tokens> {
        self.text(view)?.tokens.as_ref().ok_or_else(|| self.undeclared(format!("text `{view}` with tokens")))
    }

    /// This process's rows of the whole.
    pub fn own(&self) -> Range<i64> {
        self.own.clone()
    }

    /// Rows over all processes.
    pub fn total(&self) -> i64 {
        self.total
    }

    /// The rows `own` of `[N, …]`: the anchors that this process answers for.
    pub fn own_rows(&self, of: &Tensor) -> Tensor {
        of.narrow(0, self.own.start, self.own.end - self.own.start)
    }

    /// The same features with another share of the rows.
    pub fn with_own(&self, own: Range<i64>) -> Self {
        let mut copy = self.map(Tensor::shallow_clone);
        copy.own = own;
        copy
    }

    /// What `reader` may see: the needs that it declared, and nothing else.
    pub fn only(&self, needs: &[Need], reader: &str) -> Self {
        let mut seen = Self { reader: reader.to_owned(), ..Self::new(self.own.clone(), self.total) };
        for need in needs {
            let (from, into) = match need.modality {
                Modality::Image => (&self.images, &mut seen.images),
                Modality::Text => (&self.texts, &mut seen.texts),
            };
            if let Some(encoded) = from.get(&need.view) {
                let mut copy = encoded.map(Tensor::shallow_clone);
                let wanted = need.tokens || into.get(&need.view).is_some_and(|known: &Encoded| known.tokens.is_some());
                if !wanted {
                    copy.tokens = None;
                }
                into.insert(need.view.clone(), copy);
            }
        }
        seen
    }

    /// Applies `f` to every floating-point tensor, in the order of [`Features::tensors`].
    pub fn map(&self, mut f: impl FnMut(&Tensor) -> Tensor) -> Self {
        let images = self.images.iter().map(|(view, encoded)| (view.clone(), encoded.map(&mut f))).collect();
        let texts = self.texts.iter().map(|(view, encoded)| (view.clone(), encoded.map(&mut f))).collect();
        Self { images, texts, own: self.own.clone(), total: self.total, reader: self.reader.clone() }
    }

    /// Every floating-point tensor, in a fixed order.
    pub fn tensors(&self) -> Vec<&Tensor> {
        self.images.values().chain(self.texts.values()).flat_map(Encoded::tensors).collect()
    }

    /// Every view with its outputs: images first, by name.
    pub fn views(&self) -> impl Iterator<Item = (Modality, &str, &Encoded)> {
        let images = self.images.iter().map(|(view, encoded)| (Modality::Image, view.as_str(), encoded));
        images.chain(self.texts.iter().map(|(view, encoded)| (Modality::Text, view.as_str(), encoded)))
    }

    /// The rows in `range`, answered for in full.
    pub fn slice(&self, range: Range<i64>) -> Self {
        let rows = range.end - range.start;
        let cut = |map: &BTreeMap<String, Encoded>| {
            map.iter().map(|(view, encoded)| (view.clone(), encoded.map_all(|tensor| tensor.narrow(0, range.start, rows)))).collect()
        };
        Self { images: cut(&self.images), texts: cut(&self.texts), own: 0..rows, total: rows, reader: self.reader.clone() }
    }

    /// The same rows in another order.
    pub fn permuted(&self, order: &Tensor) -> Self {
        let pick = |map: &BTreeMap<String, Encoded>| {
            map.iter().map(|(view, encoded)| (view.clone(), encoded.map_all(|tensor| tensor.index_select(0, order)))).collect()
        };
        Self { images: pick(&self.images), texts: pick(&self.texts), own: self.own.clone(), total: self.total, reader: self.reader.clone() }
    }

    /// Chunks of one batch, joined in order.
    ///
    /// # Errors
    /// When there is no chunk, or the chunks do not hold the same views.
    pub fn cat(parts: &[Self]) -> Result<Self> {
        let first = parts.first().ok_or_else(|| Error::invalid("no chunk to join"))?;
        let total = parts.iter().map(|part| part.total).sum();
        let mut whole = Self::new(0..total, total);
        for (modality, view, _) in first.views() {
            let all: Result<Vec<_>> = parts
                .iter()
                .map(|part| match modality {
                    Modality::Image => part.image(view),
                    Modality::Text => part.text(view),
                })
                .collect();
            whole.insert(modality, view, Encoded::cat(&all?));
        }
        Ok(whole)
    }

    fn undeclared(&self, what: String) -> Error {
        let declared: Vec<_> = self
            .views()
            .map(|(modality, view, encoded)| format!("{modality} `{view}`{}", if encoded.tokens.is_some() { " with tokens" } else { "" }))
            .collect();
        let declared = if declared.is_empty() { "nothing".into() } else { declared.join(", ") };
        Error::Undeclared { plugin: if self.reader.is_empty() { "the engine".into() } else { self.reader.clone() }, what, declared }
    }
}
