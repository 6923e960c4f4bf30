//! The towers of a run and their projections, in one map of parameters with open_clip's names.

use std::collections::BTreeSet;
use std::sync::Arc;

use tch::{Device, Kind, Tensor, nn};
use vlhub_core::noise::Recompute;
use vlhub_core::{
    Backbone, BackboneCx, Batch, Config, Encoded, Error, Forward, Hidden, InputSpec, Modality, Need, Noise, Result, Tower, Weights,
};

use vlhub_sdk::nn::dropout;

use super::batch_norm::FreezeStatistics;
use super::groups::Groups;
use super::head::ProjectionHead;
use super::{length_groups, recompute, seed_of, seed_of_name};
use crate::data::views::ImageInput;
use crate::failure::hint;

/// One tower with its projection into the joint space.
#[derive(Debug)]
pub struct TowerNet {
    backbone: Box<dyn Backbone>,
    projection: ProjectionHead,
    /// The input specification, asked once.
    pub input: InputSpec,
    /// Prefix of its parameters: `visual.`, `text.` or nothing.
    prefix: String,
    /// Whether the whole tower and its projection are frozen: it runs as in evaluation, without a graph.
    pub(super) locked: bool,
    /// Which batch norms are to freeze their running statistics.
    pub(super) freeze_statistics: FreezeStatistics,
    /// Frozen running statistics, by address.
    pub(super) kept: Option<Arc<BTreeSet<usize>>>,
    /// Dropout: share of the pooled output that is zeroed before the projection while training.
    pub drop: f64,
}

/// Both towers.
#[derive(Debug)]
pub struct Towers {
    /// Every parameter and buffer of the run: towers, projections, objectives.
    pub vars: nn::VarStore,
    /// The image tower.
    pub image: Option<TowerNet>,
    /// The text tower.
    pub text: Option<TowerNet>,
    /// Buffers of the towers, such as running statistics.
    pub buffers: Vec<Tensor>,
    /// Preprocessing of pictures for the image tower.
    pub pictures: Option<ImageInput>,
    /// Width of the joint space.
    pub embed: i64,
    /// The text tower's parameters are under `text.`, as open_clip's `custom_text` puts them.
    pub custom_text: bool,
    /// Gradient checkpointing: blocks are computed again in the backward pass, in towers that can.
    pub recompute: bool,
}

impl TowerNet {
    /// Whether its blocks can be computed again in the backward pass.
    pub(super) fn recomputes(&self) -> bool {
        self.backbone.recomputes()
    }
}

impl Towers {
    /// Builds the towers that the run names. Parameters are initialised from libtorch's generator: seed it first.
    pub fn build(
        device: Device,
        embed: i64,
        custom_text: bool,
        image: Option<&dyn Config<dyn Backbone>>,
        text: Option<&dyn Config<dyn Backbone>>,
    ) -> Result<Self> {
        let mut towers = Self {
            vars: nn::VarStore::new(device),
            image: None,
            text: None,
            buffers: Vec::new(),
            pictures: None,
            embed,
            custom_text,
            recompute: false,
        };
        towers.image = image.map(|config| towers.tower(config, Modality::Image)).transpose()?;
        towers.text = text.map(|config| towers.tower(config, Modality::Text)).transpose()?;
        // Nothing is frozen yet, so what is not trained now never is.
        towers.buffers = towers.vars.variables().into_values().filter(|tensor| !tensor.requires_grad()).collect();
        Ok(towers)
    }

    fn tower(&self, config: &dyn Config<dyn Backbone>, modality: Modality) -> Result<TowerNet> {
        let (path, prefix) = match modality {
            Modality::Image => (self.vars.root() / "visual", "visual.".to_owned()),
            Modality::Text if self.custom_text => (self.vars.root() / "text", "text.".to_owned()),
            Modality::Text => (self.vars.root(), String::new()),
        };
        let place = format!("backbone.{modality}");
        let backbone = config.build(&BackboneCx { path: path.clone(), embed: self.embed }).map_err(|error| error.within(&place))?;
        let input = backbone.input();
        if matches!(input, InputSpec::Image { .. }) != (modality == Modality::Image) {
            return Err(Error::Options(format!(
                "{place}: this backbone reads {}",
                if modality == Modality::Image { "texts" } else { "images" }
            )));
        }
        let width = backbone.width();
        let projection = ProjectionHead::new(&path, backbone.projection(), width, self.embed).map_err(|error| error.within(&place))?;
        self.refuse_renamed(&place)?;
        Ok(TowerNet {
            backbone,
            projection,
            input,
            prefix,
            locked: false,
            freeze_statistics: FreezeStatistics::default(),
            kept: None,
            drop: 0.0,
        })
    }

    /// tch renames a variable that is created twice (`weight__3`); nothing would ever be loaded into it.
    pub fn refuse_renamed(&self, place: &str) -> Result<()> {
        let renamed = self.vars.variables().into_keys().find(|name| {
            name.rsplit_once("__").is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        });
        match renamed {
            Some(name) => Err(Error::invalid(format!(
                "{place}: the parameter `{}` is created twice",
                name.rsplit_once("__").map_or("", |(name, _)| name)
            ))),
            None => Ok(()),
        }
    }

