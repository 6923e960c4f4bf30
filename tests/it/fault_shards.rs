//! Shards that are damaged on purpose, one for each row of the fault corpus.

use std::io::Cursor;

use vlhub_sdk::image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba};

/// A damaged shard, and what must be said of it.
pub struct Fault {
    /// What is wrong; the shard's name, too.
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// Keys that can be used.
    pub intact: Vec<String>,
    /// Class of reason of each loss in the order of the list, with its offset or, where the key says more, its key.
    pub lost: Vec<(Lost, &'static str)>,
}

/// Where something was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    At(usize),
    Key(&'static str),
}

/// A shard that is being written, with the place of each header.
#[derive(Clone, Default)]
pub struct Shard {
    pub bytes: Vec<u8>,
    heads: Vec<(String, usize)>,
}

impl Shard {
    /// Six samples, each a JPEG and a caption.
    pub fn six() -> Self {
        (0..6).fold(Self::default(), |shard, number| shard.sample(&format!("{number:05}")))
    }

    pub fn sample(self, key: &str) -> Self {
        let picture = jpeg(self.heads.len() as u8);
        self.member(&format!("{key}.jpg"), &picture).member(&format!("{key}.txt"), format!("caption of {key}").as_bytes())
    }

    pub fn member(mut self, name: &str, data: &[u8]) -> Self {
        self.heads.push((name.to_owned(), self.bytes.len()));
        self.bytes.extend(header(name.as_bytes(), b'0', &octal(data.len())));
        self.data(data)
    }

    /// A header alone.
    pub fn header(mut self, header: [u8; 512]) -> Self {
        self.bytes.extend(header);
        self
    }

    /// Data, filled up with zeros.
    pub fn data(mut self, data: &[u8]) -> Self {
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// Where the header of a member stands.
    pub fn head(&self, name: &str) -> usize {
        self.heads.iter().find(|(known, _)| known == name).expect("it is there").1
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }
}

pub fn jpeg(number: u8) -> Vec<u8> {
    encoded(number, ImageFormat::Jpeg)
}

pub fn encoded(number: u8, format: ImageFormat) -> Vec<u8> {
    let mut state = u32::from(number) + 1;
    let picture = RgbImage::from_fn(24, 20, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Rgb(state.to_be_bytes()[..3].try_into().expect("three bytes"))
    });
    dynamic(picture.into(), format)
}

fn dynamic(picture: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("memory does not fail");
    bytes.into_inner()
}

pub fn header(name: &[u8], kind: u8, size: &[u8; 12]) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(size);
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

pub fn octal(size: usize) -> [u8; 12] {
    format!("{size:011o}\0").as_bytes().try_into().expect("it has twelve bytes")
}

/// A size in base 256.
fn base_256(first: u8, rest: u8) -> [u8; 12] {
    let mut size = [if first == 0xFF { 0xFF } else { 0 }; 12];
    (size[0], size[4]) = (first, rest);
    size
}

/// A PAX header with one record.
fn pax(shard: Shard, record: &[u8]) -> Shard {
    shard.header(header(b"pax", b'x', &octal(record.len()))).data(record)
}

/// A PNG that says it is as large as that.
fn claims(width: u32, height: u32) -> Vec<u8> {
    let mut png = encoded(0, ImageFormat::Png);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    png
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 }))
}

fn keys(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("{number:05}")).collect()
}

/// Every damage of a shard, of pictures and of captions in it.
pub fn corpus() -> Vec<Fault> {
    let mut all = headers();
    all.extend(ends());
    all.extend(names_and_sizes());
    all.extend(groups());
    all.extend(pictures());
    all.extend(captions());
    all
}

/// Damage to one of six samples: what remains is the other five.
fn of_six(name: &'static str, change: impl FnOnce(&mut Vec<u8>, usize), lost: impl FnOnce(usize) -> Vec<(Lost, &'static str)>) -> Fault {
    let shard = Shard::six();
    let at = shard.head("00002.jpg");
    let mut bytes = shard.finish();
    change(&mut bytes, at);
    Fault { name, bytes, intact: keys([0, 1, 3, 4, 5]), lost: lost(at) }
}

