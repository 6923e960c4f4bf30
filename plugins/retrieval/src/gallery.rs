//! Examples for the page: questions, and what was found for them.

use std::collections::BTreeMap;

use vlhub_sdk::prelude::*;
use vlhub_sdk::{Answer, Example, Thumbnail};

use crate::pictures::Pictures;
use crate::pool::{Measure, Pool};
use crate::rank::Ranks;

/// Questions of each direction whose answer comes first, and so many whose answer does not.
const QUESTIONS: usize = 6;
/// Answers that are shown of each question.
const ANSWERS: usize = 5;

/// What is known after the ranks.
pub(crate) struct Gallery<'a> {
    pub measure: &'a Measure<'a>,
    pub pool: &'a Pool,
    pub pictures: &'a Pictures,
    pub ranks: &'a Ranks,
    pub data: &'a dyn Dataset,
}

/// An answer before its picture is read again: place, score, whether it is right, and its rank where it is not among the first.
struct Found {
    place: usize,
    score: f32,
    right: bool,
    rank: Option<i64>,
}

impl Gallery<'_> {
    /// Questions in both directions, evenly spread over the data set: half of them with the right answer first.
    ///
    /// # Errors
    /// What the model's scorer refuses.
    pub(crate) fn examples(&self) -> Result<Vec<Example>> {
        let owners = self.pictures.owners();
        let captions: Vec<&String> = self.pictures.captions.iter().flatten().collect();
        let mut thumbnails = Thumbnails { gallery: self, known: BTreeMap::new() };
        let mut examples = Vec::new();
        for text in chosen(&self.ranks.texts) {
            let scores = self.pool.of_text(self.measure, text as i64)?;
            let is_right = |picture: usize| picture as i64 == owners[text];
            let found = best(&scores, is_right, owners[text] as usize, self.ranks.texts[text]);
            let pictures = found.iter().filter_map(|found| thumbnails.of(found.place, Some(found))).collect();
            let title = captions[text].clone();
            examples.push(Example { section: "Texts to pictures".into(), title, pictures, texts: Vec::new() });
        }
        for picture in chosen(&self.ranks.images) {
            let scores = self.pool.of_image(self.measure, picture as i64)?;
            let is_right = |text: usize| owners[text] == picture as i64;
            let found = best(&scores, is_right, self.ranks.best[picture] as usize, self.ranks.images[picture]);
            let texts = found.iter().map(|found| found.answer(captions[found.place])).collect();
            let pictures = thumbnails.of(picture, None).into_iter().collect();
            let title = self.pictures.first[picture].0.clone();
            examples.push(Example { section: "Pictures to texts".into(), title, pictures, texts });
        }
        Ok(examples)
    }
}

impl Found {
    fn answer(&self, text: &str) -> Answer {
        let text = self.rank.map_or_else(|| text.to_owned(), |rank| format!("{text} (place {})", rank + 1));
        Answer { text, score: Some(f64::from(self.score)), right: Some(self.right) }
    }
}

/// Pictures, which are read again for the page: none is kept while thousands are encoded.
struct Thumbnails<'a> {
    gallery: &'a Gallery<'a>,
    known: BTreeMap<usize, Option<RgbImage>>,
}

impl Thumbnails<'_> {
    /// A picture as an answer, or as a question. `None` when it can no longer be read.
    fn of(&mut self, picture: usize, found: Option<&Found>) -> Option<Thumbnail> {
        let (key, at) = &self.gallery.pictures.first[picture];
        let data = self.gallery.data;
        let image = self.known.entry(picture).or_insert_with(|| data.sample(*at).ok().map(|sample| small(&sample.image)));
        let question = || Answer { text: key.clone(), score: None, right: None };
        let answer = found.map_or_else(question, |found| found.answer(key));
        image.as_ref().map(|image| Thumbnail { image: image.clone(), answer })
    }
}

fn small(image: &RgbImage) -> RgbImage {
    Thumbnail::new(image, Answer::default()).image
}

/// Questions that are shown: of those whose answer comes first and of those whose answer does not, each evenly spread.
fn chosen(ranks: &[i64]) -> Vec<usize> {
    let (hits, misses): (Vec<usize>, Vec<usize>) = (0..ranks.len()).partition(|at| ranks[*at] == 0);
    let spread = |all: Vec<usize>| {
        let count = all.len().min(QUESTIONS);
        (0..count).map(|at| all[at * all.len() / count]).collect::<Vec<_>>()
    };
    [spread(hits), spread(misses)].concat()
}

/// The first answers in the order of ranks, and behind them the `right` one with its `rank`, where it is not among them.
fn best(scores: &[f32], is_right: impl Fn(usize) -> bool, right: usize, rank: i64) -> Vec<Found> {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    let order = |left: &usize, other: &usize| scores[*other].total_cmp(&scores[*left]).then(left.cmp(other));
    if places.len() > ANSWERS {
        places.select_nth_unstable_by(ANSWERS, order);
        places.truncate(ANSWERS);
    }
    places.sort_by(order);
    let missing = !places.contains(&right) && !places.iter().any(|place| is_right(*place));
    let found = |place: usize, rank| Found { place, score: scores[place], right: is_right(place), rank };
    let mut all: Vec<Found> = places.into_iter().map(|place| found(place, None)).collect();
    all.extend(missing.then(|| found(right, Some(rank))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_and_misses_are_spread_over_the_data_set() {
        let ranks: Vec<i64> = (0..100).map(|at| i64::from(at % 10 == 0)).collect();
        let shown = chosen(&ranks);
        assert_eq!(shown.len(), 2 * QUESTIONS);
        assert!(shown[..QUESTIONS].iter().all(|at| at % 10 != 0) && shown[QUESTIONS..].iter().all(|at| at % 10 == 0), "{shown:?}");
        assert!(shown[QUESTIONS - 1] > 70, "{shown:?}");
        assert_eq!(chosen(&[0, 0]), [0, 1]);
    }

    #[test]
    fn answers_come_in_the_order_of_ranks_and_the_right_one_is_never_left_out() {
        let scores = [0.1, 0.9, 0.9, 0.3, 0.2, 0.0, 0.5];
        let show = |right: usize, rank| {
            let found = best(&scores, |place| place == right, right, rank);
            found.iter().map(|found| (found.place, found.right, found.rank)).collect::<Vec<_>>()
        };
        let five = [1, 2, 6, 3, 4].map(|place| (place, false, None));
        assert_eq!(show(5, 6), [&five[..], &[(5, true, Some(6))]].concat());
        assert_eq!(show(2, 1)[1], (2, true, None), "of equal scores the lower place comes first");
        assert_eq!(show(2, 1).len(), ANSWERS);
    }
}
