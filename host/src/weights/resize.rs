//! Position embeddings for another number of positions, as open_clip and timm make them when they load weights.

use tch::{Kind, Tensor};

/// Resizes a position embedding to `wanted`, the model's shape; `None` when this name or these shapes allow none. `picture` is height and
/// width of the model's pictures.
pub fn resize(name: &str, found: &Tensor, wanted: &[i64], picture: Option<(i64, i64)>) -> Option<Tensor> {
    let size = found.size();
    if size.len() != wanted.len() || size.last() != wanted.last() {
        return None;
    }
    let found = found.to_kind(Kind::Float);
    match (name, &size[..]) {
        // open_clip: one class token, then the grid. CLIP's ResNets: the mean, then the grid.
        ("visual.positional_embedding" | "visual.attnpool.positional_embedding", [from, _]) => grid(&found, *from, wanted[0], 1, picture),
        ("positional_embedding" | "text.positional_embedding", [_, _]) => Some(line(&found, wanted[0])),
        // timm's attention pool: the mean, then the grid.
        ("visual.head.pool.pos_embed", [from, _]) => grid(&found, *from, wanted[0], 1, picture),
        // timm: `[1, positions, width]`, with as many tokens before the grid as leave two squares.
        ("visual.trunk.pos_embed", [1, from, _]) => {
            let square = |count: i64| count > 0 && (count as f64).sqrt().fract() == 0.0;
            let before =
                (0..=8).find(|before| square(from - before) && (square(wanted[1] - before) || picture.is_some_and(|(h, w)| h != w)))?;
            grid(&found.squeeze_dim(0), *from, wanted[1], before, picture).map(|table| table.unsqueeze(0))
        }
        _ => None,
    }
}

/// `[before + old grid, width]` to `[before + new grid, width]`: bicubic with antialiasing; the tokens before the grid stay.
fn grid(found: &Tensor, from: i64, to: i64, before: i64, picture: Option<(i64, i64)>) -> Option<Tensor> {
    let (from, to) = (from - before, to - before);
    let side = (from as f64).sqrt() as i64;
    let (height, width) = picture.unwrap_or((1, 1));
    let down = (to as f64 * height as f64 / width as f64).sqrt().round() as i64;
    if from < 1 || to < 1 || side * side != from || down < 1 || to % down != 0 {
        return None;
    }
    let across = to / down;
    let map = found.narrow(0, before, from).view([1, side, side, -1]).permute([0, 3, 1, 2]);
    let map = map.internal_upsample_bicubic2d_aa([down, across], false, None, None);
    let map = map.permute([0, 2, 3, 1]).reshape([to, -1]);
    Some(Tensor::cat(&[found.narrow(0, 0, before), map], 0))
}

/// `[old, width]` to `[new, width]`, linear.
fn line(found: &Tensor, to: i64) -> Tensor {
    found.transpose(0, 1).unsqueeze(0).upsample_linear1d([to], false, None::<f64>).squeeze_dim(0).transpose(0, 1)
}
