//! Event files for TensorBoard: TFRecord framing around hand-encoded protocol buffers.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use vlhub_core::{Error, Result};

use super::super::protobuf::ProtoWriter;
use super::super::record_file::RecordFile;
use super::super::seconds;

/// Writes one event file.
#[derive(Debug)]
pub struct EventWriter {
    file: RecordFile,
}

impl EventWriter {
    /// Starts a new event file in `dir`. `forget` is the first step of which TensorBoard forgets what files before this one have, as those of a
    /// run that was resumed do.
    ///
    /// # Errors
    /// The file and why it cannot be made.
    pub fn create(dir: &Path, forget: Option<u64>) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        std::fs::create_dir_all(dir).map_err(|error| Error::io(dir, error))?;
        let (seconds, host, process, count) =
            (seconds() as u64, crate::checkpoint::host(), std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = dir.join(format!("events.out.tfevents.{seconds:010}.{host}.{process}.{count}"));
        let mut writer = Self { file: RecordFile::open(path)? };
        writer.event(0, |event| event.bytes(3, b"brain.Event:2"))?;
        if let Some(step) = forget {
            // SessionLog { status: START }
            writer.event(step, |event| event.message(7, |log| log.varint(1, 1)))?;
        }
        Ok(writer)
    }

    /// Numbers of one step, as one event.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn scalars(&mut self, step: u64, values: &[(String, f64)]) -> Result<()> {
        self.summary(step, |summary| {
            for (tag, value) in values {
                summary.message(1, |entry| {
                    entry.text(1, tag);
                    entry.float(2, *value as f32);
                });
            }
        })
    }

    /// A text, in Markdown.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn text(&mut self, tag: &str, step: u64, text: &str) -> Result<()> {
        self.summary(step, |summary| {
            summary.message(1, |entry| {
                entry.text(1, tag);
                // TensorProto { dtype: DT_STRING, tensor_shape: [1], string_val: text }
                entry.message(8, |tensor| {
                    tensor.varint(1, 7);
                    tensor.message(2, |shape| shape.message(2, |dim| dim.varint(1, 1)));
                    tensor.bytes(8, text.as_bytes());
                });
                // SummaryMetadata { plugin_data: { plugin_name: "text" }, data_class: DATA_CLASS_TENSOR }
                entry.message(9, |metadata| {
                    metadata.message(1, |plugin| plugin.bytes(1, b"text"));
                    metadata.varint(4, 2);
                });
            });
        })
    }

    /// A picture, as the bytes of a PNG of `width` by `height` pixels.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn image(&mut self, tag: &str, step: u64, (width, height): (u32, u32), png: &[u8]) -> Result<()> {
        self.summary(step, |summary| {
            summary.message(1, |entry| {
                entry.text(1, tag);
                entry.message(4, |image| {
                    image.varint(1, height.into());
                    image.varint(2, width.into());
                    image.varint(3, 3);
                    image.bytes(4, png);
                });
            });
        })
    }

    /// Data of a plugin of TensorBoard, as the content of a tag that has no values.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn plugin(&mut self, tag: &str, plugin: &str, content: &[u8]) -> Result<()> {
        self.summary(0, |summary| {
            summary.message(1, |entry| {
                entry.text(1, tag);
                // TensorProto { dtype: DT_FLOAT, tensor_shape: [0] }: a tag without a value is passed over.
                entry.message(8, |tensor| {
                    tensor.varint(1, 1);
                    tensor.message(2, |shape| shape.message(2, |dim| dim.varint(1, 0)));
                });
                entry.message(9, |metadata| {
                    metadata.message(1, |data| {
                        data.text(1, plugin);
                        data.bytes(2, content);
                    });
                    metadata.varint(4, 2);
                });
            });
        })
    }

    fn summary(&mut self, step: u64, fill: impl FnOnce(&mut ProtoWriter)) -> Result<()> {
        self.event(step, |event| event.message(5, fill))
    }

    fn event(&mut self, step: u64, fill: impl FnOnce(&mut ProtoWriter)) -> Result<()> {
        let event = ProtoWriter::of(|event| {
            event.double(1, seconds());
            event.varint(2, step);
            fill(event);
        });
        self.file.append(&frame(&event))
    }
}

/// A TFRecord: length, its checksum, data, its checksum.
fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked(&length).to_le_bytes());
    record.extend_from_slice(data);
    record.extend_from_slice(&masked(data).to_le_bytes());
    record
}

/// CRC-32C, rotated and shifted: a checksum of data that hold checksums is weak otherwise.
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        // RFC 3720, B.4: 32 bytes of zeros; and the check value of the CRC catalogue.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked(b"123456789"), 0xc78a_b0e5);
    }

    #[test]
    fn a_record_is_framed_as_tensorflow_frames_it() {
        // Length 24, as at the start of every event file; both checksums are those that were written by TensorBoard 2.21.
        let record = frame(&[0; 24]);
        assert_eq!(record.len(), 24 + 16);
        assert_eq!(record[..12], [24, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
        assert_eq!(record[36..], [0xcf, 0xf4, 0x5f, 0x7c]);
    }

    #[test]
    fn a_file_is_a_chain_of_sound_records() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut writer = EventWriter::create(dir.path(), Some(8)).expect("it can be made");
        writer.scalars(8, &[("train/loss".to_owned(), 2.5)]).expect("it can be written");
        writer.text("config", 0, "a = 1").expect("it can be written");
        writer.image("batch", 0, (1, 1), b"png").expect("it can be written");
        let bytes = std::fs::read(writer.file.path()).expect("it is there");
        let (mut at, mut records) = (0, Vec::new());
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")) as usize;
            let data = &bytes[at + 12..at + 12 + length];
            assert_eq!(masked(data).to_le_bytes(), bytes[at + 12 + length..at + 16 + length]);
            records.push(data.to_vec());
            at += 16 + length;
        }
        assert_eq!(records.len(), 5);
        assert!(records[0].ends_with(b"brain.Event:2"));
        assert!(records[1].ends_with(&[0x3a, 2, 8, 1]), "the second says that the session starts again");
        assert!(records[2].windows(10).any(|window| window == b"train/loss"));
    }
}
