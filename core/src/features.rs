//! Features: the outputs of the towers, view by view, as objectives read them.

use std::collections::BTreeMap;
use std::ops::Range;

use tch::{Kind, Tensor};

use crate::{Error, Forward, Modality, Need, Result};

/// The outputs of one forward pass.
#[derive(Debug)]
pub struct Encoded {
    /// The embedding in the joint space, `[B, D]`, float, not normalised.
    pub embed: Tensor,
    /// The pooled output, before the projection, `[B, width]`, float.
    pub pooled: Tensor,
    /// The token outputs, where a [`Need`] asked for them.
    pub tokens: Option<Tokens>,
}

/// The token outputs of a tower.
#[derive(Debug)]
pub struct Tokens {
    /// One output for each token, `[B, T, width]`, float.
    pub values: Tensor,
    /// The padding mask, `[B, T]`, bool: true where a token counts, false on padding.
    pub mask: Tensor,
}

impl Tokens {
    /// Tokens `[B, T, width]` of which every one counts, as those of a picture's patches.
    pub fn unmasked(values: Tensor) -> Self {
        let size = values.size();
        Self { mask: Tensor::ones([size[0], size[1]], (Kind::Bool, values.device())), values }
    }
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

/// The outputs that an objective asked for, and its share of the rows.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use vlhub_core::{Encoded, Features, Modality, Need};
///
/// let rows = Tensor::ones([4, 8], (Kind::Float, Device::Cpu));
/// let encoded = Encoded { embed: rows.shallow_clone(), pooled: rows, tokens: None };
/// let mut features = Features::new(0..4, 4);
/// features.insert(Modality::Image, "main", encoded);
/// // The anchors of a process that answers for the last row of four.
/// let part = features.with_own(3..4);
/// assert_eq!(part.own_rows(&part.image("main")?.embed).size(), [1, 8]);
/// // An objective reads what it declared, and nothing else.
/// let error = features.only(&[Need::image("main")], "mine").text("main").unwrap_err().to_string();
/// assert_eq!(error, "`mine` reads text `main` but does not declare it in `needs`; it declares: image `main`");
/// # Ok::<(), vlhub_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Features {
    outputs: BTreeMap<Forward, Encoded>,
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
        self.insert_for(Forward { modality, ..Forward::image(view) }, encoded);
    }

    /// Adds the outputs of a forward pass, of any weights.
    pub fn insert_for(&mut self, forward: Forward, encoded: Encoded) {
        self.outputs.insert(forward, encoded);
    }

    /// The image tower's outputs for a view.
    ///
    /// # Errors
    /// When the objective did not declare the view in `needs`.
    pub fn image(&self, view: &str) -> Result<&Encoded> {
        self.get(&Forward::image(view))
    }

    /// The text tower's outputs for a view.
    ///
    /// # Errors
    /// When the objective did not declare the view in `needs`.
    pub fn text(&self, view: &str) -> Result<&Encoded> {
        self.get(&Forward::text(view))
    }

    /// The outputs of a forward pass, of any weights.
    ///
    /// # Errors
    /// When the objective did not declare it in `needs`.
    pub fn get(&self, forward: &Forward) -> Result<&Encoded> {
        self.outputs.get(forward).ok_or_else(|| self.undeclared(forward.clone().into()))
    }

    /// The tokens of an image view.
    ///
    /// # Errors
    /// When the objective did not declare the view with tokens.
    pub fn image_tokens(&self, view: &str) -> Result<&Tokens> {
        self.tokens(&Forward::image(view))
    }

    /// The tokens of a text view.
    ///
    /// # Errors
    /// When the objective did not declare the view with tokens.
    pub fn text_tokens(&self, view: &str) -> Result<&Tokens> {
        self.tokens(&Forward::text(view))
    }

    /// The tokens of a forward pass, of any weights.
    ///
    /// # Errors
    /// When the objective did not declare it with tokens.
    pub fn tokens(&self, forward: &Forward) -> Result<&Tokens> {
        let found = self.outputs.get(forward).and_then(|encoded| encoded.tokens.as_ref());
        found.ok_or_else(|| self.undeclared(Need::from(forward.clone()).tokens()))
    }

    /// The anchors of this process, as a range of the rows of the whole batch.
    pub fn own(&self) -> Range<i64> {
        self.own.clone()
    }

    /// The global batch size: rows over all processes.
    pub fn total(&self) -> i64 {
        self.total
    }

    /// The rows [`Features::own`] of `[N, …]`: the anchors that this process answers for, `[own, …]`.
    pub fn own_rows(&self, of: &Tensor) -> Tensor {
        of.narrow(0, self.own.start, self.own.end - self.own.start)
    }

    /// The same features with another share of the rows.
    pub fn with_own(&self, own: Range<i64>) -> Self {
        let mut copy = self.map(Tensor::shallow_clone);
        copy.own = own;
        copy
    }

    /// The features that `reader` declared in `needs`, and nothing else; [`Need::union`] says which of them have tokens.
    pub fn only(&self, needs: &[Need], reader: &str) -> Self {
        let mut seen = Self { reader: reader.to_owned(), ..Self::new(self.own.clone(), self.total) };
        for need in Need::union(needs) {
            let Some(encoded) = self.outputs.get(&need.forward) else { continue };
            let mut copy = encoded.map(Tensor::shallow_clone);
            copy.tokens = copy.tokens.filter(|_| need.tokens);
            seen.outputs.insert(need.forward, copy);
        }
        seen
    }

    /// Applies `f` to every floating-point tensor, in the order of [`Features::tensors`].
    pub fn map(&self, mut f: impl FnMut(&Tensor) -> Tensor) -> Self {
        self.with(self.outputs.iter().map(|(forward, encoded)| (forward.clone(), encoded.map(&mut f))).collect())
    }

    /// Every floating-point tensor, in a fixed order.
    pub fn tensors(&self) -> Vec<&Tensor> {
        self.outputs.values().flat_map(Encoded::tensors).collect()
    }

    /// Every forward pass with its outputs, in a fixed order.
    pub fn forwards(&self) -> impl Iterator<Item = (&Forward, &Encoded)> {
        self.outputs.iter()
    }

    /// The rows in `range`, answered for in full.
    pub fn slice(&self, range: Range<i64>) -> Self {
        let rows = range.end - range.start;
        let cut = |encoded: &Encoded| encoded.map_all(|tensor| tensor.narrow(0, range.start, rows));
        let outputs = self.outputs.iter().map(|(forward, encoded)| (forward.clone(), cut(encoded))).collect();
        Self { own: 0..rows, total: rows, ..self.with(outputs) }
    }

    /// The rows permuted by `order` `[N]`, int64.
    pub fn permuted(&self, order: &Tensor) -> Self {
        let pick = |encoded: &Encoded| encoded.map_all(|tensor| tensor.index_select(0, order));
        self.with(self.outputs.iter().map(|(forward, encoded)| (forward.clone(), pick(encoded))).collect())
    }

    /// Concatenates chunks of one batch, in order.
    ///
    /// # Errors
    /// When there is no chunk, or the chunks do not hold the same views.
    pub fn cat(parts: &[Self]) -> Result<Self> {
        let first = parts.first().ok_or_else(|| Error::invalid("no chunk to join"))?;
        let total = parts.iter().map(|part| part.total).sum();
        let mut whole = Self::new(0..total, total);
        for forward in first.outputs.keys() {
            let all = parts.iter().map(|part| part.get(forward)).collect::<Result<Vec<_>>>()?;
            whole.insert_for(forward.clone(), Encoded::cat(&all));
        }
        Ok(whole)
    }

    /// Other outputs of the same rows.
    fn with(&self, outputs: BTreeMap<Forward, Encoded>) -> Self {
        Self { outputs, own: self.own.clone(), total: self.total, reader: self.reader.clone() }
    }

    fn undeclared(&self, need: Need) -> Error {
        let here =
            |(forward, encoded): (&Forward, &Encoded)| Need { forward: forward.clone(), tokens: encoded.tokens.is_some() }.to_string();
        let declared: Vec<String> = self.forwards().map(here).collect();
        let declared = if declared.is_empty() { "nothing".into() } else { declared.join(", ") };
        let plugin = if self.reader.is_empty() { "the engine".into() } else { self.reader.clone() };
        Error::Undeclared { plugin, what: need.to_string(), declared }
    }
}
