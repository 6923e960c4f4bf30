//! Position embeddings for another number of positions, or another shape of the picture, as open_clip and timm make them when they load
//! weights.

use tch::{Kind, Tensor};

/// Height and width of pictures, in pixels: of a table of positions, only the ratio counts.
pub type PictureSize = Option<(i64, i64)>;

/// A table that was brought to another size.
#[derive(Debug)]
pub struct Resized {
    /// The values, fp32.
    pub tensor: Tensor,
    /// From what to what, for the log.
    pub how: String,
}

/// Resizes a position embedding to `wanted`, the model's shape; `None` when this name or these shapes allow none, or nothing has to be done.
/// `picture` is height and width of the model's pictures, `from` those of the weights; without them, the weights' grid is taken as square
/// where it can be. Whatever the type of the numbers, they are resized in fp32.
pub fn resize(name: &str, found: &Tensor, wanted: &[i64], picture: PictureSize, from: PictureSize) -> Option<Resized> {
    let size = found.size();
    if size.len() != wanted.len() || size.last() != wanted.last() {
        return None;
    }
    match (name, &size[..]) {
        // open_clip: one class token, then the grid. CLIP's ResNets and timm's attention pool: the mean, then the grid.
        ("visual.positional_embedding" | "visual.attnpool.positional_embedding" | "visual.head.pool.pos_embed", [rows, _]) => {
            grid(found, [*rows, wanted[0]], 1, picture, from)
        }
        ("positional_embedding" | "text.positional_embedding", [rows, _]) if *rows != wanted[0] => Some(line(found, *rows, wanted[0])),
        // timm: `[1, positions, width]`, with as many tokens before the grid as leave two squares.
        ("visual.trunk.pos_embed", [1, rows, _]) => {
            let square = |count: i64| count > 0 && (count as f64).sqrt().fract() == 0.0;
            let fits = |count: i64, of: PictureSize| square(count) || of.is_some_and(|of| of.0 != of.1 && sides(count, of).is_some());
            let before = (0..=8).find(|before| fits(rows - before, from) && fits(wanted[1] - before, picture))?;
            let table = grid(&found.squeeze_dim(0), [*rows, wanted[1]], before, picture, from)?;
            Some(Resized { tensor: table.tensor.unsqueeze(0), ..table })
        }
        _ => None,
    }
}

/// Rows and columns of a grid of `count` patches over pictures of this height and width.
fn sides(count: i64, (height, width): (i64, i64)) -> Option<(i64, i64)> {
    let down = (count as f64 * height as f64 / width as f64).sqrt().round() as i64;
    (down >= 1 && count % down == 0).then(|| (down, count / down))
}

/// `[before + old grid, width]` to `[before + new grid, width]`: bicubic with antialiasing; the tokens before the grid stay.
fn grid(found: &Tensor, [rows, wanted]: [i64; 2], before: i64, picture: PictureSize, from: PictureSize) -> Option<Resized> {
    let (rows, wanted) = (rows - before, wanted - before);
    if rows < 1 || wanted < 1 {
        return None;
    }
    let side = (rows as f64).sqrt() as i64;
    let new = sides(wanted, picture.unwrap_or((1, 1)))?;
    let old = match from.and_then(|from| sides(rows, from)) {
        Some(old) => old,
        None if side * side == rows => (side, side),
        // No square: with as many patches as the model, it is taken for the model's own grid.
        None if rows == wanted => new,
        None => return None,
    };
    if old == new {
        return None;
    }
    let found = found.to_kind(Kind::Float);
    let map = found.narrow(0, before, rows).reshape([1, old.0, old.1, -1]).permute([0, 3, 1, 2]);
    let map = map.internal_upsample_bicubic2d_aa([new.0, new.1], false, None, None);
    let map = map.permute([0, 2, 3, 1]).reshape([wanted, -1]);
    let tensor = Tensor::cat(&[found.narrow(0, 0, before), map], 0);
    Some(Resized { tensor, how: format!("a grid of {} x {} positions to {} x {}", old.0, old.1, new.0, new.1) })
}

/// `[old, width]` to `[new, width]`, linear.
fn line(found: &Tensor, rows: i64, wanted: i64) -> Resized {
    let found = found.to_kind(Kind::Float);
    let tensor = found.transpose(0, 1).unsqueeze(0).upsample_linear1d([wanted], false, None::<f64>).squeeze_dim(0).transpose(0, 1);
    Resized { tensor, how: format!("{rows} positions of texts to {wanted}") }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    /// A class token of -1, then a grid whose numbers are its rows.
    fn table(down: i64, across: i64) -> Tensor {
        let rows = Tensor::arange(down, (Kind::Float, Device::Cpu)).view([down, 1]).expand([down, across], false).reshape([-1, 1]);
        Tensor::cat(&[Tensor::full([1, 1], -1.0, (Kind::Float, Device::Cpu)), rows], 0)
    }

    fn resized(found: &Tensor, wanted: i64, picture: PictureSize, from: PictureSize) -> Option<Tensor> {
        resize("visual.positional_embedding", found, &[wanted, 1], picture, from).map(|resized| resized.tensor)
    }

    #[test]
    fn a_grid_of_as_many_patches_in_another_shape_is_resampled() {
        let square = table(6, 6);
        let wide = resized(&square, 37, Some((64, 144)), None).expect("6 x 6 is not 4 x 9");
        assert_eq!(wide.double_value(&[0, 0]), -1.0, "the class token stays");
        let map = wide.narrow(0, 1, 36).view([4, 9]);
        assert!((map.get(0) - map.get(0).get(0)).abs().max().double_value(&[]) < 1e-5, "columns are equal in each row");
        let steps = map.select(1, 0).diff(1, 0, None::<Tensor>, None::<Tensor>);
        assert!(steps.min().double_value(&[]) > 1.0, "four rows span what six did: {map:?}");
        // Weights that say that their pictures had this shape are left as they are.
        assert!(resized(&square, 37, Some((64, 144)), Some((32, 72))).is_none());
        assert!(resized(&square, 37, Some((96, 96)), None).is_none());
        let back = resized(&table(4, 9), 37, Some((96, 96)), Some((64, 144))).expect("4 x 9 is not 6 x 6");
        assert!(back.narrow(0, 1, 6).std(false).double_value(&[]) < 1e-5, "the first row of six has one number: {back:?}");
        assert!(resized(&table(3, 4), 13, Some((30, 40)), None).is_none(), "no square: the model's own grid");
    }

    #[test]
    fn tables_of_half_precision_are_resized_in_fp32() {
        for kind in [Kind::Half, Kind::BFloat16] {
            let found = table(2, 2).to_kind(kind);
            let grid = resized(&found, 17, Some((8, 8)), None).expect("2 x 2 to 4 x 4");
            assert_eq!((grid.kind(), grid.size()), (Kind::Float, vec![17, 1]), "{kind:?}");
            let texts = resize("positional_embedding", &found, &[9, 1], None, None).expect("5 to 9").tensor;
            assert_eq!((texts.kind(), texts.size()), (Kind::Float, vec![9, 1]), "{kind:?}");
        }
    }
}
