//! Sources as evaluation suites see them: decoded samples in a fixed order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vlhub_core::{Dataset, Datasets, Error, Result, Sample};

use super::decode::MAX_PIXELS;
use super::ordered::ordered;
use super::views::guarded;
use super::{Bad, Source};

/// A source as a [`Dataset`]: several threads decode, the order stays.
#[derive(Clone, Debug)]
pub struct SourceDataset {
    source: Arc<dyn Source>,
    threads: usize,
}

impl SourceDataset {
    /// Decodes `source` with so many threads.
    pub fn new(source: Arc<dyn Source>, threads: usize) -> Self {
        Self { source, threads }
    }
}

/// Reads and decodes one sample.
pub(crate) fn sample(source: &dyn Source, index: usize) -> Result<Sample, Bad> {
    guarded(source, index, || {
        let raw = source.read(index)?;
        let image = raw.pixels(MAX_PIXELS)?;
        let label = raw.caption.labels.first().copied();
        Ok(Sample { key: raw.key, image, texts: raw.caption.texts, label, meta: raw.caption.meta })
    })
}

impl Dataset for SourceDataset {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn classes(&self) -> &[String] {
        self.source.classes()
    }

    fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_> {
        let source = Arc::clone(&self.source);
        let read = move |index| sample(&*source, index);
        let all = ordered(self.threads, 0..self.source.len(), Arc::new(read));
        Box::new(all.map(|sample| sample.map_err(|bad| Error::invalid(bad.to_string()))))
    }
}

/// Opens data sets for evaluation suites.
#[derive(Clone, Debug)]
pub struct HostDatasets {
    folder: PathBuf,
    threads: usize,
}

impl HostDatasets {
    /// Relative paths start at `folder`; so many threads decode.
    pub fn new(folder: impl AsRef<Path>, threads: usize) -> Self {
        Self { folder: folder.as_ref().to_owned(), threads }
    }
}

impl Datasets for HostDatasets {
    fn open(&self, options: &serde_json::Value) -> Result<Arc<dyn Dataset>> {
        Ok(Arc::new(SourceDataset::new(super::open(options, &self.folder)?, self.threads)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::Memory;

    #[test]
    fn samples_come_in_order_and_a_bad_one_is_an_error_in_its_place() {
        let source = Arc::new(Memory::new(40).broken(7).panics(9));
        for threads in [1, 3] {
            let set = SourceDataset::new(Arc::clone(&source) as Arc<dyn Source>, threads);
            let all: Vec<_> = set.samples().collect();
            assert_eq!((all.len(), set.len()), (40, 40));
            for (at, sample) in all.iter().enumerate() {
                match sample {
                    Ok(sample) => assert_eq!((sample.key.clone(), sample.label), (format!("sample {at}"), Some(at as i64 % 3))),
                    Err(error) => assert!(
                        (at == 7 && error.to_string().contains("broken")) || (at == 9 && error.to_string().contains("panic")),
                        "{error}"
                    ),
                }
            }
            assert_eq!(all.iter().filter(|sample| sample.is_err()).count(), 2);
        }
    }

    #[test]
    fn relative_paths_start_at_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("set/dog")).expect("room");
        image::RgbImage::new(2, 3).save(folder.path().join("set/dog/1.png")).expect("room");
        let set = HostDatasets::new(folder.path(), 2).open(&serde_json::json!({"use": "imagefolder", "path": "set"})).expect("it is whole");
        let sample = set.samples().next().expect("one").expect("it is whole");
        assert_eq!((sample.image.dimensions(), sample.texts, set.classes()), ((2, 3), vec!["dog".to_owned()], &["dog".to_owned()][..]));
    }
}
