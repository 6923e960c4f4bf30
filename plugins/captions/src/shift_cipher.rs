//! The shift cipher of VL Hub: rotated letters, with which pretrained knowledge of words is of no use.

use vlhub_sdk::prelude::*;

use crate::map_texts;

/// Rotates the letters of captions within the alphabet, capitals among capitals.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ShiftCipherConfig {
    /// Shift, in letters; negative numbers turn back.
    pub k: i64,
    /// What happens to letters outside the 26 of ASCII: `none` leaves them, `vlhub` maps them into the 26 as the Python VL Hub did, which
    /// cannot be undone.
    pub compat: Compat,
}

/// Compatibility: whose numbers are to be reproduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Compat {
    /// Nobody's: letters outside ASCII stay.
    #[default]
    None,
    /// VL Hub's: every letter becomes one of the 26.
    Vlhub,
}

impl Default for ShiftCipherConfig {
    fn default() -> Self {
        Self { k: 3, compat: Compat::None }
    }
}

impl Config<dyn CaptionTransform> for ShiftCipherConfig {
    fn build(&self, _cx: &CaptionCx<'_>) -> Result<Box<dyn CaptionTransform>> {
        Ok(Box::new(ShiftCipher { k: self.k.rem_euclid(26), compat: self.compat }))
    }
}

#[derive(Debug)]
struct ShiftCipher {
    /// In `0..26`.
    k: i64,
    compat: Compat,
}

impl ShiftCipher {
    fn shift(&self, letter: char) -> char {
        let is_letter = match self.compat {
            Compat::None => letter.is_ascii_alphabetic(),
            Compat::Vlhub => letter.is_alphabetic(),
        };
        if !is_letter {
            return letter;
        }
        let base = i64::from(if letter.is_lowercase() { b'a' } else { b'A' });
        let place = (i64::from(u32::from(letter)) - base + self.k).rem_euclid(26);
        char::from((base + place) as u8)
    }
}

impl CaptionTransform for ShiftCipher {
    fn apply(&self, caption: Caption, _rng: &mut dyn RngCore) -> Result<Option<Caption>> {
        Ok(map_texts(caption, |text| text.chars().map(|letter| self.shift(letter)).collect()))
    }
}

register!(dyn CaptionTransform, "shift_cipher", ShiftCipherConfig);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::text;

    fn shifted(input: &str, k: i64, compat: Compat) -> String {
        text(&ShiftCipherConfig { k, compat }, input).expect("letters stay letters")
    }

    #[test]
    fn texts_equal_those_of_vl_hub() {
        // Outputs of VL Hub's own `shift_cipher`.
        for (input, k, expected, why) in [
            ("abc", 3, "def", "three on"),
            ("xyz", 3, "abc", "round the end"),
            ("XYZ", 3, "ABC", "capitals stay capitals"),
            ("Hello, World!", 3, "Khoor, Zruog!", "the rest stays"),
            ("a photo of a dog.", 3, "d skrwr ri d grj.", "a caption"),
            ("tench", 3, "whqfk", "a class name"),
            ("great white shark", 3, "juhdw zklwh vkdun", "a class name of three words"),
            ("abc", -3, "xyz", "back"),
            ("abc", 26, "abc", "once round"),
            ("abc", 29, "def", "once round and on"),
            ("1 dog", 3, "1 grj", "digits stay"),
        ] {
            for compat in [Compat::None, Compat::Vlhub] {
                assert_eq!(shifted(input, k, compat), expected, "{why}");
            }
        }
    }

    #[test]
    fn letters_outside_ascii_stay_unless_vl_hub_is_to_be_reproduced() {
        for (input, ours, theirs) in [("café", "fdié", "fdij"), ("ß", "ß", "z"), ("中", "中", "J"), ("ǅ", "ǅ", "B")] {
            assert_eq!(shifted(input, 3, Compat::None), ours, "{input}");
            assert_eq!(shifted(input, 3, Compat::Vlhub), theirs, "{input}");
        }
    }

    #[test]
    fn shifting_back_gives_the_caption_again() {
        let caption = "A Quick brown fox, 12 jumps: ÄÖ 中";
        for k in [0, 1, 13, 25, -7, 1_000_003, i64::MAX, i64::MIN + 1] {
            assert_eq!(shifted(&shifted(caption, k, Compat::None), -k, Compat::None), caption, "k = {k}");
        }
    }
}
