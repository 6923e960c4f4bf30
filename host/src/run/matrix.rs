//! Confusion matrices: as CSV, and in an order that puts confused classes side by side.

use vlhub_core::{Error, Matrix, Result, SampleTable};

/// As CSV: a row per true class, a column per predicted class.
///
/// # Errors
/// The matrix is not square.
pub fn to_csv(matrix: &Matrix) -> Result<Vec<u8>> {
    let classes = matrix.classes.len();
    if matrix.counts.len() != classes || matrix.counts.iter().any(|row| row.len() != classes) {
        return Err(Error::invalid(format!("it has {classes} class names but its counts are not {classes} by {classes}")));
    }
    let mut csv = csv::Writer::from_writer(Vec::new());
    let fail = |error: csv::Error| Error::invalid(error.to_string());
    csv.write_record(std::iter::once("true\\predicted").chain(matrix.classes.iter().map(String::as_str))).map_err(fail)?;
    for (class, row) in matrix.classes.iter().zip(&matrix.counts) {
        csv.write_record(std::iter::once(class.clone()).chain(row.iter().map(u64::to_string))).map_err(fail)?;
    }
    csv.into_inner().map_err(|error| Error::invalid(error.to_string()))
}

/// Back from CSV.
///
/// # Errors
/// The line that is not a row of the matrix.
pub fn from_csv(bytes: &[u8]) -> Result<Matrix> {
    let fail = |error: csv::Error| Error::invalid(error.to_string());
    let mut csv = csv::ReaderBuilder::new().from_reader(bytes);
    let classes: Vec<_> = csv.headers().map_err(fail)?.iter().skip(1).map(str::to_owned).collect();
    let mut counts = Vec::new();
    for (line, row) in csv.records().enumerate() {
        let row = row.map_err(fail)?;
        let row: Vec<u64> = row
            .iter()
            .skip(1)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|error| Error::invalid(format!("line {}: a count is not a number: {error}", line + 2)))?;
        counts.push(row);
    }
    if counts.len() != classes.len() {
        return Err(Error::invalid(format!("it has {} rows for {} classes", counts.len(), classes.len())));
    }
    Ok(Matrix { classes, counts })
}

/// The counts of a table of samples, whose classes are places in `names`.
pub fn of_table(table: &SampleTable, names: &[String]) -> Matrix {
    let mut counts = vec![vec![0; names.len()]; names.len()];
    for (truth, guess) in table.classes.iter().zip(&table.predicted) {
        counts[*truth as usize][*guess as usize] += 1;
    }
    Matrix { classes: names.to_vec(), counts }
}

/// Places of the classes that have samples or were predicted.
pub fn seen(matrix: &Matrix) -> Vec<usize> {
    let predicted = |class: usize| matrix.counts.iter().any(|row| row[class] > 0);
    (0..matrix.classes.len()).filter(|class| matrix.counts[*class].iter().any(|count| *count > 0) || predicted(*class)).collect()
}

/// The names of the classes in the order of [`clustered`], as CSV.
///
/// # Errors
/// None that can happen: each row has one cell.
pub fn order_to_csv(matrix: &Matrix) -> Result<Vec<u8>> {
    let names = clustered(matrix).into_iter().map(|class| matrix.classes[class].as_str());
    super::results::csv_of(std::iter::once("class").chain(names).map(|name| vec![name]))
}

