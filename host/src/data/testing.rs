//! A source in memory, for tests of what reads sources.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use image::{Rgb, RgbImage};
use vlhub_core::{Bad, Caption, Extent, Picture, Raw, Registry, Result, Source, SourceCx, Want, Wants};

/// What a run with pictures and captions reads, and everything else that is there.
pub(crate) const CAPTIONED: Wants = Wants { picture: Want::Required, text: Want::Required, ..Wants::WHATEVER };
/// What a run with pictures alone reads.
pub(crate) const PICTURES: Wants = Wants { picture: Want::Required, ..Wants::NOTHING };

/// The numbers of a reference: `tests/golden/NAME.json`, which `NAME.py` beside it wrote.
pub(crate) fn golden(name: &str) -> serde_json::Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name).with_extension("json");
    let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Opens a source for pictures with captions.
pub(crate) fn open(options: &serde_json::Value, folder: &Path) -> Result<Arc<dyn Source>> {
    open_for(options, folder, CAPTIONED)
}

/// Opens a source.
pub(crate) fn open_for(options: &serde_json::Value, folder: &Path, wants: Wants) -> Result<Arc<dyn Source>> {
    let registry = Registry::linked()?;
    let cache = super::places::cache::DataCache::at(&folder.join(".data-cache"), 1 << 30);
    let places = super::places::Places::new(folder, std::collections::BTreeMap::new()).with_cache(cache);
    let host = super::Opener { registry: &registry, places: &places };
    super::open_table(&registry, options, &SourceCx { folder, wants, extent: Extent::Whole, host: &host })
}

/// Small pictures, each of its own colour; some are broken on purpose.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    len: usize,
    classes: Vec<String>,
    broken: BTreeSet<usize>,
    panics: BTreeSet<usize>,
    pub problems: Vec<Bad>,
}

impl Memory {
    pub fn new(len: usize) -> Self {
        Self { len, classes: ["red", "green", "blue"].map(str::to_owned).to_vec(), ..Self::default() }
    }

    /// Reading sample `index` fails.
    pub fn broken(mut self, index: usize) -> Self {
        self.broken.insert(index);
        self
    }

    /// Reading sample `index` panics.
    pub fn panics(mut self, index: usize) -> Self {
        self.panics.insert(index);
        self
    }
}

impl Source for Memory {
    fn len(&self) -> usize {
        self.len
    }

    fn key(&self, index: usize) -> String {
        format!("sample {index}")
    }

    fn read(&self, index: usize) -> Result<Raw, Bad> {
        assert!(!self.panics.contains(&index), "sample {index} panics on purpose");
        let key = self.key(index);
        if self.broken.contains(&index) {
            return Err(Bad { place: key.clone(), key, reason: "broken", detail: "on purpose".into() });
        }
        let size = (9 + index as u32 % 5, 8 + index as u32 % 3);
        let image = RgbImage::from_fn(size.0, size.1, |x, y| Rgb([index as u8, (x * 20) as u8, (y * 20) as u8]));
        let text = format!("{} sample number {index}", "very ".repeat(index % 4));
        let caption = Caption { texts: vec![text], labels: vec![index as i64 % 3], ..Caption::default() };
        Ok(Raw { key, picture: Some(Picture::Decoded(image)), caption })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn fingerprint(&self) -> String {
        format!("memory:{}", self.len)
    }

    fn problems(&self) -> &[Bad] {
        &self.problems
    }

    fn unit(&self, index: usize) -> Option<String> {
        Some(format!("of sample {index}"))
    }
}
