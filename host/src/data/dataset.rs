//! Sources as evaluation suites see them: decoded samples in a fixed order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vlhub_core::{Bad, Dataset, Datasets, Error, Extent, Registry, Result, Sample, Source, SourceCx, Want, Wants};

use super::decode::{PictureOptions, pixels};
use super::ordered::ordered;
use super::places::Places;
use super::views::{ImageInput, guarded};

/// How samples are read for suites.
#[derive(Clone, Copy, Debug)]
pub struct SampleReading {
    /// Threads that read and decode.
    pub threads: usize,
    /// How pictures are decoded.
    pub pictures: PictureOptions,
    /// What the image tower reads.
    pub image: Option<ImageInput>,
    /// Samples that are taken of a source, evenly spread; 0 takes all.
    pub most: usize,
}

impl SampleReading {
    /// With so many threads, and pictures decoded as they are by default.
    pub fn new(threads: usize) -> Self {
        Self { threads, pictures: PictureOptions::default(), image: None, most: 0 }
    }
}

/// A source as a [`Dataset`]: several threads decode, the order stays. What was lost while the source was indexed comes first, as samples that
/// cannot be read.
#[derive(Clone, Debug)]
pub struct SourceDataset {
    source: Arc<dyn Source>,
    reading: SampleReading,
}

impl SourceDataset {
    /// The samples of `source`.
    pub fn new(source: Arc<dyn Source>, reading: SampleReading) -> Self {
        Self { source, reading }
    }

    /// How many of the source's samples are taken.
    fn taken(&self) -> usize {
        let all = self.source.len();
        if self.reading.most == 0 { all } else { all.min(self.reading.most) }
    }

    /// Where in the source the samples lie that are taken, in their order.
    fn place(&self) -> impl Fn(usize) -> usize + Send + Sync + use<> {
        let (all, taken) = (self.source.len(), self.taken().max(1));
        move |at| at * all / taken
    }
}

/// Reads and decodes one sample.
fn sample(source: &dyn Source, index: usize, reading: &SampleReading) -> Result<Sample, Bad> {
    guarded(source, index, || {
        let raw = source.read(index)?;
        let (mut image, memory) = pixels(&raw, reading.pictures)?.into_parts();
        if let Some(input) = &reading.image {
            image = input.bounded(image);
        }
        drop(memory);
        Ok(Sample { key: raw.key, image, texts: raw.caption.texts, labels: raw.caption.labels, meta: raw.caption.meta })
    })
}

impl Dataset for SourceDataset {
    fn len(&self) -> usize {
        self.source.problems().len() + self.taken()
    }

    fn classes(&self) -> &[String] {
        self.source.classes()
    }

    fn templates(&self) -> &[String] {
        self.source.templates()
    }

    fn evaluated(&self) -> &[u32] {
        self.source.evaluated()
    }

    fn notes(&self) -> &[String] {
        self.source.notes()
    }

    fn unit(&self, index: usize) -> Option<String> {
        let index = index.checked_sub(self.source.problems().len())?;
        self.source.unit(self.place()(index))
    }

    fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_> {
        let (source, reading, place) = (Arc::clone(&self.source), self.reading, self.place());
        let read = move |index| sample(&*source, place(index), &reading);
        let lost = self.source.problems().iter().cloned().map(Err);
        let mut all = lost.chain(ordered(reading.threads, 0..self.taken(), Arc::new(read)));
        let next = move || vlhub_torch_ext::span(c"eval/waiting for pictures", || all.next());
        Box::new(std::iter::from_fn(next).map(|sample| sample.map_err(|bad| Error::invalid(bad.to_string()))))
    }

    fn sample(&self, index: usize) -> Result<Sample> {
        let lost = self.source.problems();
        let read = match index.checked_sub(lost.len()) {
            None => Err(lost[index].clone()),
            Some(index) if index < self.taken() => sample(&*self.source, self.place()(index), &self.reading),
            Some(_) => return Err(Error::invalid(format!("sample {index} of {}", self.len()))),
        };
        read.map_err(|bad| Error::invalid(bad.to_string()))
    }
}

/// Opens data sets for evaluation suites.
#[derive(Clone, Debug)]
pub struct HostDatasets {
    registry: Arc<Registry>,
    places: Arc<Places>,
    folder: PathBuf,
    reading: SampleReading,
}

impl HostDatasets {
    /// Sources are those of `registry`, stores those of `places`; relative paths start at `folder`.
    pub fn new(registry: Arc<Registry>, places: Arc<Places>, folder: impl AsRef<Path>, reading: SampleReading) -> Self {
        Self { registry, places, folder: folder.as_ref().to_owned(), reading }
    }
}

impl Datasets for HostDatasets {
    fn open(&self, options: &serde_json::Value) -> Result<Arc<dyn Dataset>> {
        self.open_for(options, Wants::WHATEVER)
    }

