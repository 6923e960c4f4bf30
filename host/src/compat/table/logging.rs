//! Runs, checkpoints and logs.

use crate::compat::flag::{
    CompatFlag,
    FlagOrigin::{Both, OpenClip, OpenClipMain, VlHub},
    FlagValue::{OneOf, Switch, Text, Whole},
};

/// Runs, checkpoints and logs.
pub(super) const LOGGING: &[CompatFlag] = &[
    CompatFlag::translated("logs", Both, Text, "folder of all runs", "logs", "`none` is refused: a run has a folder"),
    CompatFlag::option("name", Both, Text, "name of the run", "name", ""),
    CompatFlag::ignored("log-local", Both, Switch, "a log for each machine", "there is one log"),
    CompatFlag::own(
        "resume",
        Both,
        Text,
        "go on with a run",
        "`latest`, `auto`, or a checkpoint of VL Hub. A file of other programs has no optimiser state that fits: `--pretrained FILE` takes its weights. With `vlhub eval` any weights",
    ),
    CompatFlag::translated("fine-tune", VlHub, Switch, "weights of `--resume`, a new optimiser", "pretrained", ""),
    CompatFlag::translated(
        "save-frequency",
        Both,
        Whole,
        "epochs between two checkpoints",
        "train.keep_last",
        "one after every epoch, all kept: those asked for are among them",
    ),
    CompatFlag::ignored("save-most-recent", Both, Switch, "keep the newest checkpoint", "it is always kept"),
    CompatFlag::translated(
        "delete-previous-checkpoint",
        OpenClip,
        Switch,
        "keep the newest checkpoint alone",
        "train.keep_last = 2",
        "the two newest",
    ),
    CompatFlag::option("log-every-n-steps", OpenClip, Whole, "steps between two lines of the log", "train.log_every", ""),
    CompatFlag::told(
        "log-metric-every-n-steps",
        OpenClipMain,
        Whole,
        "steps between two measured values",
        "values are logged with the lines, `--log-every-n-steps`",
    ),
    CompatFlag::ignored(
        "train-loss-ema-samples",
        OpenClipMain,
        Whole,
        "smoothing of the loss on the screen",
        "curves are smoothed where they are shown",
    ),
    CompatFlag::translated("report-to", Both, Text, "loggers", "report_to", "`all` is `tensorboard` and `wandb`"),
    CompatFlag::option("wandb-notes", Both, Text, "notes for Weights & Biases", "log.wandb.notes", ""),
    CompatFlag::option(
        "wandb-project-name",
        OpenClip,
        Text,
        "project for Weights & Biases",
        "log.wandb.project",
        "`vlhub` without it; there `open-clip`",
    ),
    CompatFlag::option("project", VlHub, Text, "project for Weights & Biases", "log.wandb.project", ""),
    CompatFlag::told(
        "debug",
        Both,
        Switch,
        "tell more",
        "there is one level of detail; `parameters.tsv` and `skipped.jsonl` of the run have more",
    ),
    CompatFlag::told(
        "copy-codebase",
        Both,
        Switch,
        "copy the program",
        "there is one program; the run keeps every option in `config.toml`",
    ),
    CompatFlag::refused(
        "remote-sync",
        OpenClip,
        Text,
        "copy the run elsewhere",
        "copy `logs/NAME` by a tool of your own; a checkpoint is complete or not there at every moment",
    ),
    CompatFlag::ignored("remote-sync-frequency", OpenClip, Whole, "seconds between two copies", "belongs to `--remote-sync`"),
    CompatFlag::ignored("remote-sync-protocol", OpenClip, OneOf(&["s3", "fsspec"]), "how it is copied", "belongs to `--remote-sync`"),
];
