//! Mixup and cutmix of a whole batch, as timm's `Mixup` does in its mode `batch`: every picture with the one as far from the other end.

use vlhub_sdk::prelude::*;
use vlhub_sdk::random::{below, chance};
use vlhub_sdk::tch;

use crate::ClassifyConfig;
use crate::beta::beta;

/// What happens to one batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mix {
    /// How much of each label its own row keeps, in 0..=1; the rest is its partner's.
    pub(crate) share: f64,
    /// The rectangle that comes from the partner; none blends the pictures.
    pub(crate) patch: Option<Patch>,
}

/// Rows `top..bottom` and columns `left..right` of a picture; may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) top: i64,
    pub(crate) bottom: i64,
    pub(crate) left: i64,
    pub(crate) right: i64,
}

impl Mix {
    /// Draws what happens to a batch of pictures of this size.
    pub(crate) fn draw(config: &ClassifyConfig, height: i64, width: i64, rng: &mut dyn RngCore) -> Self {
        if !chance(rng, config.mix_probability) {
            return Self { share: 1.0, patch: None };
        }
        let pastes = config.cutmix > 0.0 && (config.mixup <= 0.0 || chance(rng, config.switch));
        if !pastes {
            return Self { share: beta(rng, config.mixup), patch: None };
        }
        let share = beta(rng, config.cutmix);
        let middle = (below(rng, height.max(0) as u64) as i64, below(rng, width.max(0) as u64) as i64);
        Self::paste(share, height, width, middle)
    }

    /// A rectangle of the picture's proportions and `1 − share` of its area around `middle`, cut off at the borders; the share follows the cut.
    pub(crate) fn paste(share: f64, height: i64, width: i64, (y, x): (i64, i64)) -> Self {
        let ratio = (1.0 - share).sqrt();
        let span = |middle: i64, size: i64| {
            let length = (size as f64 * ratio) as i64;
            ((middle - length / 2).clamp(0, size), (middle + (length + 1) / 2).clamp(0, size))
        };
        let ((top, bottom), (left, right)) = (span(y, height), span(x, width));
        let area = ((bottom - top) * (right - left)) as f64;
        Self { share: 1.0 - area / (height * width).max(1) as f64, patch: Some(Patch { top, bottom, left, right }) }
    }

    /// Mixed copies of `[B, C, H, W]`.
    pub(crate) fn images(&self, images: &Tensor) -> Tensor {
        let _no_grad = tch::no_grad_guard();
        if self.share == 1.0 {
            return images.shallow_clone();
        }
        match self.patch {
            None => images * self.share + images.flip([0]) * (1.0 - self.share),
            Some(Patch { top, bottom, left, right }) => {
                let cut = |images: &Tensor| images.narrow(2, top, bottom - top).narrow(3, left, right - left);
                let mixed = images.copy();
                cut(&mixed).copy_(&cut(images).flip([0]));
                mixed
            }
        }
    }

    /// Adds the view `config.mixed_view`, and what its rows are made of, to a batch with the labels `[B, K]`.
    pub(crate) fn apply(&self, config: &ClassifyConfig, labels: &Tensor, batch: &mut Batch) -> Result<()> {
        let view = &config.mixed_view;
        if batch.extra(&share_name(view)).is_ok() {
            return Err(Error::Options(format!("two objectives mix pictures into `{view}`; give one of them another `mixed_view`")));
        }
        let mixed = self.images(batch.image(&config.view)?);
        let share = Tensor::full([batch.rows()], self.share, (Kind::Float, labels.device()));
        batch.set_extra(partner_name(view), labels.flip([0]))?;
        batch.set_extra(share_name(view), share)?;
        batch.set_image(view, mixed)
    }
}

/// The extra input with the labels of each row's partner, `[B, K]`.
pub(crate) fn partner_name(view: &str) -> String {
    format!("{view}.partner")
}

/// The extra input with the share of each row's own labels, `[B]`.
pub(crate) fn share_name(view: &str) -> String {
    format!("{view}.share")
}
