//! One header block, and the records of a PAX header.

use super::BLOCK;

/// The 512 bytes before a member's data.
pub(crate) struct TarHeader<'a>(pub &'a [u8; BLOCK as usize]);

impl TarHeader<'_> {
    pub fn checksum_agrees(&self) -> bool {
        // The field itself counts as spaces, eight of which are 256. Less, or an empty field, stands only in what is no header.
        let Some(written) = octal(&self.0[148..156]).filter(|written| *written >= 256) else { return false };
        let (all, field) = (self.0.iter(), self.0[148..156].iter());
        let unsigned = |bytes: std::slice::Iter<'_, u8>| bytes.map(|byte| u32::from(*byte)).sum::<u32>();
        if written == u64::from(unsigned(all.clone()) + 256 - unsigned(field.clone())) {
            return true;
        }
        // Some old writers added the bytes up as signed numbers.
        let signed = |bytes: std::slice::Iter<'_, u8>| bytes.map(|byte| i64::from(*byte as i8)).sum::<i64>();
        written as i64 == signed(all) + 256 - signed(field)
    }

    pub fn kind(&self) -> u8 {
        self.0[156]
    }

    /// Whether it is of a plain file.
    pub fn is_regular(&self) -> bool {
        matches!(self.kind(), b'0' | b'7' | 0)
    }

    pub fn size(&self) -> Option<u64> {
        let field = &self.0[124..136];
        if field[0] & 0x80 == 0 {
            return octal(field);
        }
        // Base 256, big-endian; the bit after the first would make it negative.
        if field[0] != 0x80 || field[1..4] != [0; 3] {
            return None;
        }
        field[4..].iter().try_fold(0u64, |value, byte| value.checked_mul(256)?.checked_add(u64::from(*byte)))
    }

    /// Whether an extended header before this one may hold a longer name: then the name here is cut to its field, and Python's `tarfile` writes
    /// `?` for what is not ASCII.
    pub fn name_may_be_cut(&self) -> bool {
        let field = &self.0[..100];
        field.contains(&b'?') || (self.0[345] == 0 && !field[..99].contains(&0))
    }

    /// Writes the name into `name`.
    pub fn name(&self, name: &mut Vec<u8>) {
        name.clear();
        if &self.0[257..263] == b"ustar\0" && self.0[345] != 0 {
            name.extend_from_slice(until_zero(&self.0[345..500]));
            name.push(b'/');
        }
        name.extend_from_slice(self.name_field());
    }

    /// The field of the name, without what ustar keeps of it elsewhere.
    pub fn name_field(&self) -> &[u8] {
        until_zero(&self.0[..100])
    }
}

fn until_zero(field: &[u8]) -> &[u8] {
    &field[..memchr::memchr(0, field).unwrap_or(field.len())]
}

/// An octal number with spaces before and a space or zero byte after it; an empty field is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let (mut value, mut at) = (0u64, 0);
    while at < field.len() && field[at] == b' ' {
        at += 1;
    }
    while at < field.len() && field[at] != b' ' && field[at] != 0 {
        let digit = field[at].wrapping_sub(b'0');
        if digit > 7 || value >> 61 != 0 {
            return None;
        }
        value = value << 3 | u64::from(digit);
        at += 1;
    }
    Some(value)
}

pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// The records `LENGTH KEY=VALUE\n` of a PAX header, or `None` if it is malformed.
pub(super) fn pax(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() && bytes[0] != 0 {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let length = usize::try_from(decimal(&bytes[..space])?).ok().filter(|length| *length <= bytes.len() && *length > space + 1)?;
        let record = bytes[space + 1..length].strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Some(records)
}
