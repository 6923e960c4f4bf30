//! Several processes.

use crate::compat::flag::{
    CompatFlag,
    FlagOrigin::{Both, OpenClipMain},
    FlagValue::{OneOf, Switch, Text},
};

/// Several processes.
pub(super) const PROCESSES: &[CompatFlag] = &[
    CompatFlag::refused(
        "dist-url",
        Both,
        Text,
        "where processes meet",
        "this release runs one process; gradient caching (`--gc`) makes batches of any size on one GPU",
    ),
    CompatFlag::told("dist-backend", Both, Text, "how processes talk", "this release runs one process"),
    CompatFlag::ignored("local-loss", Both, Switch, "each process its rows of the logits", "the loss is exact"),
    CompatFlag::ignored("gather-with-grad", Both, Switch, "gradients through gathered features", "gradients are exact"),
    CompatFlag::ignored("ddp-static-graph", Both, Switch, "a fixed graph for DDP", "this release runs one process"),
    CompatFlag::ignored("no-set-device-rank", Both, Switch, "keep the device", "this release runs one process; `device` names the GPU"),
    CompatFlag::told("use-bn-sync", Both, Switch, "batch norm over all processes", "this release runs one process"),
    CompatFlag::refused(
        "horovod",
        Both,
        Switch,
        "Horovod",
        "this release runs one process; gradient caching (`--gc`) makes batches of any size on one GPU",
    ),
    CompatFlag::refused(
        "fsdp",
        OpenClipMain,
        Switch,
        "weights spread over processes",
        "this release runs one process; gradient caching (`--gc`) makes batches of any size on one GPU",
    ),
    CompatFlag::refused("fsdp-no-reshard-after-forward", OpenClipMain, Switch, "keep gathered weights", "belongs to `--fsdp`"),
    CompatFlag::refused("fsdp-offload-cpu", OpenClipMain, Switch, "weights in main memory", "belongs to `--fsdp`"),
    CompatFlag::ignored(
        "fsdp-checkpoint",
        OpenClipMain,
        OneOf(&["full", "sharded"]),
        "kind of checkpoint",
        "belongs to `--fsdp`; a checkpoint is one file",
    ),
];
