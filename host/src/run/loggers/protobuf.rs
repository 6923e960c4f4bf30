//! The wire format of protocol buffers: enough to write event files and W&B's records, and to read the latter again.

/// A protocol buffer that is being written.
#[derive(Default)]
pub(super) struct ProtoWriter(pub Vec<u8>);

impl ProtoWriter {
    /// A message that is filled by `fill`.
    pub fn of(fill: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut message = Self::default();
        fill(&mut message);
        message.0
    }

    fn raw(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// An integer, a flag or a choice of an enumeration.
    pub fn varint(&mut self, field: u64, value: u64) {
        self.raw(field << 3);
        self.raw(value);
    }

    /// A number of 64 bits.
    pub fn double(&mut self, field: u64, value: f64) {
        self.raw(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes, or a text in UTF-8.
    pub fn bytes(&mut self, field: u64, value: &[u8]) {
        self.raw(field << 3 | 2);
        self.raw(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A text.
    pub fn text(&mut self, field: u64, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A number of 32 bits.
    pub fn float(&mut self, field: u64, value: f32) {
        self.raw(field << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A message within this one.
    pub fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self)) {
        self.bytes(field, &Self::of(fill));
    }
}

/// What a field of a message holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum WireValue<'a> {
    /// An integer, a flag or a choice of an enumeration.
    Varint(u64),
    /// Bytes: a text or a message.
    Bytes(&'a [u8]),
    /// A number of 32 or 64 bits, of which nothing is read here.
    Fixed,
}

/// The fields of a message in their order: number and value. `None` where the bytes are no message.
pub(super) fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, WireValue<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => WireValue::Varint(varint(&mut bytes)?),
            1 => take(&mut bytes, 8).map(|_| WireValue::Fixed)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                WireValue::Bytes(take(&mut bytes, length)?)
            }
            5 => take(&mut bytes, 4).map(|_| WireValue::Fixed)?,
            _ => return None,
        };
        found.push((key >> 3, value));
    }
    Some(found)
}

/// The bytes of the first field of that number.
pub(super) fn field(message: &[u8], number: u64) -> Option<&[u8]> {
    fields(message)?.into_iter().find_map(|(found, value)| match value {
        WireValue::Bytes(bytes) if found == number => Some(bytes),
        _ => None,
    })
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(length)?;
    *bytes = tail;
    Some(head)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_encoded_as_protocol_buffers() {
        let mut proto = ProtoWriter::default();
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
    fn what_was_written_is_read_and_anything_else_is_refused() {
        let message = ProtoWriter::of(|proto| {
            proto.varint(1, u64::MAX);
            proto.text(200, "ä");
            proto.double(3, 0.5);
            proto.float(4, 0.5);
        });
        let expected =
            [(1, WireValue::Varint(u64::MAX)), (200, WireValue::Bytes("ä".as_bytes())), (3, WireValue::Fixed), (4, WireValue::Fixed)];
        assert_eq!(fields(&message).as_deref(), Some(&expected[..]));
        assert_eq!(field(&message, 200), Some("ä".as_bytes()));
        assert_eq!((field(&message, 1), field(&message, 7)), (None, None), "no bytes, and no field");
        for broken in [&message[..message.len() - 1], &[0x0b], &[0x80; 11], &[0x12, 0x7f, 1]] {
            assert_eq!(fields(broken), None, "{broken:?}");
        }
    }
}