/// An order of the classes that are [`seen`], in which those that are taken for each other are neighbours.
///
/// Agglomerative clustering with average linkage (by nearest-neighbour chains, which is quadratic in the number of classes) on the symmetric
/// share of confusions; of two clusters that merge, each is turned so that their most similar ends meet.
pub fn clustered(matrix: &Matrix) -> Vec<usize> {
    let classes = matrix.classes.len();
    let share: Vec<Vec<f64>> = matrix
        .counts
        .iter()
        .map(|row| {
            let samples = row.iter().sum::<u64>().max(1) as f64;
            row.iter().map(|&count| count as f64 / samples).collect()
        })
        .collect();
    let between = |a: usize, b: usize| f64::midpoint(share[a][b], share[b][a]);
    let mut near: Vec<Vec<f64>> = (0..classes).map(|a| (0..classes).map(|b| between(a, b)).collect()).collect();
    let mut members: Vec<Option<Vec<usize>>> = (0..classes).map(|class| Some(vec![class])).collect();
    let mut merges = Vec::new();
    let mut chain: Vec<usize> = Vec::new();
    while members.iter().flatten().count() > 1 {
        let top = match chain.last() {
            Some(&top) => top,
            None => {
                let first = members.iter().position(Option::is_some).unwrap_or_default();
                chain.push(first);
                first
            }
        };
        let before = chain.len().checked_sub(2).map(|at| chain[at]);
        let others = (0..classes).filter(|&other| other != top && members[other].is_some());
        // Of equals the one before wins, otherwise the chain would never close.
        let next = others.fold(before, |best, other| match best {
            Some(best) if near[top][best] >= near[top][other] => Some(best),
            _ => Some(other),
        });
        let Some(next) = next else { break };
        if before != Some(next) {
            chain.push(next);
            continue;
        }
        chain.truncate(chain.len() - 2);
        let (keep, gone) = (top.min(next), top.max(next));
        merges.push((near[keep][gone], keep, gone));
        let sizes = [keep, gone].map(|cluster| members[cluster].as_ref().map_or(0, Vec::len) as f64);
        for other in (0..classes).filter(|&other| other != keep && other != gone) {
            let mean = (sizes[0] * near[keep][other] + sizes[1] * near[gone][other]) / (sizes[0] + sizes[1]);
            near[keep][other] = mean;
            near[other][keep] = mean;
        }
        let joined = members[gone].take().zip(members[keep].take()).map(|(right, left)| join(left, right, between));
        members[keep] = joined;
    }
    let seen = seen(matrix);
    members.into_iter().flatten().flatten().filter(|class| seen.binary_search(class).is_ok()).collect()
}

/// Puts two runs of classes one behind the other, each turned so that the ends that meet are most similar.
fn join(left: Vec<usize>, right: Vec<usize>, between: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    let turned = |run: &[usize], turn: bool| -> Vec<usize> { if turn { run.iter().rev().copied().collect() } else { run.to_vec() } };
    let mut best: Option<(f64, Vec<usize>)> = None;
    for (turn_left, turn_right) in [(false, false), (true, false), (false, true), (true, true)] {
        let (a, b) = (turned(&left, turn_left), turned(&right, turn_right));
        let meet = a.last().zip(b.first()).map_or(0.0, |(&a, &b)| between(a, b));
        if best.as_ref().is_none_or(|(found, _)| meet > *found) {
            best = Some((meet, [a, b].concat()));
        }
    }
    best.map(|(_, run)| run).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(counts: &[&[u64]]) -> Matrix {
        Matrix {
            classes: (0..counts.len()).map(|class| format!("c{class}")).collect(),
            counts: counts.iter().map(|row| row.to_vec()).collect(),
        }
    }

    #[test]
    fn csv_keeps_names_with_commas_and_quotes() {
        let mut given = matrix(&[&[3, 1], &[0, 4]]);
        given.classes = vec!["a, \"b\"".into(), "line\nbreak".into()];
        assert_eq!(from_csv(&to_csv(&given).expect("it is square")).expect("it is sound"), given);
        assert!(to_csv(&Matrix { classes: vec!["a".into()], counts: vec![] }).is_err(), "it is not square");
        assert!(from_csv(b"x,a\na,many\n").expect_err("no number").to_string().contains("line 2"));
    }

    #[test]
    fn confused_classes_become_neighbours() {
        // 0 and 3 are taken for each other, and so are 1 and 4; 2 is sometimes taken for 1.
        let given = matrix(&[&[5, 0, 0, 5, 0], &[0, 6, 1, 0, 4], &[0, 2, 8, 0, 0], &[4, 0, 0, 6, 0], &[0, 5, 0, 0, 5]]);
        let order = clustered(&given);
        let place = |class: usize| order.iter().position(|&at| at == class).expect("every class is there") as i64;
        assert_eq!((place(0) - place(3)).abs(), 1, "{order:?}");
        assert_eq!((place(1) - place(4)).abs(), 1, "{order:?}");
        assert_eq!((place(2) - place(1)).abs(), 1, "{order:?}: ends that meet are similar");
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn clustering_ends_on_ties_and_on_many_classes() {
        for classes in [0, 1, 2, 300] {
            let row = vec![1; classes];
            let rows: Vec<&[u64]> = (0..classes).map(|_| row.as_slice()).collect();
            assert_eq!(clustered(&matrix(&rows)).len(), classes);
        }
    }
}