fn headers() -> Vec<Fault> {
    let no_image = (Lost::Key("00002"), "no image");
    let damaged = |at| vec![(Lost::At(at), "damaged header"), no_image.clone()];
    let zeroed = |at| vec![(Lost::At(at), "zeroed blocks"), no_image.clone()];
    vec![
        of_six("header-bit", |bytes, at| bytes[at + 3] ^= 1, damaged),
        of_six("header-checksum", |bytes, at| bytes[at + 150] ^= 1, damaged),
        of_six("header-zeroed", |bytes, at| bytes[at..at + 512].fill(0), zeroed),
        of_six("header-and-data-zeroed", |bytes, at| bytes[at..at + 1024].fill(0), zeroed),
        of_six("header-overwritten", |bytes, at| bytes[at..at + 512].fill(0xAA), damaged),
        of_six(
            "header-cut-out",
            |bytes, at| {
                bytes.drain(at..at + 512);
            },
            damaged,
        ),
        of_six(
            "seven-bytes-of-data-cut-out",
            |bytes, at| {
                bytes.drain(at + 600..at + 607);
            },
            |at| vec![(Lost::At(at), "damaged member"), no_image.clone()],
        ),
        of_six(
            "a-block-of-data-cut-out",
            |bytes, at| {
                bytes.drain(at + 600..at + 1112);
            },
            |at| vec![(Lost::At(at), "damaged member"), no_image.clone()],
        ),
        of_six(
            "nine-bytes-put-into-data",
            |bytes, at| {
                bytes.splice(at + 600..at + 600, [7; 9]);
            },
            |at| vec![(Lost::At(at), "damaged member"), (Lost::Key(""), "damaged header"), no_image.clone()],
        ),
        Fault {
            intact: keys(0..6),
            ..of_six(
                "a-block-put-in",
                |bytes, at| {
                    bytes.splice(at..at, [0xAA; 512]);
                },
                |at| vec![(Lost::At(at), "damaged header")],
            )
        },
        Fault {
            intact: keys(0..6),
            ..of_six(
                "a-zero-block-put-in",
                |bytes, at| {
                    bytes.splice(at..at, [0; 512]);
                },
                |at| vec![(Lost::At(at), "zeroed blocks")],
            )
        },
        Fault {
            intact: keys(0..6),
            ..of_six(
                "another-shard-behind-it",
                |bytes, _| {
                    let second = Shard::default().sample("00009").finish();
                    bytes.extend(second);
                },
                |_| vec![(Lost::Key(""), "zeroed blocks")],
            )
        }
        .and_intact("00009"),
    ]
}

impl Fault {
    fn and_intact(mut self, key: &str) -> Self {
        self.intact.push(key.to_owned());
        self
    }
}

