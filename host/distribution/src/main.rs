//! The default distribution: the host, and every first-party plugin that its features name. Naming a crate is what links it. The host itself
//! depends on no plugin, so a change in one compiles that plugin and this file again, and links.

#[cfg(feature = "align-uniform")]
use vlhub_plugin_align_uniform as _;
#[cfg(feature = "augment")]
use vlhub_plugin_augment as _;
#[cfg(feature = "benchmarks")]
use vlhub_plugin_benchmarks as _;
#[cfg(feature = "captions")]
use vlhub_plugin_captions as _;
#[cfg(feature = "classify")]
use vlhub_plugin_classify as _;
#[cfg(feature = "clip")]
use vlhub_plugin_clip as _;
#[cfg(feature = "coca")]
use vlhub_plugin_coca as _;
#[cfg(feature = "convnet")]
use vlhub_plugin_convnet as _;
#[cfg(feature = "declip")]
use vlhub_plugin_declip as _;
#[cfg(feature = "distill")]
use vlhub_plugin_distill as _;
#[cfg(feature = "eva")]
use vlhub_plugin_eva as _;
#[cfg(feature = "filip")]
use vlhub_plugin_filip as _;
#[cfg(feature = "hf-text")]
use vlhub_plugin_hf_text as _;
#[cfg(feature = "hybrid")]
use vlhub_plugin_hybrid as _;
#[cfg(feature = "object-store")]
use vlhub_plugin_object_store as _;
#[cfg(feature = "parquet")]
use vlhub_plugin_parquet as _;
#[cfg(feature = "probe")]
use vlhub_plugin_probe as _;
#[cfg(feature = "quasimetric")]
use vlhub_plugin_quasimetric as _;
#[cfg(feature = "resnet")]
use vlhub_plugin_resnet as _;
#[cfg(feature = "retrieval")]
use vlhub_plugin_retrieval as _;
#[cfg(feature = "simclr")]
use vlhub_plugin_simclr as _;
#[cfg(feature = "subset")]
use vlhub_plugin_subset as _;
#[cfg(feature = "swin")]
use vlhub_plugin_swin as _;
#[cfg(feature = "timm-vit")]
use vlhub_plugin_timm_vit as _;
#[cfg(feature = "vit")]
use vlhub_plugin_vit as _;
#[cfg(feature = "xlsx")]
use vlhub_plugin_xlsx as _;
#[cfg(feature = "zeroshot")]
use vlhub_plugin_zeroshot as _;

fn main() -> std::process::ExitCode {
    vlhub_host::main()
}
