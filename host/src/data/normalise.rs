//! Bytes of pixels to what a tower reads: the same numbers in training and in evaluation.

use image::RgbImage;

/// `(byte / 255 - mean) / std` of every byte, channel by channel. Division by 255 first, as torchvision's ToTensor does, so that the last bit
/// agrees.
#[derive(Debug)]
pub(crate) struct Levels([[f32; 256]; 3]);

impl Levels {
    /// The table of a tower's mean and standard deviation.
    pub fn new(mean: [f32; 3], std: [f32; 3]) -> Self {
        let mut levels = [[0.0; 256]; 3];
        for (channel, levels) in levels.iter_mut().enumerate() {
            for (byte, level) in levels.iter_mut().enumerate() {
                *level = (byte as f32 / 255.0 - mean[channel]) / std[channel];
            }
        }
        Self(levels)
    }

    /// Writes an image as `[3, H, W]`; `out` has as many elements.
    pub fn write(&self, image: &RgbImage, out: &mut [f32]) {
        let plane = out.len() / 3;
        let (red, rest) = out.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        let [reds, greens, blues] = &self.0;
        let planes = red.iter_mut().zip(green).zip(blue);
        for (pixel, ((red, green), blue)) in image.as_raw().as_chunks::<3>().0.iter().zip(planes) {
            *red = reds[usize::from(pixel[0])];
            *green = greens[usize::from(pixel[1])];
            *blue = blues[usize::from(pixel[2])];
        }
    }
}
