//! Data sources: where samples come from, and what a run asks of them.

use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};

use image::RgbImage;
use serde::Serialize;

use crate::{Caption, Result};

/// Random access to samples. Their order, their pixels and all randomness are the host's business.
///
/// A source is told what is read of its samples ([`Wants`]) and judges them by nothing else: a picture that no objective reads may be broken,
/// or missing. Whatever cannot be used is a [`Bad`] with its place and its class of reason; nothing is lost silently.
///
/// Several threads call [`Source::read`] at a time, each sample in any order and more than once; it must give the same each time.
///
/// # Examples
/// A source of pictures that are stored as `0.png`, `1.png`, … in one folder:
///
/// ```
/// use std::path::PathBuf;
/// use vlhub_core::{Bad, Caption, Config, Error, Picture, Raw, Result, Source, SourceCx};
///
/// #[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct NumberedConfig {
///     /// The folder.
///     path: String,
/// }
///
/// impl Config<dyn Source> for NumberedConfig {
///     fn build(&self, cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
///         // Relative paths start at the run file's folder.
///         let folder = cx.folder.join(&self.path);
///         cx.wants.refuse_missing("numbered", &["picture"])?;
///         let count = (0..).take_while(|number| folder.join(format!("{number}.png")).exists()).count();
///         if count == 0 {
///             return Err(Error::invalid(format!("{} holds no `0.png`", folder.display())));
///         }
///         Ok(Box::new(Numbered { folder, count }))
///     }
/// }
///
/// #[derive(Debug)]
/// struct Numbered {
///     folder: PathBuf,
///     count: usize,
/// }
///
/// impl Source for Numbered {
///     fn len(&self) -> usize {
///         self.count
///     }
///     fn key(&self, index: usize) -> String {
///         format!("{index}.png")
///     }
///     fn read(&self, index: usize) -> Result<Raw, Bad> {
///         let key = self.key(index);
///         let bytes = std::fs::read(self.folder.join(&key))
///             .map_err(|error| Bad { place: key.clone(), key: key.clone(), reason: "unreadable file", detail: error.to_string() })?;
///         Ok(Raw { key, picture: Some(Picture::Encoded(bytes)), caption: Caption::default() })
///     }
///     fn fingerprint(&self) -> String {
///         format!("numbered:{}", self.count)
///     }
/// }
/// # let error = NumberedConfig::default().build(&SourceCx::new(std::path::Path::new("/nowhere"))).unwrap_err();
/// # assert!(error.to_string().contains("0.png"));
/// ```
///
/// In a plugin crate `register!(dyn Source, "numbered", NumberedConfig);` makes it `use = "numbered"` in the run file's `[data.train]`.
pub trait Source: Debug + Send + Sync {
    /// How many samples it lists, each of them with all that is [required](Want::Required) as far as that shows without reading it.
    fn len(&self) -> usize;
    /// Whether it lists none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Name of a sample for people: shard and key, `table:line`, or file. `index` is below [`Source::len`].
    fn key(&self, index: usize) -> String;
    /// Reads one sample: what is wanted of it, and no more.
    ///
    /// # Errors
    /// The sample cannot be used: something required is missing, or something that is read is damaged. The others still can be.
    fn read(&self, index: usize) -> Result<Raw, Bad>;
    /// Class names in the order of labels: label `n` is the class `classes()[n]`. Empty when classes have no names.
    fn classes(&self) -> &[String] {
        &[]
    }
    /// Sentences about a class that the data set was published with, `{}` or `{c}` standing for the class name; empty where it has none. Suites
    /// use them where their options ask for those of the data.
    fn templates(&self) -> &[String] {
        &[]
    }
    /// Labels of the classes that its published evaluation asks for, where that is not all of [`Source::classes`]: ImageNet-A has pictures of 200
    /// of ImageNet's 1000 classes, and a model chooses among those alone. Empty where all are asked for.
    fn evaluated(&self) -> &[u32] {
        &[]
    }
    /// Whether samples have labels, named or not. Asked only of sources of which labels are wanted.
    fn labelled(&self) -> bool {
        !self.classes().is_empty()
    }
    /// A text that changes when the data change, and when what is wanted of them changes which samples are listed. It goes into checkpoints.
    fn fingerprint(&self) -> String;
    /// Its samples in the order of their indices, as shares that are drawn at different rates where a run draws with replacement. Together they
    /// are [`Source::len`] samples. By default there is one share.
    fn shares(&self) -> Vec<Share> {
        vec![Share { samples: self.len(), weight: 1.0 }]
    }
    /// Samples that were lost already while the source was indexed, and files that are none: damaged headers, rows without a picture, ….
    fn problems(&self) -> &[Bad] {
        &[]
    }
    /// Remarks on the data as a whole, for people: a class without pictures, an order that surprises.
    fn notes(&self) -> &[String] {
        &[]
    }
    /// The sampling unit of a sample, where samples are not independent of each other: those of one picture (its corruptions, a sample for
    /// each of its labels) have the same. Confidence intervals and paired tests draw whole units. `None` for a sample that is a unit of its
    /// own. `index` is below [`Source::len`].
    fn unit(&self, _index: usize) -> Option<String> {
        None
    }
}

