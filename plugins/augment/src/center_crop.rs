//! Resize and centre crop: the transform of evaluation.

use vlhub_sdk::pixels::{self, Filter, Fit, PassOrder, Sampling};
use vlhub_sdk::prelude::*;

/// Resize and centre crop, as open_clip does for evaluation.
///
/// The same bytes as open_clip's transform with Pillow 12.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct CenterCropConfig {
    /// Resize mode, which side fits: `shortest` cuts off what juts out, `longest` fills up with black, `squash` changes the proportions.
    pub mode: Fit,
    /// Interpolation filter: weights of neighbouring pixels. `shortest` to a size that is not square is always bicubic, as in open_clip.
    pub filter: Filter,
    /// Which direction the resize takes first: `horizontal` as Pillow up to 12.1, `pillow12` as 12.2 and 12.3, `pillow13` as 13.
    pub pass_order: PassOrder,
}

impl Config<dyn Augmentation> for CenterCropConfig {
    fn build(&self, cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let sampling = Sampling { filter: self.filter, pass_order: self.pass_order };
        Ok(Box::new(CenterCrop { size: cx.size, mode: self.mode, sampling }))
    }
}

#[derive(Debug)]
struct CenterCrop {
    size: (u32, u32),
    mode: Fit,
    sampling: Sampling,
}

impl Augmentation for CenterCrop {
    fn apply(&self, image: RgbImage, _rng: &mut dyn RngCore) -> Result<RgbImage> {
        Ok(pixels::prepare(&image, self.size, self.mode, self.sampling, 0))
    }
}

register!(dyn Augmentation, "center_crop", CenterCropConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    #[test]
    fn the_default_is_the_evaluation_transform() {
        for (width, height) in [(31, 17), (17, 31), (1, 1), (1, 4000), (24, 16)] {
            let image = toy::picture(width, height);
            let out = toy::build(&CenterCropConfig::default()).apply(image.clone(), &mut SplitMix64(1)).expect("it applies");
            assert_eq!(out, pixels::eval_transform(&image, toy::CX.size), "{width}x{height}");
            assert_eq!(out.dimensions(), (24, 16), "{width}x{height}");
        }
    }

    #[test]
    fn the_mode_chooses_the_side_that_fits() {
        let image = RgbImage::from_pixel(100, 10, vlhub_sdk::image::Rgb([255; 3]));
        for (mode, corner) in [(Fit::Shortest, 255), (Fit::Longest, 0), (Fit::Squash, 255)] {
            let config = CenterCropConfig { mode, ..CenterCropConfig::default() };
            let out = toy::build(&config).apply(image.clone(), &mut SplitMix64(1)).expect("it applies");
            assert_eq!(out.get_pixel(0, 0).0[0], corner, "{mode:?}");
        }
    }
}
