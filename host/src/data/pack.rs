//! `vlhub data pack`: any source to tar shards that WebDataset reads.
//!
//! Encoded pictures are copied unchanged. The same source gives the same bytes: headers have no time and no owner. Shards appear all at once,
//! under their own name, when all of them are written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};

use image::{ImageFormat, RgbImage};
use serde::Serialize;
use serde_json::{Map, Value};
use vlhub_core::{Bad, Caption, Error, Picture, Result, Source};

use super::decode::{self, PictureOptions};
use super::views::guarded;

/// Largest shard: 1 GiB, whatever its number of samples.
const SHARD_BYTES: u64 = 1 << 30;

/// How shards are written.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// Most samples of a shard.
    pub shard_size: usize,
    /// Lay pictures that have an alpha channel on this colour, and write them as PNG; else pictures stay as they are.
    pub background: Option<[u8; 3]>,
    /// Shrink pictures whose shorter side has more pixels than this, so that it has as many.
    pub shorter_side: Option<u32>,
    /// How pictures that are laid on a colour or made smaller are decoded.
    pub pictures: PictureOptions,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self { shard_size: 10_000, background: None, shorter_side: None, pictures: PictureOptions::default() }
    }
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Packed {
    /// The folder.
    pub folder: PathBuf,
    /// Samples of each shard.
    pub shards: BTreeMap<String, usize>,
    /// Samples of all shards.
    pub samples: usize,
    /// Bytes of all shards.
    pub bytes: u64,
    /// Samples that could not be used, those that the source lost when it was indexed included.
    pub skipped: Vec<Bad>,
}

impl Packed {
    /// For people.
    pub fn to_text(&self) -> String {
        let last = self.shards.len().saturating_sub(1);
        let names = if last == 0 { "00000.tar".to_owned() } else { format!("{{00000..{last:05}}}.tar") };
        let mut text = format!(
            "{} samples in {} shards, {:.1} MB: {}",
            self.samples,
            self.shards.len(),
            self.bytes as f64 / 1e6,
            self.folder.join(names).display()
        );
        for bad in self.skipped.iter().take(20) {
            text += &format!("\nskipped {bad}");
        }
        if self.skipped.len() > 20 {
            text += &format!("\nand {} more", self.skipped.len() - 20);
        }
        text
    }
}

/// Writes a source as shards into the folder `out`, with `sizes.json` and, if it has classes, `classnames.txt`.
///
/// # Errors
/// A folder that is not empty, no usable sample, or a disk that is full: then nothing is left behind.
pub fn pack(source: &dyn Source, out: &Path, options: &PackOptions) -> Result<Packed> {
    if options.shard_size == 0 {
        return Err(Error::Options("--shard-size is 0; a shard holds at least one sample".into()));
    }
    if out.exists() && std::fs::read_dir(out).map_err(|error| Error::io(out, error))?.next().is_some() {
        return Err(Error::invalid(format!("{} is not empty; nothing is overwritten, so name another folder", out.display())));
    }
    let name = out.file_name().ok_or_else(|| Error::invalid(format!("{} is no name for a folder", out.display())))?;
    let partial = out.with_file_name(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
    std::fs::create_dir_all(&partial).map_err(|error| Error::io(&partial, error))?;
    let written = write_all(source, &partial, options).and_then(|packed| {
        std::fs::rename(&partial, out).map_err(|error| Error::io(out, error))?;
        Ok(Packed { folder: out.to_owned(), ..packed })
    });
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_dir_all(&partial);
    }
    written
}

