//! The first-party plugins of this build. Naming a crate is what links it; no other file of the host names a plugin crate.

#[cfg(feature = "augment")]
use vlhub_plugin_augment as _;
#[cfg(feature = "captions")]
use vlhub_plugin_captions as _;
#[cfg(feature = "clip")]
use vlhub_plugin_clip as _;
#[cfg(feature = "retrieval")]
use vlhub_plugin_retrieval as _;
#[cfg(feature = "vit")]
use vlhub_plugin_vit as _;
#[cfg(feature = "zeroshot")]
use vlhub_plugin_zeroshot as _;
