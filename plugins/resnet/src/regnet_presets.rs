//! timm's sizes of RegNet: from 200 million multiplications of a picture of 224 px (002) to 256 thousand million (2560).

use vlhub_sdk::prelude::*;

use crate::regnet::RegNetConfig;

register!(dyn Backbone, "regnetx_002", RegNetConfig, || RegNetConfig::x(13, 24, 36.44, 2.49, 8));
register!(dyn Backbone, "regnetx_004", RegNetConfig, || RegNetConfig::x(22, 24, 24.48, 2.54, 16));
register!(dyn Backbone, "regnetx_004_tv", RegNetConfig, || RegNetConfig::x(22, 24, 24.48, 2.54, 16).tv());
register!(dyn Backbone, "regnetx_006", RegNetConfig, || RegNetConfig::x(16, 48, 36.97, 2.24, 24));
register!(dyn Backbone, "regnetx_008", RegNetConfig, || RegNetConfig::x(16, 56, 35.73, 2.28, 16));
register!(dyn Backbone, "regnetx_016", RegNetConfig, || RegNetConfig::x(18, 80, 34.01, 2.25, 24));
register!(dyn Backbone, "regnetx_032", RegNetConfig, || RegNetConfig::x(25, 88, 26.31, 2.25, 48));
register!(dyn Backbone, "regnetx_040", RegNetConfig, || RegNetConfig::x(23, 96, 38.65, 2.43, 40));
register!(dyn Backbone, "regnetx_064", RegNetConfig, || RegNetConfig::x(17, 184, 60.83, 2.07, 56));
register!(dyn Backbone, "regnetx_080", RegNetConfig, || RegNetConfig::x(23, 80, 49.56, 2.88, 120));
register!(dyn Backbone, "regnetx_120", RegNetConfig, || RegNetConfig::x(19, 168, 73.36, 2.37, 112));
register!(dyn Backbone, "regnetx_160", RegNetConfig, || RegNetConfig::x(22, 216, 55.59, 2.1, 128));
register!(dyn Backbone, "regnetx_320", RegNetConfig, || RegNetConfig::x(23, 320, 69.86, 2.0, 168));
register!(dyn Backbone, "regnety_002", RegNetConfig, || RegNetConfig::y(13, 24, 36.44, 2.49, 8));
register!(dyn Backbone, "regnety_004", RegNetConfig, || RegNetConfig::y(16, 48, 27.89, 2.09, 8));
register!(dyn Backbone, "regnety_006", RegNetConfig, || RegNetConfig::y(15, 48, 32.54, 2.32, 16));
register!(dyn Backbone, "regnety_008", RegNetConfig, || RegNetConfig::y(14, 56, 38.84, 2.4, 16));
register!(dyn Backbone, "regnety_008_tv", RegNetConfig, || RegNetConfig::y(14, 56, 38.84, 2.4, 16).tv());
register!(dyn Backbone, "regnety_016", RegNetConfig, || RegNetConfig::y(27, 48, 20.71, 2.65, 24));
register!(dyn Backbone, "regnety_032", RegNetConfig, || RegNetConfig::y(21, 80, 42.63, 2.66, 24));
register!(dyn Backbone, "regnety_040", RegNetConfig, || RegNetConfig::y(22, 96, 31.41, 2.24, 64));
register!(dyn Backbone, "regnety_064", RegNetConfig, || RegNetConfig::y(25, 112, 33.22, 2.27, 72));
register!(dyn Backbone, "regnety_080", RegNetConfig, || RegNetConfig::y(17, 192, 76.82, 2.19, 56));
register!(dyn Backbone, "regnety_080_tv", RegNetConfig, || RegNetConfig::y(17, 192, 76.82, 2.19, 56).tv());
register!(dyn Backbone, "regnety_120", RegNetConfig, || RegNetConfig::y(19, 168, 73.36, 2.37, 112));
register!(dyn Backbone, "regnety_160", RegNetConfig, || RegNetConfig::y(18, 200, 106.23, 2.48, 112));
register!(dyn Backbone, "regnety_320", RegNetConfig, || RegNetConfig::y(20, 232, 115.89, 2.53, 232));
register!(dyn Backbone, "regnety_640", RegNetConfig, || RegNetConfig::y(20, 352, 147.48, 2.4, 328));
register!(dyn Backbone, "regnety_1280", RegNetConfig, || RegNetConfig::y(27, 456, 160.83, 2.52, 264));
register!(dyn Backbone, "regnety_2560", RegNetConfig, || RegNetConfig::y(27, 640, 230.83, 2.53, 373));
