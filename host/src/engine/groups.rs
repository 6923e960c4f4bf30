//! Groups of a tower's layers, from input to output, as open_clip locks them (`--lock-image-unlocked-groups`, `--lock-text-unlocked-layers`)
//! and as layer-wise rates count them.
//!
//! A backbone names its stages finely. What comes before the first numbered block is one group, each numbered block is one, and a layer
//! between two blocks is a group, or belongs to the block behind it where it only makes the map smaller, as in timm. The rest differs by
//! maker, and so does what locking a whole tower leaves open.

/// The naming scheme of a tower's layers, by their maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NamingScheme {
    /// open_clip's own towers: the last block takes the norm behind it, and the projection is the last group.
    OpenClip,
    /// timm's networks under `trunk`: the head around the trunk is never locked.
    Timm,
    /// Hugging Face's under `transformer`: pooler and projection are never locked by groups.
    HuggingFace,
}

/// What timm's matchers leave to a group of its own behind the blocks; every other layer there joins the last block.
const HEADS: [&str; 3] = ["trunk.head", "trunk.fc_norm", "trunk.attn_pool"];

/// Adds stages to the last group.
fn join(groups: &mut Vec<Vec<String>>, stages: Vec<String>) {
    match groups.last_mut() {
        Some(last) => last.extend(stages),
        None => groups.push(stages),
    }
}

/// The groups of a tower's layers, for locking and layer-wise learning rates.
#[derive(Debug)]
pub struct Groups {
    /// Stages and projections of each group that can be locked, from input to output.
    pub lockable: Vec<Vec<String>>,
    /// What stays open however many groups are locked.
    pub open: Vec<String>,
}

impl Groups {
    /// Of a tower with these stages and these prefixes of its projection.
    pub fn of(stages: &[String], projection: &[String]) -> Self {
        let maker = match stages {
            _ if stages.iter().any(|stage| stage.starts_with("trunk.")) => NamingScheme::Timm,
            _ if stages.iter().any(|stage| stage.starts_with("transformer.") && !stage.starts_with("transformer.resblocks")) => {
                NamingScheme::HuggingFace
            }
            _ => NamingScheme::OpenClip,
        };
        let inner = |stage: &&String| maker != NamingScheme::Timm || stage.starts_with("trunk.");
        let mut groups: Vec<Vec<String>> = Vec::new();
        let mut waiting: Vec<String> = Vec::new();
        for stage in stages.iter().filter(inner) {
            if !is_block(stage) {
                waiting.push(stage.clone());
                continue;
            }
            // What waited joins the block where it only makes the map smaller for it.
            let joins = waiting.iter().all(|stage| stage.ends_with(".downsample"));
            if !joins {
                groups.push(std::mem::take(&mut waiting));
            }
            groups.push(waiting.drain(..).chain([stage.clone()]).collect());
        }
        let mut open: Vec<String> = stages.iter().filter(|stage| !inner(stage)).cloned().collect();
        match maker {
            NamingScheme::OpenClip => {
                join(&mut groups, std::mem::take(&mut waiting));
                groups.push(projection.to_vec());
            }
            NamingScheme::Timm => {
                // FastViT's matcher leaves out the last convolution, NF-RegNet's has it; only FastViT calls its blocks so.
                let fastvit = groups.last().is_some_and(|last| last.iter().any(|stage| stage.contains(".blocks.")));
                let is_own = |stage: &String| HEADS.iter().any(|head| stage.starts_with(head)) || fastvit && stage == "trunk.final_conv";
                let (own, joined) = waiting.drain(..).partition(is_own);
                join(&mut groups, joined);
                groups.push(own);
                open.extend_from_slice(projection);
            }
            NamingScheme::HuggingFace => {
                open.append(&mut waiting);
                open.extend_from_slice(projection);
            }
        }
        groups.retain(|group| !group.is_empty());
        Self { lockable: groups, open }
    }

    /// Whether one of these stages is a numbered block.
    pub fn has_block(stages: &[String]) -> bool {
        stages.iter().any(|stage| is_block(stage))
    }

    /// What is locked when all but the last `unlocked` groups are; 0 locks the whole tower but for what stays open.
    pub fn locked(&self, unlocked: usize) -> impl Iterator<Item = &String> {
        self.lockable[..self.lockable.len().saturating_sub(unlocked)].iter().flatten()
    }

    /// Groups between the tower's output and each prefix: 0 for the projection and whatever else is last.
    pub fn depths(&self) -> Vec<(&str, usize)> {
        let last = self.lockable.len();
        let closed = self.lockable.iter().enumerate();
        // A projection that is a group of its own is the output.
        let outside = usize::from(!self.open.is_empty());
        let closed = closed.flat_map(move |(at, group)| group.iter().map(move |prefix| (prefix.as_str(), last - 1 - at + outside)));
        closed.chain(self.open.iter().map(|prefix| (prefix.as_str(), 0))).collect()
    }
}

