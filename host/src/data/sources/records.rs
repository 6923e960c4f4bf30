//! Where the records of a table begin and end.
//!
//! A quote that is not closed would make the rest of the table one field. Here a record has a largest length; past it, the quotes of its first
//! line are taken for plain characters, so one bad row costs one row.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Result, Seek, SeekFrom};

/// Longest record: 256 KiB.
const LONGEST: u64 = 256 << 10;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its bytes, without the end of its line.
    pub length: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// The bytes; `None` if it is too long, or if its quotes are not closed.
    pub bytes: Option<Vec<u8>>,
}

/// Splits a table into records. Empty lines are passed over, as pandas does; a byte order mark is too.
#[derive(Debug)]
pub(crate) struct Records {
    reader: BufReader<File>,
    separator: u8,
    at: u64,
    line: u64,
}

impl Records {
    /// From the beginning of a file.
    pub fn new(mut file: File, separator: u8) -> Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mark = reader.fill_buf()?.starts_with(b"\xEF\xBB\xBF");
        if mark {
            reader.consume(3);
        }
        Ok(Self { reader, separator, at: if mark { 3 } else { 0 }, line: 1 })
    }

    /// The next record, or `None` at the end.
    pub fn read(&mut self) -> Result<Option<Record>> {
        loop {
            let (offset, line) = (self.at, self.line);
            let mut bytes = Vec::new();
            let mut open = false;
            loop {
                let room = (LONGEST + 1).saturating_sub(bytes.len() as u64);
                let before = bytes.len();
                let count = (&mut self.reader).take(room).read_until(b'\n', &mut bytes)?;
                self.at += count as u64;
                let ended = bytes.ends_with(b"\n");
                self.line += u64::from(ended);
                open = quoted(&bytes[before..], self.separator, open);
                if count == 0 || bytes.len() as u64 > LONGEST || (ended && !open) {
                    break;
                }
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            if open || bytes.len() as u64 > LONGEST {
                return self.first_line_only(offset, line).map(Some);
            }
            bytes.truncate(trimmed(&bytes));
            if !bytes.is_empty() {
                return Ok(Some(Record { offset, length: bytes.len() as u64, line, bytes: Some(bytes) }));
            }
        }
    }

    /// Goes back to where a record began and passes over its first line.
    fn first_line_only(&mut self, offset: u64, line: u64) -> Result<Record> {
        self.reader.seek(SeekFrom::Start(offset))?;
        let mut length = 0;
        loop {
            let buffer = self.reader.fill_buf()?;
            let (count, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(place) => (place + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.reader.consume(count);
            length += count as u64;
            if ended {
                break;
            }
        }
        self.at = offset + length;
        self.line = line + 1;
        Ok(Record { offset, length, line, bytes: None })
    }
}

/// Length without the end of the line.
fn trimmed(bytes: &[u8]) -> usize {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes).len()
}

/// Whether a quoted field is open after these bytes. A quote opens a field only as its first character.
fn quoted(bytes: &[u8], separator: u8, mut open: bool) -> bool {
    let mut first = !open;
    for byte in bytes {
        match byte {
            b'"' if open => open = false,
            // A doubled quote closes a field and opens it again at once.
            b'"' if first => open = true,
            _ => {}
        }
        first = !open && (*byte == separator || *byte == b'\n' || (*byte == b'"' && !first));
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn records(text: &[u8]) -> Vec<(u64, Option<String>)> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text).expect("room");
        let mut records = Records::new(file, b',').expect("it reads");
        let mut all = Vec::new();
        while let Some(record) = records.read().expect("it reads") {
            let text = record.bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert!(text.is_none() || text.as_ref().map(|text| text.len() as u64) == Some(record.length));
            all.push((record.line, text));
        }
        all
    }

    #[test]
    fn records_begin_and_end_as_csv_says() {
        let long = "x".repeat(3 << 20);
        for (text, expected, why) in [
            ("a,b\nc,d\n", vec![(1, Some("a,b")), (2, Some("c,d"))], "lines"),
            ("\u{feff}a\r\nb", vec![(1, Some("a")), (2, Some("b"))], "byte order mark, CRLF, no end of line at the end"),
            ("a\n\n\r\nb\n", vec![(1, Some("a")), (4, Some("b"))], "empty lines"),
            ("\"a\nb\",c\nd\n", vec![(1, Some("\"a\nb\",c")), (3, Some("d"))], "a line end in quotes"),
            ("\"a\"\"\n\",b\nc\n", vec![(1, Some("\"a\"\"\n\",b")), (3, Some("c"))], "a doubled quote"),
            ("5\" disk,a\nb\n", vec![(1, Some("5\" disk,a")), (2, Some("b"))], "a quote inside a field is a character"),
            ("a,\"b\nc\nd\n", vec![(1, None), (2, Some("c")), (3, Some("d"))], "a quote that is never closed costs its line"),
            (&format!("{long}\nb\n"), vec![(1, None), (2, Some("b"))], "a line that is too long"),
            ("", vec![], "nothing"),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(line, text)| (line, text.map(str::to_owned))).collect();
            assert_eq!(records(text.as_bytes()), expected, "{why}");
        }
    }
}
