//! Words of captions as Stanford's PTBTokenizer cuts them (CoreNLP 3.4.1, which pycocoevalcap runs), in lower case and without the marks that
//! pycocoevalcap removes.
//!
//! The rules are those that occur in captions: contractions, quotes, brackets, dashes, abbreviations, numbers with signs. Not followed are
//! emoticons, telephone numbers and mark-up, which are cut like other marks.

/// Tokens that pycocoevalcap removes.
const REMOVED: [&str; 17] = ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"];
/// Words that end in a dot of their own.
const ABBREVIATIONS: [&str; 41] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "ave", "blvd", "rd", "ft", "mt", "jr", "sr", "co", "corp", "inc", "ltd", "bros", "etc", "vs",
    "v", "al", "gen", "col", "sgt", "capt", "lt", "rev", "hon", "gov", "sen", "rep", "jan", "feb", "aug", "sept", "oct", "nov", "dec",
    "wm", "fri",
];
/// Words that are two.
const TWO: [(&str, usize); 6] = [("cannot", 3), ("gonna", 3), ("wanna", 3), ("gotta", 3), ("gimme", 3), ("lemme", 3)];
/// What is cut off a word that ends in it.
const CLITICS: [&str; 6] = ["'s", "'m", "'d", "'re", "'ve", "'ll"];
/// Words in which an apostrophe stays.
const WHOLE: [&str; 3] = ["'n'", "'em", "'n"];

/// The words of a caption.
pub(super) fn words(caption: &str) -> Vec<String> {
    // Emoji and other rare characters are none of the tokenizer's.
    let text: String = caption.to_lowercase().chars().filter(|letter| u32::from(*letter) <= 0xFFFF).map(plain).collect();
    let text = text.replace('…', "...").replace(['–', '—'], "--").replace('½', "1/2").replace('¼', "1/4").replace('¾', "3/4");
    let mut words = Vec::new();
    let parts: Vec<&str> = text.split_whitespace().collect();
    for (at, part) in parts.iter().enumerate() {
        cut(part, parts.get(at + 1).copied(), &mut words);
    }
    words.retain(|word| !REMOVED.contains(&word.as_str()));
    words
}

/// Quotes of every language, and other currencies, as they are written in the Penn Treebank.
fn plain(letter: char) -> char {
    match letter {
        '‘' | '’' | '´' => '\'',
        '“' | '”' | '«' | '»' | '„' => '"',
        '€' | '¥' => '$',
        '£' => '#',
        _ => letter,
    }
}

/// Whether a mark is a token wherever it stands.
fn stands_alone(letter: char) -> bool {
    matches!(letter, '"' | '`' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | ';' | '*' | '+' | '=' | '~' | '|' | '^' | '\\' | '%' | '$')
}

/// Cuts a part between blanks. `next` is the part behind it.
fn cut(part: &str, next: Option<&str>, words: &mut Vec<String>) {
    if part.contains("://") || part.starts_with("www.") || is_mail(part) {
        let end = part.trim_end_matches(['.', ',', '!', '?', ';', ':', '"', '\'', ')']);
        words.push(end.to_owned());
        return;
    }
    let letters: Vec<char> = part.chars().collect();
    let mut word = String::new();
    let mut at = 0;
    while at < letters.len() {
        let (letter, before, after) = (letters[at], at.checked_sub(1).map(|at| letters[at]), letters.get(at + 1).copied());
        let digits = before.is_some_and(|letter| letter.is_ascii_digit()) && after.is_some_and(|letter| letter.is_ascii_digit());
        let run = letters[at..].iter().take_while(|other| **other == letter).count();
        match letter {
            '!' | '?' => {
                finish(&mut word, None, words);
                let count = letters[at..].iter().take_while(|letter| matches!(letter, '!' | '?')).count();
                words.push(letters[at..at + count].iter().collect());
                at += count;
                continue;
            }
            '.' | '-' if run > 1 => {
                finish(&mut word, None, words);
                at += run;
                continue;
            }
            ',' | ':' if digits => word.push(letter),
            ',' | ':' => finish(&mut word, None, words),
            '#' if word.is_empty() && after.is_some_and(|letter| letter.is_alphabetic()) => word.push(letter),
            '#' => alone(letter, &mut word, words),
            // `w/ tie`: a slash that ends a word.
            '/' if after.is_none() && !word.is_empty() => alone(letter, &mut word, words),
            _ if stands_alone(letter) => alone(letter, &mut word, words),
            _ => word.push(letter),
        }
        at += 1;
    }
    finish(&mut word, next, words);
}

