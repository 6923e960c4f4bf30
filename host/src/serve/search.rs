//! Pictures that can be searched: their files and unit-length embeddings.

use std::path::PathBuf;

use tch::{Device, Kind, Tensor};
use vlhub_core::{Error, Result};

/// An index of pictures.
#[derive(Debug, Default)]
pub struct PictureIndex {
    /// The files, in the order of the rows.
    pub files: Vec<PathBuf>,
    /// `[N, D]`, unit rows, float; `None` while it is empty.
    rows: Option<Tensor>,
}

impl PictureIndex {
    /// Of files and their embeddings, unit rows `[B, D]` in batches.
    ///
    /// # Errors
    /// Other numbers of files and rows.
    pub fn new(files: Vec<PathBuf>, batches: &[Tensor]) -> Result<Self> {
        let rows = if batches.is_empty() { None } else { Some(Tensor::f_cat(batches, 0)?) };
        let count = rows.as_ref().map_or(0, |rows| rows.size()[0] as usize);
        if count != files.len() {
            return Err(Error::invalid(format!("{} files and {count} embeddings", files.len())));
        }
        Ok(Self { files, rows })
    }

    /// The places of the `top` pictures nearest to a unit vector `[D]`, with their cosines, the nearest first; of equal ones the lower place.
    ///
    /// # Errors
    /// A vector of another width.
    pub fn nearest(&self, query: &Tensor, top: usize) -> Result<Vec<(usize, f64)>> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let cosines = rows.f_matmul(&query.f_reshape([-1, 1])?)?.f_squeeze_dim(1)?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
        let mut found: Vec<(usize, f64)> = Vec::<f32>::try_from(cosines)?.into_iter().map(f64::from).enumerate().collect();
        let order = |left: &(usize, f64), right: &(usize, f64)| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0));
        if found.len() > top {
            found.select_nth_unstable_by(top, order);
            found.truncate(top);
        }
        found.sort_by(order);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_of_equal_ones_the_lower() {
        let rows = Tensor::from_slice(&[1.0f32, 0.0, 0.6, 0.8, 1.0, 0.0, 0.0, 1.0]).view([4, 2]);
        let files = (0..4).map(|at| PathBuf::from(format!("{at}.png"))).collect();
        let index = PictureIndex::new(files, &[rows]).expect("as many files as rows");
        let query = Tensor::from_slice(&[1.0f32, 0.0]);
        let places = |top| index.nearest(&query, top).expect("found").into_iter().map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!((places(3), places(9)), (vec![0, 2, 1], vec![0, 2, 1, 3]));
        assert!(PictureIndex::new(vec!["a".into()], &[]).is_err());
        assert!(PictureIndex::default().nearest(&query, 3).expect("none").is_empty());
    }
}
