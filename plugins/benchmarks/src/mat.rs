//! MATLAB's level 5 files (`.mat`), as far as labels are kept in them: arrays of numbers, texts, cells and structures.
//!
//! The format: "MAT-File Format", The MathWorks, level 5. A file is a list of elements, each with its type and size; arrays are elements made of
//! others, and may be compressed.

use std::io::Read;
use std::path::Path;

use vlhub_sdk::prelude::*;

/// Largest file that is read, and largest array when unpacked: 32 MiB. The files of labels have less than one.
const LARGEST: u64 = 32 << 20;
/// Arrays within arrays.
const DEEPEST: usize = 8;
/// Length of a file's header.
const HEADER: usize = 128;

// Types of elements.
const MI_INT8: u32 = 1;
const MI_UINT8: u32 = 2;
const MI_INT16: u32 = 3;
const MI_UINT16: u32 = 4;
const MI_INT32: u32 = 5;
const MI_UINT32: u32 = 6;
const MI_SINGLE: u32 = 7;
const MI_DOUBLE: u32 = 9;
const MI_INT64: u32 = 12;
const MI_UINT64: u32 = 13;
const MI_MATRIX: u32 = 14;
const MI_COMPRESSED: u32 = 15;
const MI_UTF8: u32 = 16;
const MI_UTF16: u32 = 17;

// Classes of arrays.
const MX_CELL: u8 = 1;
const MX_STRUCT: u8 = 2;
const MX_CHAR: u8 = 4;
const MX_DOUBLE: u8 = 6;
const MX_UINT64: u8 = 15;

/// An array.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MatArray {
    /// Numbers, column by column.
    Numbers(Vec<f64>),
    /// A text.
    Text(String),
    /// Arrays, column by column.
    Cells(Vec<MatArray>),
    /// Structures with the same fields: names, and for each structure its values.
    Structs(Vec<String>, Vec<Vec<MatArray>>),
    /// Something that is not read: objects, functions, sparse arrays.
    Other,
}

impl MatArray {
    /// The numbers of an array of numbers.
    pub fn numbers(&self) -> Option<&[f64]> {
        if let Self::Numbers(numbers) = self { Some(numbers) } else { None }
    }

    /// A text.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The texts of a cell array of texts.
    pub fn texts(&self) -> Option<Vec<String>> {
        let Self::Cells(cells) = self else { return None };
        cells.iter().map(|cell| cell.text().map(str::to_owned)).collect()
    }

    /// The values of a field in each of several structures.
    pub fn field(&self, name: &str) -> Option<Vec<&Self>> {
        let Self::Structs(fields, rows) = self else { return None };
        let at = fields.iter().position(|field| field == name)?;
        Some(rows.iter().map(|row| &row[at]).collect())
    }
}

/// The array that is called `name` in a file.
///
/// # Errors
/// No such file or array; a file that is damaged, too large, or of another format.
pub(crate) fn array(path: &Path, name: &str) -> Result<MatArray> {
    let file = std::fs::File::open(path).map_err(|error| Error::io(path, error))?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| Error::io(path, error))?;
    let broken = |problem: String| Error::invalid(format!("{} is no MATLAB file that can be read: {problem}", path.display()));
    if bytes.len() as u64 > LARGEST {
        return Err(broken(format!("it has more than {LARGEST} bytes")));
    }
    let arrays = arrays(&bytes).map_err(broken)?;
    let names: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
    let missing = broken(format!("it has no array `{name}`; it has: {}", names.join(" ")));
    arrays.into_iter().find(|(known, _)| known == name).map(|(_, array)| array).ok_or(missing)
}

/// All arrays of a file, with their names.
fn arrays(bytes: &[u8]) -> Result<Vec<(String, MatArray)>, String> {
    let header = bytes.get(..HEADER).ok_or("it is shorter than its header")?;
    match &header[124..] {
        [_, 1, b'I', b'M'] => {}
        [1, _, b'M', b'I'] => return Err("its numbers are big-endian, which is not read".into()),
        [_, 2, b'I', b'M'] => return Err("it is of version 7.3 (HDF5), which is not read; save it with `-v7`".into()),
        _ => return Err("it has not the header of a level 5 file".into()),
    }
    let mut rest = &bytes[HEADER..];
    let mut arrays = Vec::new();
    while !rest.is_empty() {
        let element = Element::next(&mut rest, true)?;
        let unpacked;
        let matrix = match element.kind {
            MI_COMPRESSED => {
                unpacked = inflate(element.bytes)?;
                let inner = Element::next(&mut unpacked.as_slice(), false)?;
                if inner.kind != MI_MATRIX {
                    continue;
                }
                inner.bytes
            }
            MI_MATRIX => element.bytes,
            _ => continue,
        };
        arrays.push(matrix_of(matrix, 0)?);
    }
    Ok(arrays)
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let read = flate2::read::ZlibDecoder::new(bytes).take(LARGEST + 1).read_to_end(&mut unpacked);
    read.map_err(|error| format!("a compressed array is damaged: {error}"))?;
    if unpacked.len() as u64 > LARGEST { Err(format!("an array has more than {LARGEST} bytes when unpacked")) } else { Ok(unpacked) }
}

/// A typed run of bytes.
struct Element<'a> {
    kind: u32,
    bytes: &'a [u8],
}