    /// A tower as objectives see it.
    pub fn about(&self, modality: Modality) -> Option<Tower> {
        self.net(modality).ok().map(|net| Tower { input: net.input.clone(), width: net.backbone.width() })
    }

    /// The tower of a modality.
    ///
    /// # Errors
    /// When the run has none.
    pub fn net(&self, modality: Modality) -> Result<&TowerNet> {
        let net = match modality {
            Modality::Image => &self.image,
            Modality::Text => &self.text,
        };
        net.as_ref().ok_or_else(|| Error::Options(format!("the run has no `[backbone.{modality}]`")))
    }

    /// The tower that a parameter of this name belongs to, its projection included.
    pub fn owner(&self, name: &str) -> Option<Modality> {
        let of = |modality: Modality| {
            let net = self.net(modality).ok()?;
            let inside = name.strip_prefix(net.prefix.as_str())?;
            let mut stages = net.backbone.stages();
            stages.extend(net.backbone.projection().names().into_iter().map(String::from));
            let under = |stage: &String| inside.strip_prefix(stage.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            // Buffers stand beside the parameters of their layer, in no stage.
            (!net.prefix.is_empty() || stages.iter().any(under)).then_some(modality)
        };
        of(Modality::Image).or_else(|| of(Modality::Text))
    }

    /// Whether a parameter belongs to a tower's projection.
    pub fn is_projection(&self, modality: Modality, name: &str) -> bool {
        let Ok(net) = self.net(modality) else { return false };
        let Some(inside) = name.strip_prefix(net.prefix.as_str()) else { return false };
        net.backbone
            .projection()
            .names()
            .iter()
            .any(|head| inside.strip_prefix(head).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    /// Parameters by name, sorted; buffers too.
    pub fn variables(&self) -> Vec<(String, Tensor)> {
        let mut all: Vec<_> = self.vars.variables().into_iter().collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Parameters that are trained, by name, sorted.
    pub fn trained(&self) -> Vec<(String, Tensor)> {
        self.variables().into_iter().filter(|(_, tensor)| tensor.requires_grad()).collect()
    }

    /// The name of a tower's variable inside the tower.
    pub fn inside<'a>(&self, modality: Modality, name: &'a str) -> &'a str {
        self.net(modality).ok().and_then(|net| name.strip_prefix(net.prefix.as_str())).unwrap_or(name)
    }

    /// The groups of a tower's layers.
    ///
    /// # Errors
    /// When the run has no such tower.
    pub fn groups(&self, modality: Modality) -> Result<Groups> {
        let net = self.net(modality)?;
        let projection: Vec<String> = net.backbone.projection().names().into_iter().map(String::from).collect();
        Ok(Groups::of(&net.backbone.stages(), &projection))
    }

    /// Groups of layers between its tower's output and a parameter; 0 for what belongs to no tower.
    pub fn depth(&self, name: &str) -> usize {
        let Some(modality) = self.owner(name) else { return 0 };
        let Ok(groups) = self.groups(modality) else { return 0 };
        let inside = self.inside(modality, name);
        let depths = groups.depths();
        depths.iter().find(|(prefix, _)| under(inside, prefix)).map_or(0, |(_, depth)| *depth)
    }

    /// Locks a tower but for its last `unlocked` groups of layers.
    ///
    /// # Errors
    /// More groups than the tower has.
    pub fn lock(&mut self, modality: Modality, unlocked: usize) -> Result<()> {
        let groups = self.groups(modality)?;
        if unlocked > groups.lockable.len() {
            return Err(Error::Options(format!(
                "backbone.{modality}.unlocked: {unlocked} is more than the tower's {} groups of layers",
                groups.lockable.len()
            )));
        }
        let stages: Vec<String> = groups.locked(unlocked).cloned().collect();
        self.freeze_under(modality, &stages)
    }

    pub(super) fn net_mut(&mut self, modality: Modality) -> Result<&mut TowerNet> {
        let net = match modality {
            Modality::Image => &mut self.image,
            Modality::Text => &mut self.text,
        };
        net.as_mut().ok_or_else(|| Error::Options(format!("the run has no `[backbone.{modality}]`")))
    }

    /// Freezes the stages of a tower whose names are listed, or all of it with its projection for `all`.
    ///
    /// # Errors
    /// A stage that the tower does not have, with those it has.
    pub fn freeze(&mut self, modality: Modality, stages: &[String]) -> Result<()> {
        let net = self.net(modality)?;
        let known = net.backbone.stages();
        let whole = stages.iter().any(|stage| stage == "all");
        let projection: Vec<String> = net.backbone.projection().names().into_iter().map(String::from).collect();
        for stage in stages.iter().filter(|stage| *stage != "all") {
            if !known.contains(stage) && !projection.contains(stage) {
                let names: Vec<&str> = known.iter().chain(&projection).map(String::as_str).chain(["all"]).collect();
                return Err(Error::Options(format!("backbone.{modality}.freeze: no stage `{stage}`{}", hint(stage, &names))));
            }
        }
        let frozen: Vec<&String> = if whole { known.iter().chain(&projection).collect() } else { stages.iter().collect() };
        let frozen: Vec<String> = frozen.into_iter().cloned().collect();
        self.freeze_under(modality, &frozen)
    }

    /// Freezes what lies under these prefixes; a tower of which nothing is trained any more is locked.
    fn freeze_under(&mut self, modality: Modality, prefixes: &[String]) -> Result<()> {
        let mut open = false;
        for (name, tensor) in self.vars.variables().into_iter().filter(|(name, _)| self.owner(name) == Some(modality)) {
            if prefixes.iter().any(|prefix| under(self.inside(modality, &name), prefix)) {
                let _ = tensor.set_requires_grad(false);
            }
            open |= tensor.requires_grad();
        }
        self.net_mut(modality)?.locked = !open;
        Ok(())
    }

    /// The forward pass of one tower, and its projection.
    pub fn encode(&self, modality: Modality, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Encoded> {
        let net = self.net(modality)?;
        let hidden = net.backbone.encode(input, tokens, noise).map_err(|error| error.within(format!("backbone.{modality}")))?;
        let embed = net.projection.forward(&dropout(hidden.pooled.shallow_clone(), net.drop, noise))?;
        Ok(Encoded { embed, pooled: hidden.pooled, tokens: hidden.tokens })
    }

    /// The text tower in evaluation, and its projection, for texts that begin alike ([`Backbone::encode_after`]). `None` where the tower has no
    /// cheaper way than to encode them whole.
    ///
    /// # Errors
    /// As [`Towers::encode`].
    pub fn encode_after(&self, prefix: &Tensor, rest: &Tensor) -> Result<Option<Encoded>> {
        let net = self.net(Modality::Text)?;
        let hidden = net.backbone.encode_after(prefix, rest).map_err(|error| error.within("backbone.text"))?;
        let embedded = |hidden: Hidden| {
            let embed = net.projection.forward(&hidden.pooled)?;
            Ok(Encoded { embed, pooled: hidden.pooled, tokens: hidden.tokens })
        };
        hidden.map(embedded).transpose()
    }

    /// Runs the forward that `need` names over `chunk`, whose first row is row `first` of the whole batch.
    ///
    /// # Errors
    /// A view that the batch lacks, or whatever the tower refuses.
    pub fn encode_need(&self, need: &Need, chunk: &Batch, seeds: Option<Seeds>, first: i64) -> Result<Encoded> {
        let Need { forward, tokens } = need;
        let input = match forward.modality {
            Modality::Image => chunk.image(&forward.view)?,
            Modality::Text => chunk.text(&forward.view)?,
        };
        let net = self.net(forward.modality)?;
        // A locked tower is a function that training does not change: no dropout, no running statistics, no graph.
        let _no_grad = net.locked.then(tch::no_grad_guard);
        let seeds = seeds.filter(|_| !net.locked);
        let again = self.recompute.then_some(recompute::again as Recompute);
        let noise = |rows: &mut dyn Iterator<Item = i64>| {
            let noise = |seeds: Seeds| seeds.noise(forward, rows.map(|row| first + row), input.device());
            seeds.map(noise).map(|noise| noise.keeping(net.kept.clone()).recomputing(again))
        };
        if let InputSpec::Text { pad, truncates: true, .. } = net.input
            && !tokens
        {
            let groups = length_groups::groups(input, pad)?;
            if groups.len() > 1 {
                return length_groups::encode(input, &groups, |ids, rows| {
                    self.encode(forward.modality, ids, false, noise(&mut rows.iter().copied()).as_ref())
                });
            }
        }
        self.encode(forward.modality, input, *tokens, noise(&mut (0..chunk.rows())).as_ref())
    }
}

/// Whether a name is the prefix or lies below it.
pub(super) fn under(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The seeds of a step's random numbers: a pure function of (seed, step, row of the global batch, view).
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// Of the run and the step.
    pub step: u64,
    /// Row of the global batch at which this process's rows begin.
    pub offset: i64,
}

impl Seeds {
    /// Of the rows of a process, counted from its first.
    fn noise(self, forward: &Forward, rows: impl Iterator<Item = i64>, device: Device) -> Noise {
        let whose = if forward.weights == Weights::Average { ".average" } else { "" };
        let view = seed_of_name(&format!("{}.{}{whose}", forward.modality, forward.view));
        let seed = |row: i64| seed_of(&[self.step, view, (self.offset + row) as u64]) as i64;
        Noise::new(Tensor::from_slice(&rows.map(seed).collect::<Vec<_>>()).to_kind(Kind::Int64).to_device(device))
    }
}
