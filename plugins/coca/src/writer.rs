//! Caption generation: what every decoding method shares, that is checks, the next token's logits, and the matrix of ids at the end.

use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{Captioning, Decoding, TextSide};

use crate::decoder::Decoder;
use crate::{beam, sample};

/// Writes captions for images.
pub(crate) struct Writer<'a> {
    pub decoder: &'a Decoder,
    /// `[B, T, width]`.
    pub images: &'a Tensor,
    pub text: TextSide<'a>,
    pub pad: i64,
    pub vocab: i64,
}

impl Writer<'_> {
    /// Ids `[B, L]`, filled up with padding.
    ///
    /// # Errors
    /// Everything about the settings that means nothing.
    pub fn write(&self, seeds: &[u64], how: &Captioning, context: i64) -> Result<Tensor> {
        let rows = self.images.size()[0];
        if seeds.len() as i64 != rows {
            return Err(Error::invalid(format!("{} seeds for {rows} images", seeds.len())));
        }
        self.check(how, context)?;
        let captions = match how.method {
            Decoding::Greedy | Decoding::Sample { .. } => sample::captions(self, seeds, how)?,
            Decoding::Beam { beams, groups } => beam::captions(self, (beams / groups) as usize, how)?,
        };
        let longest = captions.iter().map(Vec::len).max().unwrap_or(0);
        let ids: Vec<i64> = captions.iter().flat_map(|ids| ids.iter().copied().chain(std::iter::repeat(self.pad)).take(longest)).collect();
        Ok(Tensor::from_slice(&ids).view([rows, longest as i64]))
    }

    fn check(&self, how: &Captioning, context: i64) -> Result<()> {
        let mut problems = OptionProblems::default();
        let Captioning { longest, shortest, repetition_penalty, .. } = *how;
        if !(2..=context).contains(&longest) {
            problems.push(format!("captions of at most {longest} tokens; the decoder writes 2 to {context}"));
        }
        if shortest >= longest {
            problems.push(format!("captions of at least {shortest} tokens must be shorter than the most, {longest}"));
        }
        if !(repetition_penalty.is_finite() && repetition_penalty > 0.0) {
            problems.push(format!("the repetition penalty is {repetition_penalty}; it is above 0, and 1 changes nothing"));
        }
        match how.method {
            Decoding::Greedy => {}
            Decoding::Sample { temperature, top_k, top_p } => {
                if !(temperature.is_finite() && temperature > 0.0) {
                    problems.push(format!("the temperature is {temperature}; it is above 0"));
                }
                if top_k < 0 {
                    problems.push(format!("top-k is {top_k}; it is at least 1, or 0 for all tokens"));
                }
                if !(top_p > 0.0 && top_p <= 1.0) {
                    problems.push(format!("top-p is {top_p}; it is above 0 and at most 1"));
                }
            }
            Decoding::Beam { beams, groups } => {
                if groups < 1 || beams < 1 || beams % groups != 0 {
                    problems.push(format!("{beams} beams cannot be cut into {groups} groups of equal size"));
                } else if 2 * (beams / groups) > self.vocab {
                    problems.push(format!("{beams} beams are too many for a vocabulary of {}", self.vocab));
                }
            }
        }
        for (what, id) in [("start", self.text.start), ("end", self.text.end)] {
            if !(0..self.vocab).contains(&id) {
                problems.push(format!("the {what} token {id} is outside of the decoder's vocabulary 0..{}", self.vocab));
            }
        }
        problems.finish()
    }

    /// Logits of the token that follows each of `rows`: pairs of an image and a text so far, all of one length. Neither the end of a text
    /// that is too short is possible, nor is a token as likely that the text already has, when repetition is penalised.
    ///
    /// # Errors
    /// What the text tower refuses.
    pub fn next(&self, rows: &[(usize, &[i64])], how: &Captioning) -> Result<Vec<Vec<f32>>> {
        let length = rows.first().map_or(0, |(_, ids)| ids.len());
        let device = self.images.device();
        let of: Vec<i64> = rows.iter().map(|(image, _)| *image as i64).collect();
        let ids: Vec<i64> = rows.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        let ids = Tensor::f_from_slice(&ids)?.f_view([rows.len() as i64, length as i64])?.f_to_device(device)?;
        let encoded = (self.text.encode)(&ids)?;
        let tokens = encoded.tokens.ok_or_else(|| Error::invalid("captions are written from the text tower's tokens; it gave none"))?;
        let images = self.images.f_index_select(0, &Tensor::f_from_slice(&of)?.f_to_device(device)?)?;
        let hidden = self.decoder.forward(&images, &tokens.values);
        let logits = self.decoder.logits(&hidden.select(1, -1)).f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
        let flat = Vec::<f32>::try_from(logits.f_flatten(0, -1)?)?;
        let mut all: Vec<Vec<f32>> = flat.chunks(self.vocab as usize).map(<[f32]>::to_vec).collect();
        for (logits, (_, ids)) in all.iter_mut().zip(rows) {
            if (length as i64) < how.shortest {
                logits[self.text.end as usize] = f32::NEG_INFINITY;
            }
            penalise(logits, ids, how.repetition_penalty as f32);
        }
        Ok(all)
    }
}

/// Lowers the logits of the tokens that are there, once each.
fn penalise(logits: &mut [f32], ids: &[i64], penalty: f32) {
    let mut seen = ids.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for id in seen {
        let logit = &mut logits[id as usize];
        *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
    }
}
