//! Fixed position embeddings of sines and cosines.

use vlhub_sdk::nn::Path;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::no_grad;

/// Makes `positional_embedding` `[1 + side², width]` of sines and cosines, which is saved and not trained: zeros for the class token, then
/// for each place, row by row, its column in the first half of the width and its row in the second, each as sines and cosines of falling
/// frequency (MoCo v3, arXiv 2104.02057). `width` is a multiple of 4.
///
/// # Errors
/// When the name is taken.
pub(crate) fn sin_cos_2d(path: &Path<'_>, side: i64, width: i64) -> Result<Tensor> {
    let name = "positional_embedding";
    if path.get(name).is_some() {
        return Err(Error::invalid(format!("there is a parameter `{}` already; each tower needs a path of its own", path.path(name))));
    }
    let quarter = width / 4;
    let mut values = vec![0f32; width as usize];
    for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
        for place in [column, row] {
            let angles = (0..quarter).map(|index| place as f64 / 10000f64.powf(index as f64 / quarter as f64));
            values.extend(angles.clone().map(|angle| angle.sin() as f32));
            values.extend(angles.map(|angle| angle.cos() as f32));
        }
    }
    let mut table = path.f_zeros_no_train(name, &[1 + side * side, width])?;
    no_grad(|| table.f_copy_(&Tensor::from_slice(&values).view([1 + side * side, width])))?;
    Ok(table)
}
