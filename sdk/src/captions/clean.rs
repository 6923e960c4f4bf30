//! VL Hub's cleaning of captions.

/// Taken out; what stood around them meets.
const DELETED: &str = "&<^*>\\|+=[]~`\"@/'©#)(";
/// Turned into a space.
const SPACES: &str = ":;-_.,!?\n";
/// Replaced one after another, so that a later one sees what an earlier one left.
const REPLACED: [(&str, &str); 7] =
    [(" www ", " "), (" com ", " "), (" flickr ", " "), (" st ", " street "), (" de ", ""), ("http", " "), ("href", " ")];
/// Words from this many characters on are dropped.
const LONG: usize = 30;
/// Ideographs that stand for numbers: letters to Unicode, numbers to Python's `str.isnumeric`.
const IDEOGRAPHS: &str = "㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆兩八六十千卄卅卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒漆玖百肆萬貮貳贰阡陆陌陸零\u{f96b}\u{f973}\u{f978}\u{f9b2}\u{f9d1}\u{f9d3}\
    \u{f9fd}\u{20001}\u{20064}\u{200e2}\u{20121}\u{2092a}\u{20983}\u{2098c}\u{2099c}\u{20aea}\u{20afd}\u{20b19}\
    \u{22390}\u{22998}\u{23b1b}\u{2626d}\u{2f890}";

/// A caption as VL Hub's `clean_captions` leaves it: small letters, no punctuation, no web leftovers, no numbers, no word of 30 or more
/// characters. Spaces are neither added nor merged, so texts are equal to VL Hub's to the character; it may be empty.
pub fn clean(text: &str) -> String {
    let letters = text.to_lowercase();
    let letters = letters.chars().filter(|letter| !DELETED.contains(*letter));
    let mut text: String = letters.map(|letter| if SPACES.contains(letter) { ' ' } else { letter }).collect();
    for (old, new) in REPLACED {
        text = text.replace(old, new);
    }
    let text = text.trim_matches(|letter: char| letter.is_whitespace() || matches!(letter, '\u{1c}'..='\u{1f}'));
    // Empty words between two spaces stay, and with them the spaces.
    let kept = text.split(' ').filter(|word| word.chars().count() < LONG && !is_numeric(word));
    kept.collect::<Vec<_>>().join(" ")
}

fn is_numeric(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|letter| letter.is_numeric() || IDEOGRAPHS.contains(letter))
}