fn write_all(source: &dyn Source, folder: &Path, options: &PackOptions) -> Result<Packed> {
    let mut packed =
        Packed { folder: folder.to_owned(), shards: BTreeMap::new(), samples: 0, bytes: 0, skipped: source.problems().to_vec() };
    let mut open: Option<Shard> = None;
    for index in 0..source.len() {
        let members = match guarded(source, index, || members(source, index, options)) {
            Ok(members) => members,
            Err(bad) => {
                packed.skipped.push(bad);
                continue;
            }
        };
        let bytes: u64 = members.iter().map(|(_, data)| 512 + (data.len() as u64).div_ceil(512) * 512).sum();
        if open.as_ref().is_some_and(|shard| shard.samples == options.shard_size || shard.bytes + bytes > SHARD_BYTES)
            && let Some(full) = open.take()
        {
            full.finish(&mut packed)?;
        }
        let shard = match &mut open {
            Some(shard) => shard,
            None => open.insert(Shard::create(folder, packed.shards.len())?),
        };
        let number = packed.samples;
        for (suffix, data) in members {
            shard.member(&format!("{number:09}.{suffix}"), &data)?;
        }
        shard.samples += 1;
        shard.bytes += bytes;
        packed.samples += 1;
    }
    let Some(last) = open else {
        let first = packed.skipped.first().map(|bad| format!("; the first problem is {bad}")).unwrap_or_default();
        return Err(Error::invalid(format!("the source has no usable sample{first}")));
    };
    last.finish(&mut packed)?;
    let sizes = serde_json::to_string_pretty(&packed.shards).unwrap_or_default() + "\n";
    write(&folder.join("sizes.json"), &sizes)?;
    if !source.classes().is_empty() {
        write(&folder.join("classnames.txt"), &(source.classes().join("\n") + "\n"))?;
    }
    Ok(packed)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let mut file = File::create(path).map_err(|error| Error::io(path, error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| Error::io(path, error))
}

/// Suffix and bytes of each member of a sample.
fn members(source: &dyn Source, index: usize, options: &PackOptions) -> Result<Vec<(&'static str, Vec<u8>)>, Bad> {
    let raw = source.read(index)?;
    let bad = |reason, detail: String| Bad { key: raw.key.clone(), place: raw.key.clone(), reason, detail };
    let from_flaw = |flaw: decode::Flaw| bad(flaw.reason, flaw.detail);
    let (suffix, bytes) = match &raw.picture {
        None => return Err(bad("no image", String::new())),
        Some(Picture::Decoded(image)) => ("png", png(&options.shrunk(image).unwrap_or_else(|| image.clone()))),
        Some(Picture::Encoded(bytes)) => {
            let suffix = decode::extension(bytes).ok_or_else(|| bad("not an image", String::new()))?;
            match options
                .background
                .map(|colour| decode::flatten(bytes, options.pictures, colour))
                .transpose()
                .map_err(from_flaw)?
                .flatten()
            {
                Some(flat) => ("png", png(&options.shrunk(&flat).unwrap_or(flat))),
                None if options.shorter_side.is_none() => (suffix, bytes.clone()),
                None => {
                    let (image, _memory) = decode::decode_held(bytes, options.pictures).map_err(from_flaw)?.into_parts();
                    match options.shrunk(&image) {
                        None => (suffix, bytes.clone()),
                        Some(small) if suffix == "jpg" => (suffix, jpeg(&small)),
                        Some(small) => ("png", png(&small)),
                    }
                }
            }
        }
    };
    let mut members = vec![(suffix, bytes)];
    if let Some(text) = raw.caption.texts.first() {
        members.push(("txt", text.clone().into_bytes()));
    }
    if let Some(label) = raw.caption.labels.first() {
        members.push(("cls", label.to_string().into_bytes()));
    }
    if let Some(json) = json(&raw.caption) {
        members.push(("json", json.into_bytes()));
    }
    Ok(members)
}

impl PackOptions {
    /// The picture with its shorter side as long as is wanted, by Pillow's bicubic filter; `None` where it is not longer.
    fn shrunk(&self, image: &RgbImage) -> Option<RgbImage> {
        let wanted = self.shorter_side?;
        let (width, height) = image.dimensions();
        let shorter = width.min(height);
        let side = |pixels: u32| ((u64::from(pixels) * u64::from(wanted) + u64::from(shorter) / 2) / u64::from(shorter)) as u32;
        (shorter > wanted).then(|| vlhub_sdk::pixels::resize(image, side(width), side(height), vlhub_sdk::pixels::Filter::Bicubic))
    }
}

/// At quality 95, as img2dataset writes pictures that it has made smaller.
fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
    image.write_with_encoder(encoder).expect("memory does not fail, and a picture that was read is a JPEG again");
    bytes
}

fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).expect("memory does not fail, and every size of picture is a PNG");
    bytes.into_inner()
}

/// What has no member of its own: further captions (`captions`), further labels, and other columns.
fn json(caption: &Caption) -> Option<String> {
    let mut object: Map<String, Value> = caption.meta.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    if caption.texts.len() > 1 {
        object.insert("captions".into(), caption.texts.clone().into());
    }
    if caption.labels.len() > 1 {
        object.insert("labels".into(), caption.labels.clone().into());
    }
    (!object.is_empty()).then(|| Value::Object(object).to_string())
}

struct Shard {
    name: String,
    path: PathBuf,
    tar: tar::Builder<BufWriter<File>>,
    samples: usize,
    bytes: u64,
}

