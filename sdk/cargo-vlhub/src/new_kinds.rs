//! What the crates of the seven kinds of plugins differ in.

/// Kinds of plugins that have a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A tower: pictures or token ids to features.
    Backbone,
    /// A training signal: features to a loss.
    Objective,
    /// A change of a training picture.
    Augmentation,
    /// A change of a training text.
    Caption,
    /// A suite of measurements: a model to numbers.
    Suite,
    /// Where samples come from.
    Source,
    /// Where files come from that are not on this machine.
    Store,
}

/// What stands in the files of a crate of one kind. The parts of the run file that the kind does not speak of are those of [`PLAIN`].
#[derive(Debug)]
pub struct Parts {
    /// The kind in words.
    pub kind: &'static str,
    /// The same with its article, as a sentence begins.
    pub a_kind: &'static str,
    /// The source file in `src`, without `.rs`.
    pub module: &'static str,
    /// Its text.
    pub source: &'static str,
    /// What the plugin of the template does.
    pub summary: &'static str,
    /// What is in the source file.
    pub what: &'static str,
    /// What the run file shows of it.
    pub used: &'static str,
    /// The image tower.
    pub tower: &'static str,
    /// Views, each behind an empty line.
    pub view: &'static str,
    /// Key and options of the objective, from behind the opening bracket.
    pub objective: &'static str,
    /// The training data.
    pub data: &'static str,
    /// The suite.
    pub suite: &'static str,
}

const PLAIN: Parts = Parts {
    kind: "",
    a_kind: "",
    module: "",
    source: "",
    summary: "",
    what: "",
    used: "trained with `@snake@` on the embedded data set",
    tower: "use = \"vit\"\nimage_size = 32\nwidth = 64\nlayers = 2\nheads = 2",
    view: "",
    objective: "clip]",
    data: "use = \"shapes\"\nsize = 32",
    suite: "[eval.unseen_combinations]\nuse = \"zeroshot\"\ndata = { use = \"shapes\", split = \"held_out\", size = 32 }",
};

impl Kind {
    /// What a crate of this kind has.
    pub fn parts(self) -> Parts {
        match self {
            Self::Backbone => Parts {
                kind: "backbone",
                a_kind: "A backbone",
                module: "tower",
                source: include_str!("../template/backbone.rs.in"),
                summary: "an image tower of convolutional blocks over patches",
                what: "The tower",
                tower: "use = \"@snake@\"\nimage_size = 32\npatch_size = 4\nwidth = 64\nlayers = 2",
                ..PLAIN
            },
            Self::Objective => Parts {
                kind: "objective",
                a_kind: "An objective",
                module: "loss",
                source: include_str!("../template/objective.rs.in"),
                summary: "a hinge over pairs of an image and a text",
                what: "The mathematics",
                objective: "@snake@]\nmargin = 0.2",
                ..PLAIN
            },
            Self::Augmentation => Parts {
                kind: "augmentation",
                a_kind: "An augmentation",
                module: "augmentation",
                source: include_str!("../template/augmentation.rs.in"),
                summary: "random erasing of a part of the picture",
                what: "What happens to pixels",
                view: "\n[view.image.main]\naugment = [{ use = \"@snake@\", p = 0.5 }]\n",
                ..PLAIN
            },
            Self::Caption => Parts {
                kind: "caption transform",
                a_kind: "A caption transform",
                module: "transform",
                source: include_str!("../template/caption.rs.in"),
                summary: "random deletion of words",
                what: "What happens to words",
                view: "\n[view.text.main]\ntransform = [\"choose\", { use = \"@snake@\", p = 0.1 }]\n",
                ..PLAIN
            },
            Self::Suite => Parts {
                kind: "evaluation suite",
                a_kind: "An evaluation suite",
                module: "suite",
                source: include_str!("../template/suite.rs.in"),
                summary: "zero-shot accuracy in which every class counts the same",
                what: "The measurement",
                used: "trained on the embedded data set and measured by `@snake@`",
                suite: "[eval.@snake@]\ndata = { use = \"shapes\", split = \"held_out\", size = 32 }",
                ..PLAIN
            },
            Self::Source => Parts {
                kind: "data source",
                a_kind: "A data source",
                module: "source",
                source: include_str!("../template/source.rs.in"),
                summary: "pictures of one colour each, made as they are read",
                what: "Where samples come from",
                used: "trained on `@snake@`",
                data: "use = \"@snake@\"\nsize = 32",
                suite: "[eval.colours]\nuse = \"zeroshot\"\ndata = { use = \"@snake@\", samples = 200 }",
                ..PLAIN
            },
            Self::Store => Parts {
                kind: "object store",
                a_kind: "An object store",
                module: "store",
                source: include_str!("../template/store.rs.in"),
                summary: "shards of pictures of one colour each, made when they are asked for",
                what: "Where files come from",
                used: "trained on shards of `@snake@`",
                data: "use = \"webdataset\"\nshards = \"@snake@://128.tar\"\nimage_key = \"bmp\"\n\n[store.@snake@]\nsize = 32",
                ..PLAIN
            },
        }
    }
}
