//! Flags of `vlhub data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::PictureArgs;

/// `vlhub data`.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Pack a folder of pictures or a CSV into WebDataset shards.
    Pack(PackArgs),
    /// Read every sample of a data set and report what cannot be used.
    Check(DataCheckArgs),
    /// Write a batch of a run as a picture, after augmentation, with its captions beside it, without building the model.
    Preview(PreviewArgs),
    /// What a data set is like: formats and sizes of pictures, lengths of captions, classes.
    Stats(StatsArgs),
    /// List the files that were fetched or unpacked, or remove them.
    Cache(CacheArgs),
    /// Run the caption transforms over a whole data set without decoding a picture: what is kept, what is dropped, and the classes.
    Match(DataMatchArgs),
    /// Write an index file for each shard, so that runs need not read its headers again, and say what of it is damaged.
    Index(IndexArgs),
}

/// `vlhub data stats`.
///
/// Headers of pictures are read, and captions are tokenised as the run does it, or as CLIP does where there is no run. Views are not applied:
/// these are the data as they are.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// A run file (its `[data.train]`), a folder, a CSV or TSV, or shards.
    pub data: String,
    /// Options of the data source.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// How many samples are looked at, evenly spread; 0 for all.
    #[arg(long, default_value_t = 10_000)]
    pub samples: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub data cache`.
///
/// Files of web servers and object stores, what commands wrote, and unpacked shards are kept in one folder for all runs, and are not asked for
/// again. `VLHUB_DATA_CACHE` names the folder, `VLHUB_DATA_CACHE_SIZE` the most that it holds (200 GiB).
#[derive(Debug, Args)]
pub struct CacheArgs {
    /// Only files whose place contains this, or fits it with `*` and `?`.
    pub pattern: Option<String>,
    /// Remove them, unless a running process reads them.
    #[arg(long)]
    pub clear: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub data index`.
///
/// `00000.tar.vidx` goes beside `00000.tar`, or into `~/.cache/vlhub/index` where that place cannot be written. It is used while the shard has the same
/// size, time of change and ends; a stale or damaged one is passed over with a note.
#[derive(Debug, Args)]
pub struct IndexArgs {
    /// Shards (`"cc3m/{00000..00331}.tar"`), a folder of shards, or a run file whose `[data.train]` is `webdataset`.
    pub data: String,
    /// Options of the data source.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Print every sample and every loss as a line of JSON (shard, key, offset and size of each member), and write nothing.
    #[arg(long)]
    pub list: bool,
    /// Print JSON: what each shard holds.
    #[arg(long, conflicts_with = "list")]
    pub json: bool,
}

/// `vlhub data preview`.
///
/// The batch is the one that training gets at this step: same samples, same draws.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// The run file.
    pub file: PathBuf,
    /// Options laid over the file.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// The picture to write (PNG); captions go to the same name with `.txt`.
    #[arg(long, default_value = "preview.png")]
    pub out: PathBuf,
    /// The step, from 0.
    #[arg(long, default_value_t = 0)]
    pub step: u64,
}

/// `vlhub data match`.
///
/// Draws the random numbers of the first epoch, with each sample at its place in the data. Exit status 3 when no sample is left.
#[derive(Debug, Args)]
pub struct DataMatchArgs {
    /// A run file (its `[data.train]` and `[view.text.*]`), a folder, a CSV or TSV, or shards.
    pub data: String,
    /// Options of the data source.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// A caption transform, in place of those of the run file; may be repeated, and runs in this order: a name, or a table such as
    /// `{use="match_labels",mode="multi"}`.
    #[arg(long, value_name = "TRANSFORM")]
    pub transform: Vec<String>,
    /// Samples that are shown of what is kept, and of what is dropped.
    #[arg(long, default_value_t = 5)]
    pub examples: usize,
    /// Classes that are shown, those with the most captions first.
    #[arg(long, default_value_t = 10)]
    pub top: usize,
    /// Write a line of JSON for each sample: its key, and its captions and labels after the transforms, or why it has none.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub data check`.
///
/// Of a run file, samples are asked for what its objectives read, so it finds what training finds. Of other data it says how many samples are
/// usable as pictures with captions, as pictures with labels and as pictures alone. Exit status 3 when a sample cannot be used.
#[derive(Debug, Args)]
pub struct DataCheckArgs {
    /// A run file (its `[data.train]`), a folder, a CSV, TSV, Parquet table or `.xlsx`, or shards.
    pub data: String,
    /// Options of the data source.
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// How pictures are decoded.
    #[command(flatten)]
    pub pictures: PictureArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `vlhub data pack`.
#[derive(Debug, Args)]
pub struct PackArgs {
    /// A folder of pictures, with a sub-folder for each class if there are classes; a CSV, TSV, Parquet table (or a folder of such) or `.xlsx`.
    pub input: PathBuf,
    /// The folder to write; must not hold shards yet.
    #[arg(long)]
    pub out: PathBuf,
    /// Samples in a shard.
    #[arg(long, default_value_t = 10_000)]
    pub shard_size: usize,
    /// Column of the picture; `filepath` by default, `image` of a Parquet table.
    #[arg(long)]
    pub img_key: Option<String>,
    /// Column of the caption; `title` by default, `text` of a Parquet table. Empty: pictures without captions.
    #[arg(long)]
    pub caption_key: Option<String>,
    /// Column of the class label; none by default, `label` of a Parquet table.
    #[arg(long)]
    pub label_key: Option<String>,
    /// File of class names, one a line.
    #[arg(long)]
    pub classes: Option<PathBuf>,
    /// Separator of columns; by default a tab, or a comma in a `.csv`.
    #[arg(long)]
    pub csv_separator: Option<String>,
    /// Lay transparent pictures on this colour: `white`, `black` or `#rrggbb`. Without it pictures are packed as they are.
    #[arg(long)]
    pub background: Option<String>,
    /// Shrink pictures whose shorter side has more pixels, so that it has as many (img2dataset's `keep_ratio`): JPEG stays JPEG, at quality 95,
    /// others become PNG. Without it pictures are packed as they are.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(1..))]
    pub resize: Option<u16>,
    /// How pictures are decoded.
    #[command(flatten)]
    pub pictures: PictureArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
