//! Sounds, and pictures of any shape.

use crate::compat::flag::{
    CompatFlag,
    FlagOrigin::OpenClipMain,
    FlagValue::{Number, Numbers, OneOf, Switch, Text, Whole, Wholes},
};

/// Why flags of sounds are refused.
const AUDIO: &str = "VL Hub reads pictures and texts, no sounds";

/// Why flags of NaFlex are refused.
const NAFLEX: &str = "pictures have one size, that of the image tower; patch dropout (`--force-patch-dropout`) shortens sequences";

/// Sounds, and pictures of any shape.
pub(super) const OTHERS: &[CompatFlag] = &[
    CompatFlag::refused("audio-ext", OpenClipMain, Text, "suffix of sounds", AUDIO),
    CompatFlag::refused("audio-fill", OpenClipMain, OneOf(&["pad", "repeat", "repeatpad"]), "how short sounds are filled", AUDIO),
    CompatFlag::refused("audio-trunc", OpenClipMain, OneOf(&["rand_trunc", "trunc", "fusion"]), "how long sounds are cut", AUDIO),
    CompatFlag::refused("audio-fusion", OpenClipMain, Switch, "several cuts of long sounds", AUDIO),
    CompatFlag::refused("audio-int16-normalize", OpenClipMain, Switch, "16 bits of sounds", AUDIO),
    CompatFlag::refused("audio-layer-decay", OpenClipMain, Number, "rates by layer, audio tower", AUDIO),
    CompatFlag::refused("audio-multiprocessing-context", OpenClipMain, OneOf(&["fork", "forkserver", "spawn"]), "how loaders start", AUDIO),
    CompatFlag::refused("audio-zeroshot-dataset", OpenClipMain, Text, "sounds to measure on", AUDIO),
    CompatFlag::refused("audio-zeroshot-split", OpenClipMain, Text, "split of the sounds", AUDIO),
    CompatFlag::refused("audio-zeroshot-audio-key", OpenClipMain, Text, "column of the sounds", AUDIO),
    CompatFlag::refused("audio-zeroshot-target-key", OpenClipMain, Text, "column of the labels", AUDIO),
    CompatFlag::refused("audio-zeroshot-class-key", OpenClipMain, Text, "column of class names", AUDIO),
    CompatFlag::refused("audio-zeroshot-template", OpenClipMain, Text, "prompt", AUDIO),
    CompatFlag::refused("audio-zeroshot-workers", OpenClipMain, Whole, "loaders", AUDIO),
    CompatFlag::refused(
        "audio-zeroshot-multiprocessing-context",
        OpenClipMain,
        OneOf(&["fork", "forkserver", "spawn"]),
        "how loaders start",
        AUDIO,
    ),
    CompatFlag::refused("pretrained-audio", OpenClipMain, Text, "weights of the audio tower", AUDIO),
    CompatFlag::refused("use-naflex", OpenClipMain, Switch, "pictures of any shape", NAFLEX),
    CompatFlag::refused("force-naflex-vision", OpenClipMain, Switch, "towers for pictures of any shape", NAFLEX),
    CompatFlag::refused("naflex-num-train-image-tokens", OpenClipMain, Whole, "tokens of an epoch", NAFLEX),
    CompatFlag::refused("naflex-patch-sizes", OpenClipMain, Wholes, "patch sizes", NAFLEX),
    CompatFlag::refused("naflex-patch-size-probs", OpenClipMain, Numbers, "how often each is taken", NAFLEX),
    CompatFlag::refused("naflex-seq-lens", OpenClipMain, Wholes, "sequence lengths", NAFLEX),
    CompatFlag::refused("naflex-seq-len-probs", OpenClipMain, Numbers, "how often each is taken", NAFLEX),
    CompatFlag::refused("naflex-max-tokens-per-batch", OpenClipMain, Whole, "tokens of a batch", NAFLEX),
    CompatFlag::refused("naflex-max-text-tokens", OpenClipMain, Whole, "tokens of a caption", NAFLEX),
    CompatFlag::refused("naflex-batch-divisor", OpenClipMain, Whole, "divisor of batch sizes", NAFLEX),
    CompatFlag::refused("naflex-loss-scale", OpenClipMain, OneOf(&["none", "linear", "sqrt"]), "scale of the loss", NAFLEX),
    CompatFlag::refused("naflex-pad-multiple", OpenClipMain, Whole, "round lengths up", NAFLEX),
];
