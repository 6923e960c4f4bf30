//! Event files for TensorBoard: TFRecord framing around hand-encoded protocol buffers.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use vlhub_core::{Error, Result};

/// Writes one event file.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
}

impl EventWriter {
    /// Starts a new event file in `dir`. `resumed` is the step after which this run goes on: TensorBoard then forgets later events of the
    /// files before this one.
    ///
    /// # Errors
    /// The file and why it cannot be made.
    pub fn create(dir: &Path, resumed: Option<u64>) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        std::fs::create_dir_all(dir).map_err(|error| Error::io(dir, error))?;
        let seconds = now() as u64;
        let (host, process, count) = (crate::checkpoint::host(), std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = dir.join(format!("events.out.tfevents.{seconds:010}.{host}.{process}.{count}"));
        let file = File::create(&path).map_err(|error| Error::io(&path, error))?;
        let mut writer = Self { file, path };
        writer.event(0, |event| event.bytes(3, b"brain.Event:2"))?;
        if let Some(step) = resumed {
            // SessionLog { status: START }
            writer.event(step + 1, |event| event.message(7, |log| log.varint(1, 1)))?;
        }
        Ok(writer)
    }

    /// A number.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> Result<()> {
        self.scalars(step, &[(tag.to_owned(), value)])
    }

    /// Several numbers of one step, as one event.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn scalars(&mut self, step: u64, values: &[(String, f64)]) -> Result<()> {
        self.summary(step, |summary| {
            for (tag, value) in values {
                summary.message(1, |entry| {
                    entry.bytes(1, tag.as_bytes());
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
                entry.bytes(1, tag.as_bytes());
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
                entry.bytes(1, tag.as_bytes());
                entry.message(4, |image| {
                    image.varint(1, height.into());
                    image.varint(2, width.into());
                    image.varint(3, 3);
                    image.bytes(4, png);
                });
            });
        })
    }

    /// The event file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn summary(&mut self, step: u64, fill: impl FnOnce(&mut Proto)) -> Result<()> {
        self.event(step, |event| event.message(5, fill))
    }

    fn event(&mut self, step: u64, fill: impl FnOnce(&mut Proto)) -> Result<()> {
        let mut event = Proto::default();
        event.double(1, now());
        event.varint(2, step);
        fill(&mut event);
        self.file.write_all(&frame(&event.0)).map_err(|error| Error::io(&self.path, error))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
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

/// A protocol buffer in the making.
#[derive(Default)]
struct Proto(Vec<u8>);

impl Proto {
    fn raw(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
    fn varint(&mut self, field: u64, value: u64) {
        self.raw(field << 3);
        self.raw(value);
    }
    fn double(&mut self, field: u64, value: f64) {
        self.raw(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.raw(field << 3 | 2);
        self.raw(value.len() as u64);
        self.0.extend_from_slice(value);
    }
    fn float(&mut self, field: u64, value: f32) {
        self.raw(field << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }
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
    fn numbers_are_encoded_as_protocol_buffers() {
        let mut proto = Proto::default();
        proto.varint(1, 150);
        proto.bytes(2, b"testing");
        proto.message(3, |inner| inner.varint(1, 150));
        proto.float(4, 1.0);
        // The first three are the examples of the encoding's specification.
        let expected = [
            [0x08, 0x96, 0x01].as_slice(),
            &[0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67],
            &[0x1a, 0x03, 0x08, 0x96, 0x01],
            &[0x25, 0, 0, 0x80, 0x3f],
        ];
        assert_eq!(proto.0, expected.concat());
    }

    #[test]
    fn a_file_is_a_chain_of_sound_records() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut writer = EventWriter::create(dir.path(), Some(7)).expect("it can be made");
        writer.scalar("train/loss", 8, 2.5).expect("it can be written");
        writer.text("config", 0, "a = 1").expect("it can be written");
        writer.image("batch", 0, (1, 1), b"png").expect("it can be written");
        let bytes = std::fs::read(writer.path()).expect("it is there");
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
