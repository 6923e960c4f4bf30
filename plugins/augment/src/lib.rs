//! Image augmentations that equal Pillow and torchvision.
#![forbid(unsafe_code)]

vlhub_sdk::export!();
