//! The first batch as the towers see it, as one picture.

use std::path::Path;

use image::{Rgb, RgbImage};
use tch::{Device, Kind};
use vlhub_core::{Batch, Error, InputSpec, Result};

use super::towers::Towers;
use crate::data::tokens::Tokenizer;

const COLUMNS: u32 = 8;
const MOST: i64 = 32;

/// Writes the first pictures of view `main`, after augmentation, in rows of eight, and their captions beside it as `NAME.txt`. `None` without an
/// image tower.
pub fn batch(batch: &Batch, towers: &Towers, tokenizer: Option<&dyn Tokenizer>, path: &Path) -> Result<Option<RgbImage>> {
    let Some(InputSpec::Image { mean, std, .. }) = towers.image.as_ref().map(|net| &net.input) else { return Ok(None) };
    let images = batch.image("main")?;
    let &[rows, 3, height, width] = &images.size()[..] else { return Err(Error::invalid("images are not [B, 3, H, W]")) };
    let shown = rows.min(MOST);
    let (height, width) = (height as u32, width as u32);
    let lines = (shown as u32).div_ceil(COLUMNS);
    let mut sheet = RgbImage::from_pixel((width + 2) * COLUMNS, (height + 2) * lines, Rgb([255; 3]));
    let values = Vec::<f32>::try_from(images.narrow(0, 0, shown).to_device(Device::Cpu).to_kind(Kind::Float).reshape([-1]))?;
    let plane = (width * height) as usize;
    for (index, picture) in values.chunks(3 * plane).enumerate() {
        let (left, top) = ((index as u32 % COLUMNS) * (width + 2) + 1, (index as u32 / COLUMNS) * (height + 2) + 1);
        for y in 0..height {
            for x in 0..width {
                let at = (y * width + x) as usize;
                let level = |channel: usize| {
                    ((f64::from(picture[channel * plane + at]) * std[channel] + mean[channel]) * 255.0).round().clamp(0.0, 255.0) as u8
                };
                sheet.put_pixel(left + x, top + y, Rgb([level(0), level(1), level(2)]));
            }
        }
    }
    let fail = |error: image::ImageError| Error::io(path, std::io::Error::other(error));
    sheet.save_with_format(path, image::ImageFormat::Png).map_err(fail)?;
    if let (Some(tokenizer), Ok(ids)) = (tokenizer, batch.text("main")) {
        let mut text = String::new();
        for row in 0..shown {
            let ids = Vec::<i64>::try_from(ids.get(row).to_device(Device::Cpu))?;
            text += &format!("{}\n", tokenizer.decode(&ids));
        }
        let path = path.with_extension("txt");
        std::fs::write(&path, text).map_err(|error| Error::io(path, error))?;
    }
    Ok(Some(sheet))
}
