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
    /// By forward: the need without its tokens.
    outputs: BTreeMap<Need, Encoded>,
    own: Range<i64>,
    total: i64,
    /// Whom to name in errors; empty for the engine's own copy, which may read everything.
    reader: String,
}

impl Features {
    /// Features of `total` rows of which `own` belong to this process.
    pub fn new(own: Range<i64>, total: i64) -> Self {
        Self { outputs: BTreeMap::new(), own, total, reader: String::new() }
    }

    /// Adds the outputs of one view of the towers that are trained.
    pub fn insert(&mut self, modality: Modality, view: impl Into<String>, encoded: Encoded) {
        self.insert_for(&Need { modality, ..Need::image(view) }, encoded);
    }

    /// Adds the outputs that `need` names.
    pub fn insert_for(&mut self, need: &Need, encoded: Encoded) {
        self.outputs.insert(Need { tokens: false, ..need.clone() }, encoded);
    }

    /// The image tower's outputs for a view.
    ///
    /// # Errors
    /// When the objective did not declare the view in `needs`.
    pub fn image(&self, view: &str) -> Result<&Encoded> {
        self.get(&Need::image(view))
    }

    /// The text tower's outputs for a view.
    ///
    /// # Errors
    /// When the objective did not declare the view in `needs`.
    pub fn text(&self, view: &str) -> Result<&Encoded> {
        self.get(&Need::text(view))
    }

    /// The outputs that `need` names, of any weights.
    ///
    /// # Errors
    /// When the objective did not declare it in `needs`.
    pub fn get(&self, need: &Need) -> Result<&Encoded> {
        let found = match need.tokens {
            false => self.outputs.get(need),
            true => self.outputs.get(&Need { tokens: false, ..need.clone() }).filter(|encoded| encoded.tokens.is_some()),
        };
        found.ok_or_else(|| self.undeclared(need))
    }

    /// The tokens of an image view.
    ///
    /// # Errors
    /// When the objective did not declare the view with tokens.
    pub fn image_tokens(&self, view: &str) -> Result<&Tokens> {
        self.tokens_of(&Need::image(view).tokens())
    }

    /// The tokens of a text view.
    ///
    /// # Errors
    /// When the objective did not declare the view with tokens.
    pub fn text_tokens(&self, view: &str) -> Result<&Tokens> {
        self.tokens_of(&Need::text(view).tokens())
    }

    fn tokens_of(&self, need: &Need) -> Result<&Tokens> {
        self.get(need)?.tokens.as_ref().ok_or_else(|| self.undeclared(need))
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
        for (forward, encoded) in &self.outputs {
            let mut asked = needs.iter().filter(|need| need.same_forward(forward)).peekable();
            if asked.peek().is_none() {
                continue;
            }
            let mut copy = encoded.map(Tensor::shallow_clone);
            if !asked.any(|need| need.tokens) {
                copy.tokens = None;
            }
            seen.outputs.insert(forward.clone(), copy);
        }
        seen
    }

    /// Applies `f` to every floating-point tensor, in the order of [`Features::tensors`].
    pub fn map(&self, mut f: impl FnMut(&Tensor) -> Tensor) -> Self {
        self.with(self.outputs.iter().map(|(need, encoded)| (need.clone(), encoded.map(&mut f))).collect())
    }

    /// Every floating-point tensor, in a fixed order.
    pub fn tensors(&self) -> Vec<&Tensor> {
        self.outputs.values().flat_map(Encoded::tensors).collect()
    }

    /// Every forward with its outputs, in a fixed order; the need says whether tokens are there.
    pub fn forwards(&self) -> impl Iterator<Item = (Need, &Encoded)> {
        self.outputs.iter().map(|(need, encoded)| (Need { tokens: encoded.tokens.is_some(), ..need.clone() }, encoded))
    }

    /// The rows in `range`, answered for in full.
    pub fn slice(&self, range: Range<i64>) -> Self {
        let rows = range.end - range.start;
        let cut = |encoded: &Encoded| encoded.map_all(|tensor| tensor.narrow(0, range.start, rows));
        let outputs = self.outputs.iter().map(|(need, encoded)| (need.clone(), cut(encoded))).collect();
        Self { own: 0..rows, total: rows, ..self.with(outputs) }
    }

    /// The same rows in another order.
    pub fn permuted(&self, order: &Tensor) -> Self {
        let pick = |encoded: &Encoded| encoded.map_all(|tensor| tensor.index_select(0, order));
        self.with(self.outputs.iter().map(|(need, encoded)| (need.clone(), pick(encoded))).collect())
    }

    /// Chunks of one batch, joined in order.
    ///
    /// # Errors
    /// When there is no chunk, or the chunks do not hold the same views.
    pub fn cat(parts: &[Self]) -> Result<Self> {
        let first = parts.first().ok_or_else(|| Error::invalid("no chunk to join"))?;
        let total = parts.iter().map(|part| part.total).sum();
        let mut whole = Self::new(0..total, total);
        for need in first.outputs.keys() {
            let all = parts.iter().map(|part| part.get(need)).collect::<Result<Vec<_>>>()?;
            whole.insert_for(need, Encoded::cat(&all));
        }
        Ok(whole)
    }

    /// Other outputs of the same rows.
    fn with(&self, outputs: BTreeMap<Need, Encoded>) -> Self {
        Self { outputs, own: self.own.clone(), total: self.total, reader: self.reader.clone() }
    }

    fn undeclared(&self, need: &Need) -> Error {
        let declared: Vec<String> = self.forwards().map(|(need, _)| need.to_string()).collect();
        let declared = if declared.is_empty() { "nothing".into() } else { declared.join(", ") };
        let plugin = if self.reader.is_empty() { "the engine".into() } else { self.reader.clone() };
        Error::Undeclared { plugin, what: need.to_string(), declared }
    }
}