/// `transformer.resblocks.3`, `trunk.stages.1.blocks.0`, `trunk.layer2.0`, `trunk.s1.b2`: a block by its number.
fn is_block(stage: &str) -> bool {
    let mut parts = stage.rsplit('.');
    let last = parts.next().unwrap_or_default();
    let numbered = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // RegNets say `b1`.
    numbered(last) || (last.strip_prefix('b').is_some_and(numbered) && parts.next().is_some_and(|part| part.starts_with('s')))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use vlhub_core::{Modality, Registry};

    use super::*;
    use crate::config::RunConfig;
    use crate::config::document::Document;

    fn check(stages: &[&str], projection: &[&str], lockable: &[&[&str]], open: &[&str]) {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let groups = Groups::of(&own(stages), &own(projection));
        assert_eq!(groups.lockable, lockable.iter().map(|group| own(group)).collect::<Vec<_>>());
        assert_eq!(groups.open, own(open));
    }

    #[test]
    fn each_maker_has_its_own_groups() {
        let b = |index: usize| ["transformer.resblocks.0", "transformer.resblocks.1"][index];
        check(
            &["conv1", "class_embedding", "ln_pre", b(0), b(1), "ln_post"],
            &["proj"],
            &[&["conv1", "class_embedding", "ln_pre"], &[b(0)], &[b(1), "ln_post"], &["proj"]],
            &[],
        );
        check(
            &["trunk.patch_embed", "trunk.pos_embed", "trunk.blocks.0", "trunk.blocks.1", "trunk.norm"],
            &["head.proj"],
            &[&["trunk.patch_embed", "trunk.pos_embed"], &["trunk.blocks.0"], &["trunk.blocks.1", "trunk.norm"]],
            &["head.proj"],
        );
        check(
            &["trunk.stem", "trunk.stages.0.blocks.0", "trunk.stages.1.downsample", "trunk.stages.1.blocks.0", "trunk.head.norm"],
            &["head.proj"],
            &[
                &["trunk.stem"],
                &["trunk.stages.0.blocks.0"],
                &["trunk.stages.1.downsample", "trunk.stages.1.blocks.0"],
                &["trunk.head.norm"],
            ],
            &["head.proj"],
        );
        let layer = "transformer.encoder.layer.0";
        check(
            &["transformer.embeddings", layer, "transformer.pooler"],
            &["proj.0"],
            &[&["transformer.embeddings"], &[layer]],
            &["transformer.pooler", "proj.0"],
        );
    }

    #[test]
    fn locking_counts_from_the_output() {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let groups = Groups::of(&own(&["conv1", "transformer.resblocks.0", "transformer.resblocks.1", "ln_post"]), &own(&["proj"]));
        let locked = |unlocked| groups.locked(unlocked).cloned().collect::<Vec<_>>();
        assert_eq!(locked(0).len(), 5, "everything, the projection too");
        assert_eq!(locked(2), ["conv1", "transformer.resblocks.0"], "all but the projection and the last block with its norm");
        assert!(locked(9).is_empty());
        let depths = groups.depths();
        let depth = |name: &str| depths.iter().find(|(prefix, _)| *prefix == name).map(|(_, depth)| *depth);
        assert_eq!((depth("proj"), depth("ln_post"), depth("conv1")), (Some(0), Some(1), Some(3)));
    }

    /// What stays open in open_clip and timm, for every family and every number of open groups (tests/golden/locks.py).
    #[test]
    fn every_family_is_locked_as_in_open_clip() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/locks.json");
        let golden: Value = serde_json::from_str(&std::fs::read_to_string(file).expect("tests/golden/locks.py writes it")).expect("JSON");
        let registry = Registry::linked().expect("no duplicates");
        let mut problems = Vec::new();
        for case in golden["cases"].as_array().expect("a list") {
            let plugin = case["plugin"].as_str().expect("a name");
            let text = ["text_transformer", "roberta_base"].contains(&plugin);
            let mut options = case["options"].as_object().expect("a table").clone();
            options.insert("use".into(), plugin.into());
            let which = if text { "text" } else { "image" };
            let tree = json!({"embed": 8, "custom_text": true, "backbone": {which: options}});
            let mut document = Document::default();
            document.tree = tree.as_object().expect("a table").clone();
            let config = RunConfig::of(&document, &registry).unwrap_or_else(|failure| panic!("{plugin}: {failure}"));
            let modality = if text { Modality::Text } else { Modality::Image };
            let mut wanted: Vec<String> = Vec::new();
            for (unlocked, more) in case["open"].as_array().expect("a list").iter().enumerate() {
                wanted.extend(more.as_array().expect("each opens more").iter().map(|name| name.as_str().expect("a name").to_owned()));
                wanted.sort();
                let open = vlhub_torch_ext::on_paper(|| {
                    let mut session = crate::session::on_shapes(&config).unwrap_or_else(|failure| panic!("{plugin}: {failure}"));
                    session.towers.lock(modality, unlocked).unwrap_or_else(|error| panic!("{plugin}: {error}"));
                    let trained = session.towers.trained().into_iter();
                    trained.map(|(name, _)| session.towers.inside(modality, &name).to_owned()).collect::<Vec<_>>()
                })
                .expect("it runs on paper")
                .0;
                if open != wanted {
                    let only = |a: &[String], b: &[String]| a.iter().filter(|name| !b.contains(name)).take(4).cloned().collect::<Vec<_>>();
                    problems.push(format!(
                        "{plugin}, {unlocked} open: not open there {:?}, not open here {:?}",
                        only(&open, &wanted),
                        only(&wanted, &open)
                    ));
                    break;
                }
            }
        }
        assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), golden["origin"], problems.join("\n"));
    }
}