fn ends() -> Vec<Fault> {
    let cut = |name, length: &dyn Fn(&Shard) -> usize, intact: usize, more: &[(Lost, &'static str)]| {
        let shard = Shard::six();
        let length = length(&shard);
        let mut bytes = shard.finish();
        bytes.truncate(length);
        let lost = [(Lost::Key(""), "truncated shard")].into_iter().chain(more.iter().cloned()).collect();
        Fault { name, bytes, intact: keys(0..intact), lost }
    };
    vec![
        cut("cut-in-a-header", &|shard| shard.head("00004.jpg") + 100, 4, &[]),
        cut("cut-before-a-header", &|shard| shard.head("00004.jpg"), 4, &[]),
        cut("cut-between-members", &|shard| shard.head("00004.txt"), 4, &[(Lost::Key("00004"), "no caption")]),
        cut("cut-in-data", &|shard| shard.head("00004.jpg") + 700, 4, &[]),
        cut("no-end-mark", &|shard| shard.bytes.len(), 6, &[]),
        cut("half-an-end-mark", &|shard| shard.bytes.len() + 512, 6, &[]),
    ]
}

fn names_and_sizes() -> Vec<Fault> {
    let before = || Shard::default().sample("00000");
    // A header in front of a whole sample.
    let liar = |name, size: [u8; 12], kind: u8, reason| {
        let shard = before();
        let at = shard.bytes.len();
        let bytes = shard.header(header(b"liar.txt", kind, &size)).sample("00001").finish();
        Fault { name, bytes, intact: keys([0, 1]), lost: vec![(Lost::At(at), reason)] }
    };
    let with = |name, shard: Shard, lost: Vec<(Lost, &'static str)>| Fault {
        name,
        bytes: shard.sample("00001").finish(),
        intact: keys([0, 1]),
        lost,
    };
    let at = before().bytes.len();
    let link = |kind, target: &[u8]| {
        let mut block = header(b"00009.jpg", kind, &octal(0));
        block[157..157 + target.len()].copy_from_slice(target);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    };
    let specials = *b"123456";
    let linked = specials.iter().fold(before(), |shard, kind| shard.header(link(*kind, b"../../etc/passwd")));
    let traversal = before().member("../../escape.jpg", &jpeg(1)).member("../../escape.txt", b"a caption");
    let absolute = traversal.member("/tmp/escape.jpg", &jpeg(2)).member("/tmp/escape.txt", b"a caption");
    let long = format!("{}x", "d/".repeat(5000));
    let record = |suffix: &str| {
        let text = format!(" path={long}.{suffix}\n");
        let digits = (text.len() + 5).to_string();
        format!("{digits}{text}").into_bytes()
    };
    let long_jpg = pax(before(), &record("jpg")).header(header(b"cut.jpg", b'0', &octal(jpeg(3).len()))).data(&jpeg(3));
    let long_name = pax(long_jpg, &record("txt")).header(header(b"cut.txt", b'0', &octal(1))).data(b"x");
    let smuggled = header(b"smuggled.txt", b'0', &octal(0));
    let desync = pax(before(), b"19 size=0000000512\n").header(header(b"outer.txt", b'0', &octal(0))).header(smuggled);
    let bytes_name = before()
        .header(header(b"\xFF\xFE.jpg", b'0', &octal(jpeg(4).len())))
        .data(&jpeg(4))
        .header(header(b"\xFF\xFE.txt", b'0', &octal(1)))
        .data(b"x");
    vec![
        liar("size-of-8-eib", base_256(0x80, 0x7F), b'0', "bad size"),
        liar("size-below-zero", base_256(0xFF, 0xFF), b'0', "bad size"),
        liar("size-beyond-the-end", octal(1 << 30), b'0', "bad size"),
        liar("size-that-is-no-number", *b"12x456789ab\0", b'0', "bad size"),
        liar("long-name-of-2-mib", octal(2 << 20), b'L', "bad size"),
        with("pax-size-against-header", desync, vec![(Lost::Key("outer"), "no image")]),
        with(
            "pax-malformed",
            pax(before(), b"99 path=a\n").header(header(b"refused.txt", b'0', &octal(5))).data(b"hello"),
            vec![(Lost::At(at + 1024), "malformed pax header")],
        ),
        with("name-empty", before().header(header(b"", b'0', &octal(0))), vec![(Lost::At(at), "no name")]),
        with("name-without-suffix", before().member("README", b"x"), vec![(Lost::Key(""), "no suffix")]),
        with("links-and-devices", linked, vec![]),
        Fault {
            intact: [keys([0]), vec!["../../escape".into(), "/tmp/escape".into()], keys([1])].concat(),
            ..with("paths-that-lead-out", absolute, vec![])
        },
        Fault { intact: [keys([0]), vec![long.clone()], keys([1])].concat(), ..with("name-of-10-kb", long_name, vec![]) },
        Fault { intact: [keys([0]), vec!["\u{FFFD}\u{FFFD}".into()], keys([1])].concat(), ..with("name-not-utf-8", bytes_name, vec![]) },
    ]
}

fn groups() -> Vec<Fault> {
    let with = |name, members: &[&str], intact: Vec<String>, lost: Vec<(Lost, &'static str)>| {
        let shard = members.iter().fold(Shard::default(), |shard, member| match member.ends_with("jpg") {
            true => shard.member(member, &jpeg(5)),
            false => shard.member(member, b"a caption"),
        });
        Fault { name, bytes: shard.finish(), intact, lost }
    };
    let mixed = |key| [(Lost::Key(key), "mixed members"), (Lost::Key(key), "no image")];
    vec![
        with("no-caption", &["0.jpg", "0.txt", "1.jpg"], vec!["0".into()], vec![(Lost::Key("1"), "no caption")]),
        with("no-picture", &["0.txt", "1.jpg", "1.txt"], vec!["1".into()], vec![(Lost::Key("0"), "no image")]),
        with(
            "suffix-twice",
            &["0.jpg", "0.txt", "0.jpg", "0.txt"],
            vec!["0".into(), "0".into()],
            vec![(Lost::Key("0"), "repeated suffix")],
        ),
        with(
            "members-mixed",
            &["0.jpg", "1.jpg", "0.txt", "1.txt", "2.jpg", "2.txt"],
            vec!["2".into()],
            [vec![(Lost::Key("0"), "no caption"), (Lost::Key("1"), "no caption")], mixed("0").into(), mixed("1").into()].concat(),
        ),
        // The shard before ends with key 2 as well: an end ends a sample.
        with("next-shard-same-key", &["2.jpg", "2.txt"], vec!["2".into()], vec![]),
    ]
}

/// A sample between two whole ones.
fn between(name: &'static str, suffix: &str, picture: &[u8], caption: &[u8], reason: Option<&'static str>) -> Fault {
    let shard = Shard::default().sample("00000").member(&format!("00001.{suffix}"), picture).member("00001.txt", caption).sample("00002");
    let lost = reason.map(|reason| (Lost::Key("00001"), reason));
    let intact = keys(if lost.is_some() { vec![0, 2] } else { vec![0, 1, 2] });
    Fault { name, bytes: shard.finish(), intact, lost: lost.into_iter().collect() }
}

fn pictures() -> Vec<Fault> {
    let half = |format| {
        let mut bytes = encoded(6, format);
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    let picture = |name, suffix, bytes: &[u8], reason| between(name, suffix, bytes, b"a caption", reason);
    vec![
        picture("jpeg-truncated", "jpg", &half(ImageFormat::Jpeg), Some("truncated image")),
        picture("png-truncated", "png", &half(ImageFormat::Png), Some("truncated image")),
        picture("webp-truncated", "webp", &half(ImageFormat::WebP), Some("image")),
        picture("bomb-of-65000-x-65000", "png", &claims(65_000, 65_000), Some("too many pixels")),
        picture("no-width", "png", &claims(0, 20), Some("image")),
        picture("png-called-jpg", "jpg", &encoded(7, ImageFormat::Png), None),
        picture(
            "png-of-16-bits",
            "png",
            &dynamic(DynamicImage::ImageLuma16(ImageBuffer::from_pixel(9, 7, Luma([40_000]))), ImageFormat::Png),
            None,
        ),
        picture(
            "png-with-alpha",
            "png",
            &dynamic(DynamicImage::ImageRgba8(ImageBuffer::from_pixel(9, 7, Rgba([1, 2, 3, 0]))), ImageFormat::Png),
            None,
        ),
        picture("grey-jpeg", "jpg", &dynamic(DynamicImage::ImageLuma8(ImageBuffer::from_pixel(9, 7, Luma([40]))), ImageFormat::Jpeg), None),
        picture("gif-called-jpg", "jpg", &encoded(9, ImageFormat::Gif), None),
        picture(
            "one-pixel-of-600-columns",
            "png",
            &dynamic(DynamicImage::ImageRgb8(ImageBuffer::from_pixel(600, 1, Rgb([9, 9, 9]))), ImageFormat::Png),
            None,
        ),
        picture("html-called-jpg", "jpg", b"<!DOCTYPE html><html>404</html>", Some("not an image")),
        picture("picture-of-no-bytes", "jpg", b"", Some("empty file")),
    ]
}

fn captions() -> Vec<Fault> {
    let caption = |name, caption: &[u8], reason| between(name, "jpg", &jpeg(8), caption, reason);
    vec![
        caption("caption-not-utf-8", b"caf\xE9", Some("not UTF-8")),
        caption("caption-empty", b"", Some("empty caption")),
        caption("caption-blank", b" \r\n\t", Some("empty caption")),
        caption("caption-of-1-mib", &vec![b'a'; 1 << 20], None),
        caption("caption-beyond-1-mib", &vec![b'a'; (1 << 20) + 1], Some("text too large")),
        caption("caption-with-special-tokens", b"<start_of_text> a \x00 <end_of_text> b", None),
    ]
}
