//! Random erasing.

use vlhub_sdk::image::Rgb;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;
use vlhub_sdk::random;

/// What erased pixels become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Erased {
    /// The mean colour.
    #[default]
    Const,
    /// One normally distributed colour for each rectangle.
    Rand,
    /// A normally distributed colour for each pixel.
    Pixel,
}

/// Random erasing: covers random rectangles (<https://arxiv.org/abs/1708.04896>).
///
/// The rectangles of torchvision's and timm's `RandomErasing`. Those erase after normalisation, where 0 is the mean; here, on 8-bit pixels, that is
/// the mean rounded to a level, and normal colours end at black and white: within half a level, but for 3 to 10 % of the values of `rand` and
/// `pixel`. Put it behind what makes the tower's size, or a crop may cut the rectangle. Draws: whether (`p`), how many, then for each rectangle
/// up to ten times area and (evenly in its logarithm) height per width, until both sides are shorter than the picture's, then top and left.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct RandomErasingConfig {
    /// Probability, 0 to 1.
    pub p: f64,
    /// Smallest and largest share of the picture's area that is erased in all, above 0 to 1. timm erases up to 1/3.
    pub scale: [f64; 2],
    /// Smallest and largest height per width, 0.01 to 100. timm goes up to 1/0.3.
    pub ratio: [f64; 2],
    /// What erased pixels become: `const` the mean colour, `rand` one random colour for each rectangle, `pixel` one for each pixel.
    pub mode: Erased,
    /// Fewest and most rectangles, 1 to 100, which share the area.
    pub count: [u32; 2],
    /// Mean of each channel, for values in 0..1; that of the tower.
    pub mean: [f64; 3],
    /// Standard deviation of each channel for random colours.
    pub std: [f64; 3],
}

impl Default for RandomErasingConfig {
    fn default() -> Self {
        Self { p: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3], mode: Erased::Const, count: [1, 1], mean: CLIP_MEAN, std: CLIP_STD }
    }
}

impl Config<dyn Augmentation> for RandomErasingConfig {
    fn build(&self, _cx: &AugmentationCx) -> Result<Box<dyn Augmentation>> {
        let mut problems = OptionProblems::default();
        problems.probability("p", self.p);
        problems.range("scale", self.scale, [f64::MIN_POSITIVE, 1.0]);
        problems.range("ratio", self.ratio, [0.01, 100.0]);
        problems.range("count", self.count.map(f64::from), [1.0, 100.0]);
        for mean in self.mean {
            problems.within("mean", mean, [0.0, 1.0]);
        }
        problems.std(self.std);
        problems.finish()?;
        Ok(Box::new(RandomErasing(self.clone())))
    }
}

#[derive(Debug)]
struct RandomErasing(RandomErasingConfig);

/// Left, top, width and height.
type Rectangle = [u32; 4];

impl RandomErasing {
    /// A rectangle of a share of the picture's area, or none if ten do not fit.
    fn rectangle(&self, (width, height): (u32, u32), rectangles: u32, rng: &mut dyn RngCore) -> Option<Rectangle> {
        let RandomErasingConfig { scale: [least, most], ratio: [flattest, tallest], .. } = self.0;
        let area = f64::from(width) * f64::from(height) / f64::from(rectangles);
        (0..10).find_map(|_| {
            let target = area * random::between(rng, least, most);
            let ratio = random::between(rng, flattest.ln(), tallest.ln()).exp();
            let [down, across] = [target * ratio, target / ratio].map(|square| square.sqrt().round_ties_even() as u32);
            (across < width && down < height).then(|| {
                let top = random::below(rng, u64::from(height - down) + 1) as u32;
                let left = random::below(rng, u64::from(width - across) + 1) as u32;
                [left, top, across, down]
            })
        })
    }

    fn colour(&self, rng: &mut dyn RngCore) -> Rgb<u8> {
        let random = self.0.mode != Erased::Const;
        Rgb([0, 1, 2].map(|channel| {
            let offset = if random { self.0.std[channel] * random::normal(rng) } else { 0.0 };
            (255.0 * (self.0.mean[channel] + offset)).round_ties_even() as u8
        }))
    }
}

impl Augmentation for RandomErasing {
    fn apply(&self, mut image: RgbImage, rng: &mut dyn RngCore) -> Result<RgbImage> {
        if !random::chance(rng, self.0.p) {
            return Ok(image);
        }
        let [fewest, most] = self.0.count;
        let count = fewest + random::below(rng, u64::from(most - fewest) + 1) as u32;
        for _ in 0..count {
            let Some([left, top, width, height]) = self.rectangle(image.dimensions(), count, rng) else { continue };
            let mut colour = self.colour(rng);
            for y in top..top + height {
                for x in left..left + width {
                    image.put_pixel(x, y, colour);
                    if self.0.mode == Erased::Pixel {
                        colour = self.colour(rng);
                    }
                }
            }
        }
        Ok(image)
    }
}

