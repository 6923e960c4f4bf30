//! What a bootstrap draws: whole sampling units, such as a picture with all its rows (cluster bootstrap; Field and Welsh, 2007).

use std::collections::HashMap;

use rand_core::RngCore;
use vlhub_core::{MeanOf, SampleTable, ScoreColumn};

use crate::data::philox::Philox;

/// Columns of a table by sampling unit, of which as many as there are can be drawn with replacement, again and again.
#[derive(Debug)]
pub struct Resampler {
    /// How many columns there are.
    width: usize,
    /// Classes whose means are averaged; one where all rows count alike.
    classes: usize,
    /// Where the parts of each unit end.
    ends: Vec<usize>,
    /// The rows of a unit that are of one class: the class, and how many they are.
    parts: Vec<(usize, f64)>,
    /// The sum of each column over the rows of each part, part by part.
    sums: Vec<f64>,
}

impl Resampler {
    /// Of `columns`, whose rows belong to `units`. `classes` has the class of each row where the means of the classes are averaged; it is
    /// empty where all rows count alike.
    pub fn new(columns: &[&[f32]], units: &[u32], classes: &[u32]) -> Self {
        let class = |row: usize| classes.get(row).map_or(0, |class| *class as usize);
        let mut rows: Vec<usize> = (0..units.len()).collect();
        rows.sort_by_key(|row| (units[*row], class(*row)));
        let count = rows.iter().map(|row| class(*row) + 1).max().unwrap_or(0);
        let mut laid = Self { width: columns.len(), classes: count, ends: Vec::new(), parts: Vec::new(), sums: Vec::new() };
        for unit in rows.chunk_by(|left, right| units[*left] == units[*right]) {
            for part in unit.chunk_by(|left, right| class(*left) == class(*right)) {
                laid.parts.push((class(part[0]), part.len() as f64));
                laid.sums.extend(columns.iter().map(|column| part.iter().map(|row| f64::from(column[*row])).sum::<f64>()));
            }
            laid.ends.push(laid.parts.len());
        }
        laid
    }

    /// Of one column, averaged as its metric is.
    pub fn of_column(table: &SampleTable, column: &ScoreColumn) -> Self {
        let rows = column.values.len();
        let by_class = column.mean == MeanOf::Classes && table.classes.len() == rows;
        let classes: &[u32] = if by_class { &table.classes } else { &[] };
        Self::new(&[column.values.as_slice()], &unit_numbers(&table.units, rows), classes)
    }

    /// How many sampling units there are.
    pub fn units(&self) -> usize {
        self.ends.len()
    }

    /// The mean of each column as it was seen.
    pub fn observed(&self) -> Vec<f64> {
        self.means(|draw| draw)
    }

    /// The mean of each column over units that are drawn anew. A class of which no row was drawn is left out of the mean of the classes'
    /// means.
    pub fn redrawn(&self, rng: &mut Philox) -> Vec<f64> {
        let count = self.units() as u64;
        self.means(|_| ((u64::from(rng.next_u32()) * count) >> 32) as usize)
    }

    /// The mean of each column over as many units as there are; `pick` says which unit each draw takes.
    fn means(&self, mut pick: impl FnMut(usize) -> usize) -> Vec<f64> {
        let width = self.width;
        let (mut sums, mut rows) = (vec![0.0f64; self.classes * width], vec![0.0f64; self.classes]);
        for draw in 0..self.units() {
            let unit = pick(draw);
            let start = if unit == 0 { 0 } else { self.ends[unit - 1] };
            for part in start..self.ends[unit] {
                let (class, count) = self.parts[part];
                rows[class] += count;
                let own = &self.sums[part * width..(part + 1) * width];
                sums[class * width..(class + 1) * width].iter_mut().zip(own).for_each(|(sum, value)| *sum += value);
            }
        }
        let drawn = rows.iter().filter(|count| **count > 0.0).count() as f64;
        let mut means = vec![0.0f64; width];
        for (class, count) in rows.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let own = &sums[class * width..(class + 1) * width];
            means.iter_mut().zip(own).for_each(|(mean, sum)| *mean += sum / count / drawn);
        }
        means
    }
}

/// Sampling units as numbers, one for each of so many rows: rows of one unit have the same, and a row without a unit has one of its own.
pub fn unit_numbers(units: &[String], rows: usize) -> Vec<u32> {
    if units.len() != rows {
        return (0..rows as u32).collect();
    }
    let (mut known, mut next) = (HashMap::new(), 0u32);
    let mut numbers = Vec::with_capacity(rows);
    for unit in units {
        let number = if unit.is_empty() { next } else { *known.entry(unit.as_str()).or_insert(next) };
        next += u32::from(number == next);
        numbers.push(number);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_unit_have_one_number() {
        let units = ["a", "", "b", "a", "", "b"].map(str::to_owned);
        assert_eq!(unit_numbers(&units, 6), [0, 1, 2, 0, 3, 2]);
        assert_eq!(unit_numbers(&[], 3), [0, 1, 2], "each row is a unit of its own");
    }

    #[test]
    fn what_was_seen_is_the_mean_of_rows_or_of_classes() {
        let (first, second) = ([1.0f32, 1.0, 1.0, 0.0], [0.0f32, 2.0, 4.0, 6.0]);
        let columns: [&[f32]; 2] = [&first, &second];
        let means = |units: &[u32], classes: &[u32]| Resampler::new(&columns, units, classes).observed();
        assert_eq!(means(&[0, 1, 2, 3], &[]), [0.75, 3.0]);
        assert_eq!(means(&[1, 0, 0, 1], &[]), [0.75, 3.0], "units are drawn, and change no mean that was seen");
        assert_eq!(means(&[0, 1, 0, 1], &[7, 7, 7, 2]), [0.5, 4.0], "the means 1 and 0, and 2 and 6");
        assert_eq!(Resampler::new(&columns, &[], &[]).observed(), [0.0, 0.0]);
    }

    #[test]
    fn a_class_that_is_not_drawn_is_left_out() {
        // Two classes of one row each: a draw has both, whose mean is a half, or one of them twice.
        let values = [0.0f32, 1.0];
        let resampler = Resampler::new(&[values.as_slice()], &[0, 1], &[0, 1]);
        let mut rng = Philox::new([7u64]);
        let draws: Vec<f64> = (0..400).flat_map(|_| resampler.redrawn(&mut rng)).collect();
        let share = |wanted: f64| draws.iter().filter(|mean| **mean == wanted).count() as f64 / 400.0;
        assert!((share(0.0) - 0.25).abs() < 0.08 && (share(1.0) - 0.25).abs() < 0.08, "{} {}", share(0.0), share(1.0));
        assert!(draws.iter().all(|mean| [0.0, 0.5, 1.0].contains(mean)), "{draws:?}");
    }

    #[test]
    fn whole_units_are_drawn() {
        let values = [0.0f32, 0.0, 1.0, 1.0];
        let resampler = Resampler::new(&[values.as_slice()], &[0, 0, 1, 1], &[]);
        let mut rng = Philox::new([7u64]);
        let draws: Vec<f64> = (0..100).flat_map(|_| resampler.redrawn(&mut rng)).collect();
        assert!(draws.iter().all(|mean| [0.0, 0.5, 1.0].contains(mean)), "rows would make quarters: {draws:?}");
    }
}
