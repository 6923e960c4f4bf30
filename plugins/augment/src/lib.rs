//! Image augmentations that equal Pillow and torchvision.
#![forbid(unsafe_code)]

mod affine;
mod blur;
mod center_crop;
mod color_jitter;
mod flip;
#[cfg(test)]
mod golden;
mod greyscale;
mod jpeg_compression;
mod rand_augment;
mod random_erasing;
mod random_resized_crop;
mod resize;
mod sharpness;
mod simclr;
mod solarize;
mod timm_operation;
mod timm_policy;
mod timm_rand_augment;
mod tone;
#[cfg(test)]
mod toy;

vlhub_sdk::export!();