register!(dyn Augmentation, "random_erasing", RandomErasingConfig);

#[cfg(test)]
mod tests {
    use vlhub_sdk::random::SplitMix64;

    use super::*;
    use crate::toy;

    fn always() -> RandomErasingConfig {
        RandomErasingConfig { p: 1.0, ..RandomErasingConfig::default() }
    }

    #[test]
    fn rectangles_are_spread_as_torchvisions() {
        let (erasing, mut rng) = (RandomErasing(always()), SplitMix64(4));
        let all: Vec<[f64; 4]> =
            (0..4000).filter_map(|_| erasing.rectangle((80, 60), 1, &mut rng)).map(|rectangle| rectangle.map(f64::from)).collect();
        assert_eq!(all.len(), 4000, "one of ten always fits");
        assert!(all.iter().all(|[left, top, width, height]| left + width <= 80.0 && top + height <= 60.0), "inside");
        let mean = |of: &dyn Fn(&[f64; 4]) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        // torchvision 0.26 gives 0.1709, -0.034 and 0.4994 over 20 000 draws: what is taller than the picture is drawn again.
        let area = mean(&|[_, _, width, height]| width * height / 4800.0);
        assert!((0.165..0.177).contains(&area), "mean area {area}");
        let ratio = mean(&|[_, _, width, height]| (height / width).ln());
        assert!((-0.07..0.0).contains(&ratio), "mean log ratio {ratio}");
        let centre = mean(&|[left, _, width, _]| (left + width / 2.0) / 80.0);
        assert!((0.48..0.52).contains(&centre), "mean centre {centre}");
    }

    #[test]
    fn rectangles_share_the_area() {
        let image = RgbImage::new(80, 60);
        let erasing = toy::build(&RandomErasingConfig { count: [3, 3], scale: [0.02, 1.0 / 3.0], ratio: [0.3, 1.0 / 0.3], ..always() });
        let covered = (0..1000).map(|seed| {
            let out = erasing.apply(image.clone(), &mut SplitMix64(seed)).expect("it applies");
            out.pixels().filter(|pixel| pixel.0 != [0; 3]).count() as f64 / 4800.0
        });
        let mean = covered.sum::<f64>() / 1000.0;
        // timm 1.0.31 gives 0.1623 over 4000 pictures: three that overlap at times.
        assert!((0.155..0.17).contains(&mean), "mean {mean}");
    }

    #[test]
    fn erased_pixels_have_the_colour_of_the_mode() {
        let image = RgbImage::new(40, 30);
        let colours = |mode: Erased| {
            let out = toy::build(&RandomErasingConfig { mode, ..always() }).apply(image.clone(), &mut SplitMix64(2)).expect("it applies");
            out.pixels().filter(|pixel| pixel.0 != [0; 3]).copied().collect::<Vec<_>>()
        };
        let constant = colours(Erased::Const);
        assert!(!constant.is_empty() && constant.iter().all(|pixel| pixel.0 == [123, 117, 104]), "CLIP's mean, rounded");
        let random = colours(Erased::Rand);
        assert!(random.iter().all(|pixel| *pixel == random[0]) && random[0] != constant[0]);
        let pixel = colours(Erased::Pixel);
        assert!(pixel.windows(2).filter(|pair| pair[0] != pair[1]).count() > pixel.len() / 2);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let whole = RandomErasingConfig { scale: [1.0, 1.0], ratio: [1.0, 1.0], ..always() };
        let image = toy::picture(20, 20);
        assert_eq!(toy::build(&whole).apply(image.clone(), &mut SplitMix64(1)).expect("it applies"), image);
        let never = RandomErasingConfig { p: 0.0, ..always() };
        assert_eq!(toy::build(&never).apply(image.clone(), &mut SplitMix64(1)).expect("it applies"), image);
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        for (config, option) in [
            (RandomErasingConfig { p: 1.5, ..always() }, "`p`"),
            (RandomErasingConfig { scale: [0.0, 0.3], ..always() }, "`scale`"),
            (RandomErasingConfig { ratio: [3.0, 0.3], ..always() }, "`ratio`"),
            (RandomErasingConfig { count: [0, 1], ..always() }, "`count`"),
            (RandomErasingConfig { mean: [0.5, 123.0, 0.5], ..always() }, "`mean`"),
            (RandomErasingConfig { std: [0.2, 0.0, 0.2], ..always() }, "`std`"),
        ] {
            let error = config.build(&toy::CX).expect_err(option).to_string();
            assert!(error.contains(option), "{error}");
        }
    }
}
