//! The first batch as the towers see it, as one picture.

use std::path::Path;

use image::{Rgb, RgbImage};
use tch::Device;
use vlhub_core::{Batch, Error, Result};

use crate::data::batch::PixelRows;
use crate::data::tokens::Tokenizer;
use crate::engine::towers::Towers;

const COLUMNS: u32 = 8;
const MOST: i64 = 32;

/// Writes the first pictures of view `main`, after augmentation, in rows of eight, and their captions beside it as `NAME.txt`. `None` where no
/// pictures are read.
pub fn write(batch: &Batch, towers: &Towers, tokenizer: Option<&dyn Tokenizer>, path: &Path) -> Result<Option<RgbImage>> {
    let Some(input) = towers.pictures else { return Ok(None) };
    // A run whose objectives read no pictures makes none.
    let Ok(images) = batch.image("main") else { return Ok(None) };
    let shown = batch.rows().min(MOST);
    let (height, width) = input.size;
    let lines = (shown as u32).div_ceil(COLUMNS);
    let mut sheet = RgbImage::from_pixel((width + 2) * COLUMNS, (height + 2) * lines, Rgb([255; 3]));
    for (index, picture) in PixelRows::new(input).images(&images.f_narrow(0, 0, shown)?)?.iter().enumerate() {
        let (column, line) = (index as u32 % COLUMNS, index as u32 / COLUMNS);
        image::imageops::replace(&mut sheet, picture, i64::from(column * (width + 2) + 1), i64::from(line * (height + 2) + 1));
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