impl Shard {
    fn create(folder: &Path, number: usize) -> Result<Self> {
        let name = format!("{number:05}.tar");
        let path = folder.join(&name);
        let file = File::create_new(&path).map_err(|error| Error::io(&path, error))?;
        Ok(Self { name, path, tar: tar::Builder::new(BufWriter::with_capacity(1 << 20, file)), samples: 0, bytes: 1024 })
    }

    fn member(&mut self, name: &str, data: &[u8]) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        self.tar.append_data(&mut header, name, data).map_err(|error| Error::io(&self.path, error))
    }

    fn finish(self, packed: &mut Packed) -> Result<()> {
        let io = |error| Error::io(&self.path, error);
        let file = self.tar.into_inner().map_err(io)?.into_inner().map_err(|error| io(error.into_error()))?;
        file.sync_all().map_err(io)?;
        packed.bytes += self.bytes;
        packed.shards.insert(self.name, self.samples);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::Memory;
    use serde_json::json;

    fn options(shard_size: usize) -> PackOptions {
        PackOptions { shard_size, ..PackOptions::default() }
    }

    #[test]
    fn what_is_packed_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("shards");
        let source = Memory::new(25).broken(3).panics(8);
        let packed = pack(&source, &out, &options(10)).expect("there is room");
        assert_eq!((packed.samples, packed.skipped.len(), packed.shards.len()), (23, 2, 3));
        assert_eq!(packed.shards["00002.tar"], 3);
        assert!(packed.to_text().contains("{00000..00002}.tar"), "{}", packed.to_text());
        let sizes: BTreeMap<String, usize> =
            serde_json::from_slice(&std::fs::read(out.join("sizes.json")).expect("it is there")).expect("JSON");
        assert_eq!(sizes, packed.shards);
        let back = crate::data::testing::open(&json!({"use": "webdataset", "shards": "{00000..00002}.tar"}), &out).expect("it is whole");
        assert_eq!((back.len(), back.problems().len(), back.classes()), (23, 0, source.classes()));
        let (was, is) = (source.read(4).expect("it is whole"), back.read(3).expect("it is whole"));
        assert_eq!((was.caption.texts.clone(), was.caption.labels.clone()), (is.caption.texts.clone(), is.caption.labels.clone()));
        let pixels = |raw| decode::pixels(raw, PictureOptions::default()).map(decode::Decoded::into_image);
        assert_eq!(pixels(&was), pixels(&is));
        let bytes: u64 = packed.shards.keys().map(|name| out.join(name).metadata().expect("it is there").len()).sum();
        assert_eq!(bytes, packed.bytes);
    }

    #[test]
    fn the_same_source_gives_the_same_bytes_and_pictures_stay_as_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("in/dog")).expect("room");
        let jpeg = [&[0xFF, 0xD8, 0xFF, 0xE0][..], b"not decoded, only copied"].concat();
        std::fs::write(folder.path().join("in/dog/1.png"), &jpeg).expect("room");
        let source = crate::data::testing::open(&json!({"use": "imagefolder", "path": "in"}), folder.path()).expect("it is whole");
        let bytes = ["a", "b"].map(|name| {
            pack(&*source, &folder.path().join(name), &options(10)).expect("there is room");
            std::fs::read(folder.path().join(name).join("00000.tar")).expect("it is there")
        });
        assert_eq!(bytes[0], bytes[1]);
        let back = crate::data::testing::open(&json!({"use": "webdataset", "shards": "a/00000.tar"}), folder.path()).expect("it is whole");
        assert_eq!(back.read(0).expect("it is whole").picture, Some(Picture::Encoded(jpeg)), "the suffix follows the content");
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("shards");
        let entries = || std::fs::read_dir(folder.path()).expect("it is there").count();
        assert!(pack(&Memory::new(1).broken(0), &out, &options(1)).expect_err("no sample").to_string().contains("no usable sample"));
        assert_eq!(entries(), 0, "nothing is left of a pack that failed");
        std::fs::create_dir(&out).expect("room");
        pack(&Memory::new(2), &out, &options(1)).expect("an empty folder may be there");
        assert!(pack(&Memory::new(2), &out, &options(1)).expect_err("it is full").to_string().contains("is not empty"));
        assert_eq!(entries(), 1);
    }

    #[test]
    fn further_captions_go_to_json() {
        let caption = Caption { texts: vec!["one".into(), "two".into()], labels: vec![1, 2], meta: [("url".into(), "u".into())].into() };
        assert_eq!(json(&caption).as_deref(), Some(r#"{"captions":["one","two"],"labels":[1,2],"url":"u"}"#));
        assert_eq!(json(&Caption { texts: vec!["one".into()], ..Caption::default() }), None);
    }
}
