//! Caption transforms: templates, a choice among several captions, VL Hub's cleaning, case, the shift cipher, attributes of classes, and changes of
//! the token ids (order, length, vocabulary).
#![forbid(unsafe_code)]

mod choose;
mod clean;
mod lower;
mod metacaptions;
mod reduce;
mod scramble_tokens;
mod scramble_words;
mod shift_cipher;
mod strip;
mod templates;
mod truncate;
mod upper;

use vlhub_sdk::Caption;

vlhub_sdk::export!();

/// The caption with other texts. A text of white space alone says nothing and is left out; a caption without any text is dropped.
fn with_texts(mut caption: Caption, texts: impl IntoIterator<Item = String>) -> Option<Caption> {
    caption.texts = texts.into_iter().filter(|text| !text.trim().is_empty()).collect();
    (!caption.texts.is_empty()).then_some(caption)
}

/// Rewrites every text by itself.
fn map_texts(mut caption: Caption, rewrite: impl FnMut(String) -> String) -> Option<Caption> {
    let texts = std::mem::take(&mut caption.texts);
    with_texts(caption, texts.into_iter().map(rewrite))
}

/// The caption as it is, for transforms that rewrite its token ids; dropped if it says nothing.
fn unchanged(caption: Caption) -> Option<Caption> {
    map_texts(caption, |text| text)
}

/// What the tests of every transform need.
#[cfg(test)]
mod check {
    use vlhub_sdk::Registry;
    use vlhub_sdk::prelude::*;

    /// Counts upwards: enough to see that a draw is used, and the same every time.
    pub(crate) struct Counter(pub u64);

    impl RngCore for Counter {
        fn next_u32(&mut self) -> u32 {
            self.next_u64() as u32
        }
        fn next_u64(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            (self.0 ^ (self.0 >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
        }
        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            bytes.fill_with(|| self.next_u64() as u8);
        }
    }

    /// The texts that a transform makes of `texts`; `None` when it drops the caption.
    pub(crate) fn texts(config: &dyn Config<dyn CaptionTransform>, texts: &[&str], seed: u64) -> Option<Vec<String>> {
        let cx = CaptionCx::new(".".as_ref());
        let caption = Caption { texts: texts.iter().map(|text| (*text).to_owned()).collect(), labels: vec![7], ..Caption::default() };
        let changed = config.build(&cx).expect("it builds").apply(caption, &mut Counter(seed)).expect("it cannot fail");
        if let Some(changed) = &changed {
            assert_eq!(changed.labels, [7], "labels are not its business");
        }
        changed.map(|caption| caption.texts)
    }

    /// The one text that a transform makes of one text.
    pub(crate) fn text(config: &dyn Config<dyn CaptionTransform>, text: &str) -> Option<String> {
        texts(config, &[text], 0).map(|mut texts| {
            assert_eq!(texts.len(), 1, "one text in, one text out");
            texts.remove(0)
        })
    }

    /// The ids that a transform makes of `ids`.
    pub(crate) fn ids(config: &dyn Config<dyn CaptionTransform>, ids: &[i64], seed: u64) -> Vec<i64> {
        let built = config.build(&CaptionCx::new(".".as_ref())).expect("it builds");
        built.ids(ids.to_vec(), &mut Counter(seed)).expect("it cannot fail")
    }

    #[test]
    fn no_transform_lets_an_empty_caption_out() {
        let registry = Registry::linked().expect("names are unique");
        let mut names = Vec::new();
        registry.for_each(|about| names.push(about.name.to_owned()));
        assert_eq!(
            names,
            [
                "choose",
                "clean",
                "lower",
                "metacaptions",
                "reduce",
                "scramble_tokens",
                "scramble_words",
                "shift_cipher",
                "strip",
                "templates",
                "truncate",
                "upper"
            ]
        );
        for name in names {
            let listed = registry.get::<dyn CaptionTransform>(&name).expect("it is listed");
            let config = listed.parse(&listed.defaults()).expect("defaults parse");
            for input in [&[][..], &[""], &["  \t\n"], &["", " "]] {
                assert_eq!(texts(config.as_ref(), input, 1), None, "`{name}` of {input:?}");
            }
        }
    }
}
