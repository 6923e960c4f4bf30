//! A loader's batches on their way to the model's device.

use tch::Device;
use vlhub_core::{Batch, Error, Result};
use vlhub_torch_ext::TransferStream;

use crate::data::loader::{LoadError, LoadedBatch, Stream};

/// Batches on the model's device. The next one is copied there while the device computes with this one, if the loader has made it by then. On the CPU
/// they are the loader's.
#[derive(Debug)]
pub(super) struct Feed {
    stream: Stream,
    transfer: TransferStream,
    /// Whether the stream's next batch was sent already.
    sent: bool,
}

impl Feed {
    /// The batches of `stream`, on `device`.
    pub fn new(stream: Stream, device: Device) -> Result<Self> {
        Ok(Self { stream, transfer: TransferStream::new(device)?, sent: false })
    }

    /// The next batch. What this thread asks of the device from now on may read it.
    pub fn batch(&mut self) -> Result<LoadedBatch, LoadError> {
        let mut loaded = self.stream.next()?;
        if !self.sent {
            loaded.batch = send(&self.transfer, &loaded.batch)?;
        }
        self.transfer.arrive().map_err(Error::from)?;
        self.sent = false;
        if let Some(next) = self.stream.ready() {
            *next = send(&self.transfer, next)?;
            self.sent = true;
        }
        Ok(loaded)
    }
}

fn send(transfer: &TransferStream, batch: &Batch) -> Result<Batch> {
    batch.map(|tensor| Ok(transfer.send(tensor)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tch::Tensor;
    use vlhub_sdk::pixels::{Fit, Sampling};

    use super::*;
    use crate::data::loader::{ImageInput, ImageView, Loader, LoaderConfig, Views};
    use crate::data::skipped::SkipLog;
    use crate::data::testing::Memory;

    /// Large enough that a copy to a GPU takes a while.
    const SIZE: u32 = 224;

    fn loader() -> Loader {
        let image = ImageInput {
            size: (SIZE, SIZE),
            mean: [0.5, 0.4, 0.3],
            std: [0.2, 0.25, 0.5],
            fit: Fit::default(),
            sampling: Sampling::default(),
            fill: 0,
        };
        let config = LoaderConfig { batch: 8, image: Some(image), bytes: true, pinned: true, ..LoaderConfig::default() };
        let views = Views { images: vec![ImageView { name: "main".into(), augment: Vec::new() }], labels: true, ..Views::default() };
        Loader::new(Arc::new(Memory::new(64)), views, None, config, SkipLog::none()).expect("it fits together")
    }

    #[test]
    fn batches_are_the_loaders_on_the_cpu_and_on_a_gpu() {
        let device = crate::device::device("auto").expect("there is a CPU");
        let (mut feed, mut plain) = (Feed::new(loader().start(0), device).expect("there is room"), loader().start(0));
        for _ in 0..12 {
            let (ours, wanted) = (feed.batch().expect("nothing is broken"), plain.next().expect("nothing is broken"));
            assert_eq!((ours.step, &ours.keys), (wanted.step, &wanted.keys));
            let pixels = ours.batch.image("main").expect("a view");
            assert_eq!(pixels.device(), device);
            // Memory that is given back while the next copy is under way.
            drop(Tensor::ones_like(pixels));
            for (ours, wanted) in [
                (pixels, wanted.batch.image("main")),
                (ours.batch.extra(Batch::LABELS).expect("labels"), wanted.batch.extra(Batch::LABELS)),
            ] {
                assert_eq!(&ours.to_device(Device::Cpu), wanted.expect("it is there"));
            }
        }
    }
}
