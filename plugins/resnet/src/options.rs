//! What the options of all families have in common.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::prelude::*;

/// CLIP's mean of each channel, for values in 0..1.
pub(crate) const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
/// CLIP's standard deviation of each channel.
pub(crate) const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// How the last map becomes one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Pool {
    /// The mean over all places.
    #[default]
    Avg,
    /// The largest value of each channel.
    Max,
    /// Attention of the mean to all places, with a learned position for each place of the map of `image_size`, under `head.pool`. It maps
    /// into the joint space by itself, so `proj` must be `none`, and there are no tokens unless the map is as wide as the joint space.
    AbsAttn,
}

/// The options that every family of timm has here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub image_size: i64,
    pub pool: Pool,
    pub proj: Proj,
    pub proj_bias: bool,
    pub drop_path: f64,
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

impl Common {
    /// What goes in.
    pub fn input(&self) -> InputSpec {
        InputSpec::Image { size: (self.image_size, self.image_size), mean: self.mean, std: self.std }
    }

    /// Adds what is wrong with them, for a last map of `width` channels.
    pub fn check(&self, width: i64, problems: &mut Problems) {
        problems.picture(self.image_size, &self.std);
        problems.share("drop_path", self.drop_path);
        if self.pool == Pool::AbsAttn {
            if self.proj != Proj::None {
                problems.add(String::from("`pool` = \"abs_attn\" projects into the joint space by itself; set `proj` = \"none\""));
            }
            if width < 64 || width % 64 != 0 {
                problems.add(format!("`pool` = \"abs_attn\" has heads of width 64, which do not divide the last map's {width} channels"));
            }
        }
    }
}

/// The probability with which block `index` of `blocks` is left out: from 0 to `rate` in equal steps.
pub(crate) fn drop_rate(rate: f64, index: i64, blocks: i64) -> f64 {
    rate * index as f64 / (blocks - 1).max(1) as f64
}

/// An error unless these are float pictures of the right size.
pub(crate) fn check_pictures(images: &Tensor, side: i64) -> Result<()> {
    let size = images.size();
    if !images.is_floating_point() || size.len() != 4 || size[1..] != [3, side, side] {
        let kind = images.kind();
        return Err(Error::invalid(format!("the image tower reads float pictures [B, 3, {side}, {side}], not {kind:?} {size:?}")));
    }
    Ok(())
}

/// The places of a map `[B, width, H, W]` as tokens, row by row.
pub(crate) fn places(map: &Tensor) -> Tokens {
    let values = map.flatten(2, 3).transpose(1, 2);
    let size = values.size();
    Tokens { mask: Tensor::ones([size[0], size[1]], (Kind::Bool, values.device())), values }
}

/// Everything that is wrong with a table of options, to be told at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    pub fn add(&mut self, problem: String) {
        self.0.push(problem);
    }

    pub fn at_least_one(&mut self, options: &[(&str, i64)]) {
        for (name, value) in options {
            if *value < 1 {
                self.add(format!("`{name}` = {value} must be at least 1"));
            }
        }
    }

    /// As [`Problems::at_least_one`], for an option of several numbers.
    pub fn all_at_least_one(&mut self, name: &str, values: &[i64]) {
        if values.iter().any(|value| *value < 1) {
            self.add(format!("`{name}` = {values:?} must be at least 1 in each stage"));
        }
    }

    pub fn share(&mut self, name: &str, value: f64) {
        if !(0.0..1.0).contains(&value) {
            self.add(format!("`{name}` = {value} must be at least 0 and below 1"));
        }
    }

    pub fn picture(&mut self, image_size: i64, std: &[f64; 3]) {
        self.at_least_one(&[("image_size", image_size)]);
        if std.iter().any(|std| *std <= 0.0) {
            self.add(format!("`std` = {std:?} must be above 0 in each channel"));
        }
    }

    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Options(self.0.join("; "))) }
    }
}
