//! NumPy's array files (`.npy`, format versions 1 to 3), as lists of numbers.

use serde_json::Value;

use super::mix::literal;

/// What a file begins with.
const MAGIC: &[u8] = b"\x93NUMPY";

/// The numbers of an array of at most one dimension; whole numbers above 2^53 are rounded.
///
/// # Errors
/// What is no such file, or an array of other elements than booleans, whole and floating point numbers.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<f64>, String> {
    let cut = || "it ends within its header".to_owned();
    let rest = bytes.strip_prefix(MAGIC).ok_or("it is no NumPy array: it does not begin with `\\x93NUMPY`")?;
    let (version, rest) = rest.split_at_checked(2).ok_or_else(cut)?;
    let width = if version[0] == 1 { 2 } else { 4 };
    let (length, rest) = rest.split_at_checked(width).ok_or_else(cut)?;
    let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
    let header = std::str::from_utf8(header).map_err(|error| format!("its header: {error}"))?;
    let header = literal::parse(header).map_err(|error| format!("its header: {error}"))?;

    let shape = header.get("shape").and_then(Value::as_array).ok_or("its header has no `shape`")?;
    let count = match &shape[..] {
        [] => Some(1),
        [count] => count.as_u64().and_then(|count| usize::try_from(count).ok()),
        _ => return Err(format!("it has {} dimensions; one is read", shape.len())),
    };
    let count = count.ok_or("its header has a wrong `shape`")?;
    let descr = header.get("descr").and_then(Value::as_str).unwrap_or_default();
    let (order, kind) = descr.split_at_checked(1).unwrap_or_default();
    let size = kind.get(1..).and_then(|size| size.parse::<usize>().ok()).unwrap_or_default();
    let number = number(kind).ok_or_else(|| format!("its elements are `{descr}`; numbers and booleans are read"))?;
    if count.checked_mul(size) != Some(data.len()) {
        return Err(format!("{} bytes for {count} elements of {size}", data.len()));
    }
    let element = |bytes: &[u8]| {
        let mut little = [0; 8];
        little[..size].copy_from_slice(bytes);
        if order == ">" {
            little[..size].reverse();
        }
        number(little)
    };
    Ok(data.chunks(size).map(element).collect())
}

/// How an element's bytes, the lowest first and filled up with 0, are a number.
fn number(kind: &str) -> Option<fn([u8; 8]) -> f64> {
    /// The first bytes of eight.
    fn first<const N: usize>(bytes: [u8; 8]) -> [u8; N] {
        std::array::from_fn(|at| bytes[at])
    }
    Some(match kind {
        "b1" | "u1" | "u2" | "u4" | "u8" => |bytes| u64::from_le_bytes(bytes) as f64,
        "i1" => |bytes| f64::from(bytes[0] as i8),
        "i2" => |bytes| f64::from(i16::from_le_bytes(first(bytes))),
        "i4" => |bytes| f64::from(i32::from_le_bytes(first(bytes))),
        "i8" => |bytes| i64::from_le_bytes(bytes) as f64,
        "f4" => |bytes| f64::from(f32::from_le_bytes(first(bytes))),
        "f8" => |bytes| f64::from_le_bytes(bytes),
        _ => return None,
    })
}

/// An array file of 64-bit whole numbers, for tests.
#[cfg(test)]
pub(super) fn write(values: &[i64]) -> Vec<u8> {
    let mut header = format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}", values.len());
    let whole = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(64);
    header += &" ".repeat(whole - MAGIC.len() - 4 - header.len() - 1);
    header.push('\n');
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), &data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn numbers_of_every_kind_are_read() {
        for (descr, data, expected) in [
            ("|b1", &[1, 0][..], &[1.0, 0.0][..]),
            ("|u1", &[255], &[255.0]),
            ("|i1", &[255], &[-1.0]),
            ("<i2", &[0xFE, 0xFF], &[-2.0]),
            (">i2", &[0xFF, 0xFE], &[-2.0]),
            ("<u4", &[1, 0, 0, 1], &[16_777_217.0]),
            ("<i8", &[3, 0, 0, 0, 0, 0, 0, 0], &[3.0]),
            ("<f4", &[0, 0, 0xC0, 0x3F], &[1.5]),
            (">f8", &[0x3F, 0xF8, 0, 0, 0, 0, 0, 0], &[1.5]),
        ] {
            assert_eq!(parse(&file(descr, &format!("({},)", expected.len()), data)).expect(descr), expected, "{descr}");
        }
        assert_eq!(parse(&file("|u1", "()", &[7])).expect("a number"), [7.0]);
        assert_eq!(parse(&write(&[1, -1, 9])).expect("a list"), [1.0, -1.0, 9.0]);
        assert_eq!(parse(&write(&[])).expect("a list"), [0.0; 0]);
    }

    #[test]
    fn what_is_no_list_of_numbers_is_told() {
        for (bytes, wanted) in [
            (b"PK\x03\x04".to_vec(), "no NumPy array"),
            (MAGIC.to_vec(), "ends within its header"),
            ([MAGIC, &[1, 0, 200, 0], b"{"].concat(), "ends within its header"),
            (file("<U3", "(1,)", &[0; 12]), "`<U3`"),
            (file("|O", "(1,)", &[0; 12]), "`|O`"),
            (file("|u1", "(2, 2)", &[0; 4]), "2 dimensions"),
            (file("|u1", "(2,)", &[0; 3]), "3 bytes for 2 elements of 1"),
            (file("<i8", "(18446744073709551615,)", &[0; 8]), "wrong `shape`"),
            (file("<i8", "(4611686018427387904,)", &[0; 8]), "8 bytes for"),
        ] {
            let error = parse(&bytes).expect_err(wanted);
            assert!(error.contains(wanted), "{error}");
        }
    }
}