impl<'a> Element<'a> {
    /// Takes the next one. `top` elements are not filled up to eight bytes where they are compressed.
    fn next(rest: &mut &'a [u8], top: bool) -> Result<Self, String> {
        let word = |at: usize| rest.get(at..at + 4).and_then(|word| Some(u32::from_le_bytes(word.try_into().ok()?)));
        let short = || "an element goes beyond the end".to_owned();
        let first = word(0).ok_or_else(short)?;
        // A small element has its size in the upper half of its type, and its bytes where others have their size.
        let (kind, start, size) = match first >> 16 {
            0 => (first, 8usize, word(4).ok_or_else(short)? as usize),
            size if size <= 4 => (first & 0xFFFF, 4, size as usize),
            size => return Err(format!("a small element has {size} bytes")),
        };
        let end = start.checked_add(size).ok_or_else(short)?;
        let bytes = rest.get(start..end).ok_or_else(short)?;
        let filled = match start {
            4 => 8,
            _ if top && kind == MI_COMPRESSED => end,
            _ => end.div_ceil(8) * 8,
        };
        *rest = rest.get(filled..).unwrap_or_default();
        Ok(Self { kind, bytes })
    }

    /// Its numbers.
    fn numbers(&self) -> Result<Vec<f64>, String> {
        fn all<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            bytes.chunks_exact(N).filter_map(|chunk| chunk.try_into().ok()).map(number).collect()
        }
        Ok(match self.kind {
            MI_INT8 => all(self.bytes, |bytes| f64::from(i8::from_le_bytes(bytes))),
            MI_UINT8 => all(self.bytes, |bytes| f64::from(u8::from_le_bytes(bytes))),
            MI_INT16 => all(self.bytes, |bytes| f64::from(i16::from_le_bytes(bytes))),
            MI_UINT16 => all(self.bytes, |bytes| f64::from(u16::from_le_bytes(bytes))),
            MI_INT32 => all(self.bytes, |bytes| f64::from(i32::from_le_bytes(bytes))),
            MI_UINT32 => all(self.bytes, |bytes| f64::from(u32::from_le_bytes(bytes))),
            MI_SINGLE => all(self.bytes, |bytes| f64::from(f32::from_le_bytes(bytes))),
            MI_DOUBLE => all(self.bytes, f64::from_le_bytes),
            MI_INT64 => all(self.bytes, |bytes| i64::from_le_bytes(bytes) as f64),
            MI_UINT64 => all(self.bytes, |bytes| u64::from_le_bytes(bytes) as f64),
            kind => return Err(format!("numbers of type {kind} are not known")),
        })
    }

    /// Its characters.
    fn text(&self) -> Result<String, String> {
        match self.kind {
            MI_UTF8 | MI_INT8 | MI_UINT8 => Ok(String::from_utf8_lossy(self.bytes).into_owned()),
            MI_UTF16 | MI_UINT16 => {
                let units: Vec<u16> = self.bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
                Ok(String::from_utf16_lossy(&units))
            }
            kind => Err(format!("characters of type {kind} are not known")),
        }
    }
}

/// An array and its name. `depth` arrays stand around it.
fn matrix_of(mut rest: &[u8], depth: usize) -> Result<(String, MatArray), String> {
    if depth > DEEPEST {
        return Err("its arrays are nested too deep".into());
    }
    if rest.is_empty() {
        return Ok((String::new(), MatArray::Numbers(Vec::new())));
    }
    let flags = Element::next(&mut rest, false)?;
    let class = *flags.bytes.first().ok_or("an array has no class")?;
    let sides = Element::next(&mut rest, false)?.numbers()?;
    let count = sides.iter().try_fold(1usize, |count, side| {
        let side = if *side >= 0.0 && *side <= LARGEST as f64 { *side as usize } else { return None };
        count.checked_mul(side).filter(|count| *count as u64 <= LARGEST)
    });
    let count = count.ok_or("an array has impossible dimensions")?;
    let name = Element::next(&mut rest, false)?.text()?;
    let array = match class {
        MX_DOUBLE..=MX_UINT64 => MatArray::Numbers(Element::next(&mut rest, false)?.numbers()?),
        MX_CHAR => MatArray::Text(Element::next(&mut rest, false)?.text()?),
        MX_CELL => MatArray::Cells(many(&mut rest, count, depth)?),
        MX_STRUCT => {
            let width = Element::next(&mut rest, false)?.numbers()?.first().copied().unwrap_or_default() as usize;
            let names = Element::next(&mut rest, false)?;
            if width == 0 {
                return Err("a structure has fields without names".into());
            }
            let field = |name: &[u8]| String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
            let fields: Vec<String> = names.bytes.chunks(width).map(field).collect();
            let mut rows = Vec::new();
            for _ in 0..count {
                if fields.is_empty() {
                    break;
                }
                rows.push(many(&mut rest, fields.len(), depth)?);
            }
            MatArray::Structs(fields, rows)
        }
        _ => MatArray::Other,
    };
    Ok((name, array))
}

/// So many arrays, one after another. An array takes at least the eight bytes of its head, so a count that lies ends at the end of the bytes.
fn many(rest: &mut &[u8], count: usize, depth: usize) -> Result<Vec<MatArray>, String> {
    let mut arrays = Vec::new();
    for _ in 0..count {
        let element = Element::next(rest, false)?;
        let array = if element.kind == MI_MATRIX { matrix_of(element.bytes, depth + 1)?.1 } else { MatArray::Other };
        arrays.push(array);
    }
    Ok(arrays)
}

#[cfg(test)]
#[path = "mat_tests.rs"]
mod tests;
