//! What the graph of a chunk takes, layer group by layer group, as few of its rows tell.

use tch::Tensor;
use vlhub_core::{Batch, Modality, Need, Result};
use vlhub_torch_ext::{metered_by_group, tensor_bytes};

use super::groups::Groups;
use super::step::{Engine, restore};
use super::towers::{Seeds, Towers, under};

/// Memory of one group of layers of a tower.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupMemory {
    /// Its tower; none for what belongs to no layer of one.
    pub modality: Option<Modality>,
    /// Its block, or the first of its stages.
    pub name: String,
    /// Whether it is a numbered block.
    pub is_block: bool,
    /// Whether that can be computed again in the backward pass.
    pub recomputes: bool,
    /// Bytes of its graph that do not grow with rows, such as weights in bfloat16.
    pub fixed: u64,
    /// Bytes of its graph for each row.
    pub each: u64,
    /// Bytes of the gradients of its weights.
    pub gradients: u64,
}

/// Memory of the graph of a chunk, from input to output, the image tower first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GraphMemory {
    /// The groups of layers, and the rest at their end.
    pub groups: Vec<GroupMemory>,
}

impl GraphMemory {
    /// Bytes that do not grow with rows.
    pub fn fixed(&self) -> u64 {
        self.groups.iter().map(|group| group.fixed).sum()
    }

    /// Bytes of each row.
    pub fn each(&self) -> u64 {
        self.groups.iter().map(|group| group.each).sum()
    }

    /// Bytes of each row in the largest block that can be computed again.
    pub fn largest_block(&self) -> u64 {
        self.groups.iter().filter(|group| group.recomputes).map(|group| group.each).max().unwrap_or(0)
    }
}

/// Bytes of a tensor's numbers.
pub(super) fn bytes(tensor: &Tensor) -> u64 {
    tensor_bytes(tensor) as u64
}

impl Towers {
    /// The groups of layers of both towers, and last one for everything else; and every weight with its group.
    fn layer_groups(&self) -> (Vec<GroupMemory>, Vec<(Tensor, usize)>) {
        let mut groups: Vec<GroupMemory> = Vec::new();
        let mut prefixes: Vec<(Modality, String, usize)> = Vec::new();
        for modality in [Modality::Image, Modality::Text] {
            let Ok(Groups { lockable, open }) = self.groups(modality) else { continue };
            for stages in lockable.into_iter().chain([open]).filter(|stages| !stages.is_empty()) {
                let block = stages.iter().find(|stage| Groups::has_block(std::slice::from_ref(*stage)));
                let (name, is_block) = (block.unwrap_or(&stages[0]).clone(), block.is_some());
                let recomputes = is_block && self.can_recompute(modality);
                prefixes.extend(stages.into_iter().map(|stage| (modality, stage, groups.len())));
                groups.push(GroupMemory { modality: Some(modality), name, is_block, recomputes, ..GroupMemory::default() });
            }
        }
        let rest = groups.len();
        groups.push(GroupMemory { name: "others".into(), ..GroupMemory::default() });
        let group_of = |name: &str| {
            let owner = self.owner(name)?;
            let inside = self.inside(owner, name);
            prefixes.iter().find(|(modality, prefix, _)| *modality == owner && under(inside, prefix)).map(|(.., group)| *group)
        };
        let mut weights = Vec::new();
        for (name, tensor) in self.variables() {
            let group = group_of(&name).unwrap_or(rest);
            if tensor.requires_grad() {
                groups[group].gradients += bytes(&tensor);
            }
            weights.push((tensor, group));
        }
        (groups, weights)
    }
}

impl Engine {
    /// Measures the graph of `count` and of twice as many rows, spread over `batch`: what does not grow with them is told apart from what does.
    /// Running statistics are put back.
    pub(super) fn graph_memory(&self, batch: &Batch, count: i64, needs: &[Need], seeds: Option<Seeds>) -> Result<GraphMemory> {
        let (mut groups, weights) = self.towers.layer_groups();
        let count = count.min(batch.rows()).max(1);
        let places: Vec<i64> = (0..count).map(|at| at * batch.rows() / count).collect();
        let measured = |places: &[i64]| -> Result<Vec<i64>> {
            let rows = batch.permuted(&Tensor::f_from_slice(places)?.f_to_device(self.towers.vars.device())?);
            let buffers = self.buffers();
            let ran = metered_by_group(&weights, groups.len(), || self.features(&rows, needs, seeds, 0));
            restore(buffers)?;
            let (features, live) = ran?;
            drop(features?);
            Ok(live)
        };
        let once = measured(&places)?;
        let twice = measured(&[places.as_slice(), places.as_slice()].concat())?;
        // What came before any weight belongs to the first layers.
        let of = |live: &[i64], group: usize| if group == 0 { live[0] + live[live.len() - 1] } else { live[group] };
        for (at, group) in groups.iter_mut().enumerate() {
            let each = (of(&twice, at) - of(&once, at)).max(0) / count;
            group.each = each as u64;
            group.fixed = (of(&once, at) - each * count).max(0) as u64;
        }
        Ok(GraphMemory { groups })
    }
}