/// What a source is built with.
#[derive(Clone, Copy)]
pub struct SourceCx<'a> {
    /// Folder of the run file: relative paths in options start here.
    pub folder: &'a Path,
    /// What is read of each sample.
    pub wants: Wants,
    /// How much is indexed.
    pub extent: Extent,
    /// What a source may ask of the host.
    pub host: &'a dyn SourceHost,
}

impl<'a> SourceCx<'a> {
    /// Everything that is there is read, and the whole source is indexed. Relative paths start at `folder`. There is no other source, and
    /// places are plain files.
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, wants: Wants::WHATEVER, extent: Extent::Whole, host: &NoHost }
    }
}

impl Debug for SourceCx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, wants, extent, .. } = self;
        f.debug_struct("SourceCx").field("folder", folder).field("wants", wants).field("extent", extent).finish_non_exhaustive()
    }
}

/// What a source may ask of the host while it is built.
pub trait SourceHost {
    /// Opens another source: `table` is one as in `[data.train]`, with `use` and options. For sources that are made of others.
    ///
    /// # Errors
    /// A table that names no source, options that it refuses, or data that cannot be opened.
    fn open(&self, table: &serde_json::Value, cx: &SourceCx<'_>) -> Result<Box<dyn Source>>;

    /// Makes local files of places: paths, which start at `cx.folder`, addresses (`https://…`, `s3://…`) and commands (`pipe:…`). What is
    /// elsewhere is brought, and what is compressed (gzip, Zstandard) is unpacked, into a cache, several at a time. A file that is not
    /// there is for the source to miss: its path comes back as it is. By default every place is a path.
    ///
    /// # Errors
    /// A scheme that no [store](crate::ObjectStore) serves, a store that refuses, or no room. Of a [glance](Extent::Glance)
    /// [`Error::Elsewhere`](crate::Error::Elsewhere), to be returned as it is.
    fn local(&self, places: &[String], cx: &SourceCx<'_>) -> Result<Vec<LocalFile>> {
        Ok(places.iter().map(|place| LocalFile::of(cx.folder.join(place))).collect())
    }

    /// The places that fit a pattern, sorted: `*` stands for any characters but `/`, and in paths `?` and `[…]` are patterns too. A place
    /// without a pattern is itself, and by default nothing is a pattern.
    ///
    /// # Errors
    /// Nothing fits, or the store cannot list; otherwise as [`SourceHost::local`].
    fn names(&self, pattern: &str, cx: &SourceCx<'_>) -> Result<Vec<String>> {
        let _ = cx;
        Ok(vec![pattern.to_owned()])
    }
}

/// A place as a file of a local disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFile {
    /// The file. It stays as long as the process that asked for it.
    pub path: PathBuf,
    /// Its name for people: the last part of the place, without what signs an address.
    pub name: String,
    /// Where the files beside it are; `None` where the place is not on this machine.
    pub folder: Option<PathBuf>,
    /// What was lost on the way: a compressed file that is damaged gives what stands before the damage.
    pub damage: Option<Bad>,
}

impl LocalFile {
    /// A file that is read where it is.
    pub fn of(path: PathBuf) -> Self {
        let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        Self { folder: path.parent().map(Path::to_owned), path, name, damage: None }
    }

    /// Where it is, for people: its path before anything was unpacked, or its name where it is not on this machine.
    pub fn shown(&self) -> PathBuf {
        self.folder.as_ref().map_or_else(|| PathBuf::from(&self.name), |folder| folder.join(&self.name))
    }
}

/// No host: a source that is built by itself.
struct NoHost;

impl SourceHost for NoHost {
    fn open(&self, _table: &serde_json::Value, _cx: &SourceCx<'_>) -> Result<Box<dyn Source>> {
        Err(crate::Error::invalid("a source that is built without a host cannot open another"))
    }
}

/// Neighbouring samples of a source that are drawn at one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// How many.
    pub samples: usize,
    /// How often each of them is drawn, relative to the samples of other shares: open_clip's up-sampling factor. Above 0, finite.
    pub weight: f64,
}

/// How much of a source is indexed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    #[default]
    Whole,
    /// Only as much as takes no noticeable time: whether its files are there, and its first few samples. Such a source is asked for its
    /// problems and for how many samples it has found, and is then dropped.
    Glance,
}

/// How much a part of a sample matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// It is not read: it may be missing or damaged.
    #[default]
    Unread,
    /// It is read where it is there: it may be missing, but not damaged.
    Optional,
    /// It is read: a sample without it cannot be used.
    Required,
}