fn is_mail(part: &str) -> bool {
    part.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.starts_with('.'))
}

/// Ends a word before a mark, and takes the mark.
fn alone(mark: char, word: &mut String, words: &mut Vec<String>) {
    finish(word, None, words);
    let name = match mark {
        '(' => "-lrb-",
        ')' => "-rrb-",
        '[' => "-lsb-",
        ']' => "-rsb-",
        '{' => "-lcb-",
        '}' => "-rcb-",
        '"' => "''",
        _ => return words.push(mark.to_string()),
    };
    words.push(name.to_owned());
}

/// Ends a word: takes off what is no part of it, and cuts contractions. `next` is what comes behind a blank.
fn finish(word: &mut String, next: Option<&str>, words: &mut Vec<String>) {
    let whole = std::mem::take(word);
    let mut word = whole.trim_matches('-');
    if word.is_empty() {
        return;
    }
    if WHOLE.contains(&word) {
        return words.push(word.to_owned());
    }
    let is_year = word.strip_prefix('\'').is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()));
    if let Some(rest) = word.strip_prefix("'t").filter(|rest| ["is", "was"].contains(rest)) {
        words.extend(["'t".to_owned(), rest.to_owned()]);
        return;
    }
    if !is_year {
        word = word.trim_start_matches('\'');
    }
    if word.starts_with('.') && !word[1..].starts_with(|letter: char| letter.is_ascii_digit()) {
        word = word.trim_start_matches('.');
    }
    let (stem, dot) = match word.strip_suffix('.') {
        Some(stem) if keeps_dot(stem, next) => (stem, "."),
        Some(stem) => (stem, ""),
        None => (word, ""),
    };
    let stem = if dot.is_empty() { stem.trim_end_matches('.') } else { stem };
    contraction(stem.trim_end_matches('\''), dot, words);
}

/// Whether the dot behind a word belongs to it.
fn keeps_dot(stem: &str, next: Option<&str>) -> bool {
    let single = stem.chars().count() == 1 && stem.chars().all(char::is_alphabetic);
    let number_follows = next.is_some_and(|next| next.starts_with(|letter: char| letter.is_ascii_digit()));
    single || is_acronym(stem) || ABBREVIATIONS.contains(&stem) || (stem == "no" && number_follows)
}

/// `u.s`, `a.m`.
fn is_acronym(stem: &str) -> bool {
    stem.contains('.') && stem.split('.').all(|part| part.chars().count() == 1 && part.chars().all(char::is_alphabetic))
}

/// `isn't` is `is` and `n't`.
fn contraction(stem: &str, dot: &str, words: &mut Vec<String>) {
    if stem.is_empty() {
        return;
    }
    if let Some((_, at)) = TWO.iter().find(|(word, _)| *word == stem) {
        return words.extend([stem[..*at].to_owned(), stem[*at..].to_owned()]);
    }
    if let Some(before) = stem.strip_suffix("n't").filter(|before| !before.is_empty()) {
        return words.extend([before.to_owned(), "n't".to_owned()]);
    }
    if let Some((before, clitic)) = CLITICS.iter().find_map(|clitic| Some((stem.strip_suffix(clitic)?, clitic))) {
        contraction(before.trim_end_matches('\''), "", words);
        return words.push((*clitic).to_owned());
    }
    let hours = ["am", "pm"].iter().find_map(|half| Some((stem.strip_suffix(half)?, *half)));
    if let Some((time, half)) = hours.filter(|(time, _)| time.contains(':')) {
        return words.extend([time.to_owned(), half.to_owned()]);
    }
    // `1.5m` is a number and its unit; `5ft` stays.
    let unit = stem.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(stem.len());
    let (number, rest) = stem.split_at(unit);
    if number.contains('.') && !number.ends_with('.') && !rest.is_empty() && rest.chars().all(char::is_alphabetic) {
        return words.extend([number.to_owned(), rest.to_owned()]);
    }
    words.push(format!("{stem}{dot}"));
}
