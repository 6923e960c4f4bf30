//! Resize.

use vlhub_sdk::pixels::{self, Filter, PassOrder, Sampling};
use vlhub_sdk::prelude::*;

/// Resize: stretches every picture to one size, whatever its proportions.
///
/// Equal to Pillow's resize. `center_crop` keeps the proportions.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ResizeConfig {
    /// Height in pixels. 0: what the tower reads.
    pub height: u32,
    /// Width in pixels. 0: what the tower reads.
    pub width: u32,
    /// Interpolation filter: weights of neighbouring pixels.
    pub filter: Filter,
    /// Which direction comes first: `horizontal` as Pillow up to 12.1, `pillow12` as 12.2 and 12.3, `pillow13` as 13.
    pub pass_order: PassOrder,
}

impl Config<dyn Augmentation> for ResizeConfig {
    fn build(&self, cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let or = |wanted: u32, towers: u32| if wanted == 0 { towers } else { wanted };
        let sampling = Sampling { filter: self.filter, pass_order: self.pass_order };
        Ok(Box::new(Resize { height: or(self.height, cx.size.0), width: or(self.width, cx.size.1), sampling }))
    }
}

#[derive(Debug)]
struct Resize {
    height: u32,
    width: u32,
    sampling: Sampling,
}

impl Augmentation for Resize {
    fn apply(&self, image: RgbImage, _rng: &mut dyn RngCore) -> Result<RgbImage> {
        Ok(pixels::resize(&image, self.width, self.height, self.sampling))
    }
}

register!(dyn Augmentation, "resize", ResizeConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    #[test]
    fn a_size_of_zero_is_the_towers() {
        let image = toy::picture(31, 17);
        for (config, width, height) in [
            (ResizeConfig::default(), 24, 16),
            (ResizeConfig { width: 9, ..ResizeConfig::default() }, 9, 16),
            (ResizeConfig { height: 40, width: 3, filter: Filter::Bilinear, ..ResizeConfig::default() }, 3, 40),
        ] {
            let out = toy::build(&config).apply(image.clone(), &mut SplitMix64(1)).expect("it applies");
            assert_eq!(out, pixels::resize(&image, width, height, config.filter), "{config:?}");
        }
    }

    #[test]
    fn the_order_of_the_passes_is_chosen() {
        let image = toy::picture(30, 90);
        let of = |pass_order| {
            let config = ResizeConfig { height: 20, width: 25, pass_order, ..ResizeConfig::default() };
            toy::build(&config).apply(image.clone(), &mut SplitMix64(1)).expect("it applies")
        };
        assert_eq!(of(PassOrder::Horizontal), of(PassOrder::Pillow12), "not tall enough to differ");
        assert_ne!(of(PassOrder::Pillow12), of(PassOrder::Pillow13), "the height loses 70 pixels, the width 5");
    }
}