impl Want {
    /// Whether it is read where it is there.
    pub fn is_read(self) -> bool {
        self != Self::Unread
    }
}

/// The parts of a sample that are read. Objectives, caption transforms and suites say what they read; together that is what a source is asked
/// for, and all that a sample must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wants {
    /// The picture.
    pub picture: Want,
    /// Captions. Where a sample has none, the name of its class is its caption.
    pub text: Want,
    /// Class labels.
    pub label: Want,
    /// Other columns and keys: [`Caption::meta`].
    pub meta: Want,
}

impl Wants {
    /// Nothing is read.
    pub const NOTHING: Self = Self { picture: Want::Unread, text: Want::Unread, label: Want::Unread, meta: Want::Unread };
    /// Whatever is there is read, and nothing must be.
    pub const WHATEVER: Self = Self { picture: Want::Optional, text: Want::Optional, label: Want::Optional, meta: Want::Optional };

    /// What two readers of one sample want together.
    pub fn and(self, other: Self) -> Self {
        Self {
            picture: self.picture.max(other.picture),
            text: self.text.max(other.text),
            label: self.label.max(other.label),
            meta: self.meta.max(other.meta),
        }
    }

    /// With another want of the picture.
    pub fn picture(self, picture: Want) -> Self {
        Self { picture, ..self }
    }

    /// With another want of captions.
    pub fn text(self, text: Want) -> Self {
        Self { text, ..self }
    }

    /// With another want of labels.
    pub fn label(self, label: Want) -> Self {
        Self { label, ..self }
    }

    /// Refuses what a source can never have. `has` lists what its samples may have: `picture`, `text`, `label`.
    ///
    /// # Errors
    /// Names what is required and is not in `has`.
    pub fn refuse_missing(&self, source: &str, has: &[&str]) -> Result<()> {
        let all = [("picture", self.picture, "pictures"), ("text", self.text, "captions"), ("label", self.label, "class labels")];
        match all.iter().find(|(part, want, _)| *want == Want::Required && !has.contains(part)) {
            None => Ok(()),
            Some((.., what)) => Err(crate::Error::invalid(format!("samples of `{source}` have no {what}, which this run reads"))),
        }
    }
}

impl fmt::Display for Wants {
    /// What must be there: `pictures and captions`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.picture, "pictures"), (self.text, "captions"), (self.label, "labels")];
        let required: Vec<&str> = all.iter().filter(|(want, _)| *want == Want::Required).map(|(_, what)| *what).collect();
        f.write_str(&if required.is_empty() { "nothing in particular".into() } else { required.join(" and ") })
    }
}

/// A picture as its source keeps it.
#[derive(Clone, PartialEq)]
pub enum Picture {
    /// The bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file.
    Encoded(Vec<u8>),
    /// Pixels.
    Decoded(RgbImage),
}

impl Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encoded(bytes) => write!(f, "Encoded({} bytes)", bytes.len()),
            Self::Decoded(image) => write!(f, "Decoded({}×{})", image.width(), image.height()),
        }
    }
}

/// One sample as its source keeps it: nothing is decoded, tokenised or drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    /// As [`Source::key`].
    pub key: String,
    /// The picture; `None` where it is not wanted, or not there and not required.
    pub picture: Option<Picture>,
    /// Captions, labels and other columns, as far as they are wanted.
    pub caption: Caption,
}

/// A sample that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// As [`Source::key`], as far as it is known.
    pub key: String,
    /// `shard:offset`, `file:line` or a file.
    pub place: String,
    /// Class of reason, such as `truncated image`: what is counted.
    pub reason: &'static str,
    /// The particular case, for people.
    pub detail: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({}): {}", self.key, self.place, self.reason)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ", {}", self.detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_readers_want_together_is_the_most_that_one_of_them_wants() {
        let clip = Wants::NOTHING.picture(Want::Required).text(Want::Required);
        let classify = Wants::NOTHING.picture(Want::Required).label(Want::Optional);
        let both = clip.and(classify);
        assert_eq!(both, Wants { picture: Want::Required, text: Want::Required, label: Want::Optional, meta: Want::Unread });
        assert_eq!(both.to_string(), "pictures and captions");
        assert_eq!(Wants::NOTHING.to_string(), "nothing in particular");
    }

    #[test]
    fn what_a_source_cannot_have_is_refused_by_name() {
        let wants = Wants::NOTHING.picture(Want::Required).text(Want::Required);
        assert!(wants.refuse_missing("texts", &["picture", "text"]).is_ok());
        let error = wants.refuse_missing("numbered", &["picture"]).expect_err("it has no captions").to_string();
        assert!(error.contains("`numbered`") && error.contains("captions"), "{error}");
    }
}
