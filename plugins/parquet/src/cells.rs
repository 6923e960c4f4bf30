//! One row's values out of Arrow's arrays. What is null is not there.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use crate::columns::ImageColumn;

/// A label as it stands in a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LabelCell {
    Number(i64),
    Name(String),
    /// A number that is not whole, or too large.
    Wrong(String),
}

/// A picture as it stands in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageCell {
    pub bytes: Option<Vec<u8>>,
    pub path: Option<String>,
}

/// A text, if there is one.
pub(crate) fn text(array: &dyn Array, row: usize) -> Option<&str> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        _ => None,
    }
}

/// A text, or the texts of a list.
pub(crate) fn texts(array: &dyn Array, row: usize) -> Vec<String> {
    match items(array, row) {
        Some(list) => (0..list.len()).filter_map(|at| text(&list, at)).map(str::to_owned).collect(),
        None => text(array, row).map(str::to_owned).into_iter().collect(),
    }
}

/// A label, or the labels of a list.
pub(crate) fn labels(array: &dyn Array, row: usize) -> Vec<LabelCell> {
    match items(array, row) {
        Some(list) => (0..list.len()).filter_map(|at| label(&list, at)).collect(),
        None => label(array, row).into_iter().collect(),
    }
}

/// The items of a list; `None` where the column holds no lists.
fn items(array: &dyn Array, row: usize) -> Option<ArrayRef> {
    let empty = || array.slice(0, 0);
    match array.data_type() {
        DataType::List(_) => {
            Some(if array.is_null(row) { array.as_list::<i32>().values().slice(0, 0) } else { array.as_list::<i32>().value(row) })
        }
        DataType::LargeList(_) => {
            Some(if array.is_null(row) { array.as_list::<i64>().values().slice(0, 0) } else { array.as_list::<i64>().value(row) })
        }
        DataType::FixedSizeList(..) => Some(if array.is_null(row) { empty() } else { array.as_fixed_size_list().value(row) }),
        _ => None,
    }
}

fn label(array: &dyn Array, row: usize) -> Option<LabelCell> {
    if let Some(name) = text(array, row) {
        return Some(LabelCell::Name(name.to_owned()));
    }
    if let Some(number) = whole(array, row) {
        return Some(number.map_or_else(|| LabelCell::Wrong("a number above 2^63".into()), LabelCell::Number));
    }
    // pandas writes whole numbers as floating ones where a column of them has holes, and a hole may be NaN.
    let value = real(array, row).filter(|value| !value.is_nan())?;
    let is_whole = value.fract() == 0.0 && value.abs() < 9e15;
    Some(if is_whole { LabelCell::Number(value as i64) } else { LabelCell::Wrong(value.to_string()) })
}

/// A whole number; the inner `None` is one that does not fit.
fn whole(array: &dyn Array, row: usize) -> Option<Option<i64>> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Int8 => Some(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Some(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Some(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Some(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => Some(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => Some(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => i64::try_from(array.as_primitive::<UInt64Type>().value(row)).ok(),
        _ => return None,
    })
}

/// A floating number.
fn real(array: &dyn Array, row: usize) -> Option<f64> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Float16 => Some(array.as_primitive::<Float16Type>().value(row).to_f64()),
        DataType::Float32 => Some(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(row)),
        _ => None,
    }
}

/// A text, number or truth value as text.
pub(crate) fn plain(array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Boolean => Some(array.as_boolean().value(row).to_string()),
        DataType::UInt64 => Some(array.as_primitive::<UInt64Type>().value(row).to_string()),
        // As it was written: 0.1 of 32 bits is `0.1`.
        DataType::Float32 => Some(array.as_primitive::<Float32Type>().value(row).to_string()),
        _ => text(array, row)
            .map(str::to_owned)
            .or_else(|| whole(array, row).flatten().map(|number| number.to_string()))
            .or_else(|| real(array, row).map(|number| number.to_string())),
    }
}

/// A picture's bytes and path.
pub(crate) fn image(array: &dyn Array, row: usize, column: ImageColumn) -> ImageCell {
    if array.is_null(row) {
        return ImageCell::default();
    }
    match column {
        ImageColumn::Bytes => ImageCell { bytes: bytes(array, row), path: None },
        ImageColumn::Path => ImageCell { bytes: None, path: text(array, row).map(str::to_owned) },
        ImageColumn::Struct { bytes: at, path } => {
            let fields = array.as_struct();
            ImageCell {
                bytes: at.and_then(|at| bytes(fields.column(at), row)),
                path: path.and_then(|at| text(fields.column(at), row)).map(str::to_owned),
            }
        }
    }
}

fn bytes(array: &dyn Array, row: usize) -> Option<Vec<u8>> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Binary => Some(array.as_binary::<i32>().value(row).to_vec()),
        DataType::LargeBinary => Some(array.as_binary::<i64>().value(row).to_vec()),
        DataType::FixedSizeBinary(_) => Some(array.as_fixed_size_binary().value(row).to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float64Array, Int64Array, ListArray, StringArray, UInt64Array};

    #[test]
    fn holes_are_holes_and_whole_numbers_whole() {
        let floats = Float64Array::from(vec![Some(3.0), None, Some(f64::NAN), Some(1.5), Some(-1.0)]);
        let of = |row| labels(&floats, row);
        assert_eq!(of(0), [LabelCell::Number(3)]);
        assert_eq!((of(1), of(2)), (vec![], vec![]), "null, and what pandas puts in its place");
        assert_eq!((of(3), of(4)), (vec![LabelCell::Wrong("1.5".into())], vec![LabelCell::Number(-1)]));
        assert_eq!(labels(&UInt64Array::from(vec![u64::MAX]), 0), [LabelCell::Wrong("a number above 2^63".into())]);
        assert_eq!(plain(&UInt64Array::from(vec![u64::MAX]), 0).as_deref(), Some("18446744073709551615"));
        let words = StringArray::from(vec![Some("nan"), None, Some("")]);
        assert_eq!((text(&words, 0), text(&words, 1), text(&words, 2)), (Some("nan"), None, Some("")));
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1), None, Some(2)]), None, Some(vec![])]);
        assert_eq!(labels(&lists, 0), [LabelCell::Number(1), LabelCell::Number(2)]);
        assert_eq!((labels(&lists, 1), labels(&lists, 2)), (vec![], vec![]));
        assert_eq!(texts(&Int64Array::from(vec![1]), 0), Vec::<String>::new());
    }
}
