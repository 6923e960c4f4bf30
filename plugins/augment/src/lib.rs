//! Image augmentations that equal Pillow and torchvision.
#![forbid(unsafe_code)]

mod blur;
mod center_crop;
mod color_jitter;
mod flip;
mod greyscale;
mod random_resized_crop;
mod resize;
mod simclr;
mod solarize;
#[cfg(test)]
mod toy;

vlhub_sdk::export!();
