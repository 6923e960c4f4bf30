//! timm's sizes of ResNet.

use vlhub_sdk::prelude::*;

use crate::resnet::{AntiAliasing, BlockKind, ResNetConfig, StemType};

const R18: [i64; 4] = [2, 2, 2, 2];
const R34: [i64; 4] = [3, 4, 6, 3];
const R50: [i64; 4] = [3, 4, 6, 3];
const R101: [i64; 4] = [3, 4, 23, 3];
const R152: [i64; 4] = [3, 8, 36, 3];
const R200: [i64; 4] = [3, 24, 36, 3];

/// ResNet of bottlenecks at 224 px.
fn deep(layers: [i64; 4]) -> ResNetConfig {
    ResNetConfig { image_size: 224, block: BlockKind::Bottleneck, layers, channels: [64, 128, 256, 512], ..ResNetConfig::default() }
}

/// ResNet of basic blocks at 224 px.
fn basic(layers: [i64; 4]) -> ResNetConfig {
    ResNetConfig { block: BlockKind::Basic, ..deep(layers) }
}

/// ResNeXt: bottlenecks of 32 groups.
fn next(layers: [i64; 4], base_width: i64) -> ResNetConfig {
    ResNetConfig { cardinality: 32, base_width, ..deep(layers) }
}

impl ResNetConfig {
    /// The D variant: a deep stem, and means for the strides of shortcuts.
    fn d(self) -> Self {
        Self { stem_type: StemType::Deep, avg_down: true, ..self }
    }

    /// The T variant: as D, the stem's first convolution a quarter narrower.
    fn t(self) -> Self {
        Self { stem_type: StemType::DeepTiered, avg_down: true, ..self }
    }

    fn aa(self) -> Self {
        Self { aa_layer: AntiAliasing::Avg, ..self }
    }

    fn blur(self) -> Self {
        Self { aa_layer: AntiAliasing::Blur, ..self }
    }

    fn se(self) -> Self {
        Self { se: true, ..self }
    }

    fn at(self, image_size: i64) -> Self {
        Self { image_size, ..self }
    }

    fn wide(self) -> Self {
        Self { base_width: 128, ..self }
    }
}

register!(dyn Backbone, "resnet10t", ResNetConfig, || basic([1; 4]).t().at(176));
register!(dyn Backbone, "resnet14t", ResNetConfig, || deep([1; 4]).t().at(176));
register!(dyn Backbone, "resnet18", ResNetConfig, || basic(R18));
register!(dyn Backbone, "resnet18d", ResNetConfig, || basic(R18).d());
register!(dyn Backbone, "resnet26", ResNetConfig, || deep(R18));
register!(dyn Backbone, "resnet26d", ResNetConfig, || deep(R18).d());
register!(dyn Backbone, "resnet26t", ResNetConfig, || deep(R18).t().at(256));
register!(dyn Backbone, "resnet34", ResNetConfig, || basic(R34));
register!(dyn Backbone, "resnet34d", ResNetConfig, || basic(R34).d());
register!(dyn Backbone, "resnet50", ResNetConfig, || deep(R50));
register!(dyn Backbone, "resnet50d", ResNetConfig, || deep(R50).d());
register!(dyn Backbone, "resnet50t", ResNetConfig, || deep(R50).t());
register!(dyn Backbone, "resnet101", ResNetConfig, || deep(R101));
register!(dyn Backbone, "resnet101d", ResNetConfig, || deep(R101).d().at(256));
register!(dyn Backbone, "resnet152", ResNetConfig, || deep(R152));
register!(dyn Backbone, "resnet152d", ResNetConfig, || deep(R152).d().at(256));
register!(dyn Backbone, "resnet200d", ResNetConfig, || deep(R200).d().at(256));
register!(dyn Backbone, "resnetaa50", ResNetConfig, || deep(R50).aa());
register!(dyn Backbone, "resnetaa50d", ResNetConfig, || deep(R50).d().aa());
register!(dyn Backbone, "resnetaa101d", ResNetConfig, || deep(R101).d().aa());
register!(dyn Backbone, "resnetblur18", ResNetConfig, || basic(R18).blur());
register!(dyn Backbone, "resnetblur50", ResNetConfig, || deep(R50).blur());
register!(dyn Backbone, "resnetblur50d", ResNetConfig, || deep(R50).d().blur());
register!(dyn Backbone, "resnetblur101d", ResNetConfig, || deep(R101).d().blur());
register!(dyn Backbone, "resnext50_32x4d", ResNetConfig, || next(R50, 4));
register!(dyn Backbone, "resnext50d_32x4d", ResNetConfig, || next(R50, 4).d());
register!(dyn Backbone, "resnext101_32x4d", ResNetConfig, || next(R101, 4));
register!(dyn Backbone, "resnext101_32x8d", ResNetConfig, || next(R101, 8));
register!(dyn Backbone, "resnext101_32x16d", ResNetConfig, || next(R101, 16));
register!(dyn Backbone, "resnext101_32x32d", ResNetConfig, || next(R101, 32));
register!(dyn Backbone, "resnext101_32x48d", ResNetConfig, || next(R101, 48));
// The name that timm gave it before 0.9, when names got tags.
register!(dyn Backbone, "ig_resnext101_32x48d", ResNetConfig, || next(R101, 48));
register!(dyn Backbone, "resnext101_64x4d", ResNetConfig, || ResNetConfig { cardinality: 64, ..next(R101, 4) });
register!(dyn Backbone, "seresnet50", ResNetConfig, || deep(R50).se());
register!(dyn Backbone, "seresnet152d", ResNetConfig, || deep(R152).d().se().at(256));
register!(dyn Backbone, "seresnext50_32x4d", ResNetConfig, || next(R50, 4).se());
register!(dyn Backbone, "wide_resnet50_2", ResNetConfig, || deep(R50).wide());
register!(dyn Backbone, "wide_resnet101_2", ResNetConfig, || deep(R101).wide());