    fn open_for(&self, options: &serde_json::Value, wants: Wants) -> Result<Arc<dyn Dataset>> {
        let cx = SourceCx {
            folder: &self.folder,
            wants: wants.picture(Want::Required),
            extent: Extent::Whole,
            host: &super::Opener { registry: &self.registry, places: &self.places },
        };
        Ok(Arc::new(SourceDataset::new(super::open_table(&self.registry, options, &cx)?, self.reading)))
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
            let set = SourceDataset::new(Arc::clone(&source) as Arc<dyn Source>, SampleReading::new(threads));
            let all: Vec<_> = set.samples().collect();
            assert_eq!((all.len(), set.len()), (40, 40));
            for (at, sample) in all.iter().enumerate() {
                match sample {
                    Ok(sample) => assert_eq!((sample.key.clone(), sample.labels.clone()), (format!("sample {at}"), vec![at as i64 % 3])),
                    Err(error) => assert!(
                        (at == 7 && error.to_string().contains("broken")) || (at == 9 && error.to_string().contains("panic")),
                        "{error}"
                    ),
                }
                let again = set.sample(at).map(|sample| sample.key).map_err(|error| error.to_string());
                assert_eq!(again, sample.as_ref().map(|sample| sample.key.clone()).map_err(ToString::to_string));
            }
            assert!(set.sample(40).is_err(), "there are 40");
            assert_eq!(all.iter().filter(|sample| sample.is_err()).count(), 2);
        }
    }

    #[test]
    fn of_a_part_the_samples_are_evenly_spread_and_those_that_are_read_again() {
        let source: Arc<dyn Source> = Arc::new(Memory::new(40));
        let part = SourceDataset::new(Arc::clone(&source), SampleReading { most: 4, ..SampleReading::new(2) });
        let keys: Vec<String> = part.samples().map(|sample| sample.expect("it is whole").key).collect();
        assert_eq!(keys, ["sample 0", "sample 10", "sample 20", "sample 30"]);
        assert_eq!((part.len(), part.sample(3).expect("the last").key, part.unit(1)), (4, keys[3].clone(), Some("of sample 10".into())));
        assert!(part.sample(4).is_err(), "there are 4");
        let whole = SourceDataset::new(source, SampleReading { most: 400, ..SampleReading::new(2) });
        assert_eq!((whole.len(), whole.sample(39).expect("the last").key), (40, "sample 39".into()));
    }

    #[test]
    fn what_was_lost_by_the_index_is_listed_too() {
        let mut source = Memory::new(2);
        source.problems.push(Bad { key: "k".into(), place: "t:1".into(), reason: "ragged row", detail: String::new() });
        let set = SourceDataset::new(Arc::new(source), SampleReading::new(1));
        let all: Vec<_> = set.samples().collect();
        assert!(all.len() == set.len() && all.len() == 3);
        assert_eq!((set.unit(0), set.unit(2)), (None, Some("of sample 1".into())), "units are those of the samples behind what was lost");
        assert!(all[0].as_ref().is_err_and(|error| error.to_string().contains("ragged row")));
    }

    #[test]
    fn a_large_picture_is_handed_over_as_the_tower_reads_it() {
        #[derive(Debug)]
        struct Large;
        impl Source for Large {
            fn len(&self) -> usize {
                1
            }
            fn key(&self, _index: usize) -> String {
                "large".into()
            }
            fn read(&self, _index: usize) -> Result<vlhub_core::Raw, Bad> {
                let image = image::RgbImage::from_fn(6000, 5000, |x, y| image::Rgb([(x / 100) as u8, (y / 100) as u8, 7]));
                Ok(vlhub_core::Raw { key: "large".into(), picture: Some(vlhub_core::Picture::Decoded(image)), caption: Default::default() })
            }
            fn fingerprint(&self) -> String {
                "large".into()
            }
        }
        let input = ImageInput {
            size: (8, 8),
            mean: [0.0; 3],
            std: [1.0; 3],
            fit: vlhub_sdk::pixels::Fit::Shortest,
            sampling: vlhub_sdk::pixels::Sampling::default(),
            fill: 0,
        };
        let set = SourceDataset::new(Arc::new(Large), SampleReading { image: Some(input), ..SampleReading::new(1) });
        let sample = set.samples().next().expect("one").expect("it is whole");
        assert_eq!(sample.image.dimensions(), (8, 8));
        assert_eq!(input.prepare(&sample.image), sample.image, "what the model does to it again changes nothing");
    }

    #[test]
    fn relative_paths_start_at_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("set/dog")).expect("room");
        image::RgbImage::new(2, 3).save(folder.path().join("set/dog/1.png")).expect("room");
        let registry = Arc::new(Registry::linked().expect("no duplicates"));
        let set = HostDatasets::new(
            registry,
            Arc::new(Places::new(folder.path(), std::collections::BTreeMap::new())),
            folder.path(),
            SampleReading::new(2),
        )
        .open(&serde_json::json!({"use": "imagefolder", "path": "set"}))
        .expect("it is whole");
        let sample = set.samples().next().expect("one").expect("it is whole");
        assert_eq!((sample.image.dimensions(), sample.texts, set.classes()), ((2, 3), vec!["dog".to_owned()], &["dog".to_owned()][..]));
    }
}
