//! `manifest.json`: what a checkpoint holds, and the hashes that make it believable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// Version of the layout of a checkpoint folder.
pub const FORMAT: u32 = 1;

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps of the optimiser that were taken.
    pub step: u64,
    /// Epochs that were completed.
    pub epoch: u64,
    /// Samples that were trained on; the next sample is this one, counted over all epochs.
    pub samples_seen: u64,
    /// The run's seed: with the step it gives every random number.
    pub seed: u64,
}

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name, relative to the checkpoint.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// XXH3-128 of its bytes, in hexadecimal.
    pub xxh3_128: String,
}

/// The manifest of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    /// Where the run was.
    #[serde(flatten)]
    pub progress: Progress,
    /// Hash of the part of the configuration that decides what is computed.
    pub config_hash: String,
    /// Fingerprint of the training data.
    pub dataset: String,
    /// Whatever else the engine wants back.
    pub extra: BTreeMap<String, String>,
    /// The files beside the manifest.
    pub files: Vec<FileEntry>,
    /// Versions of `vlhub` and `libtorch`.
    pub versions: BTreeMap<String, String>,
    /// Threads of libtorch: on a CPU the last bits of a sum depend on them.
    pub threads: i32,
    /// XXH3-128 of this manifest with this field empty.
    pub checksum: String,
}

impl Manifest {
    /// As bytes, with its checksum.
    pub fn seal(mut self) -> Vec<u8> {
        self.checksum.clear();
        self.checksum = hex(xxh3_128(&self.bytes()));
        self.bytes()
    }

    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// Why it is not to be believed.
    pub fn unseal(bytes: &[u8]) -> Result<Self, String> {
        let mut manifest: Self = serde_json::from_slice(bytes).map_err(|error| format!("manifest.json does not parse: {error}"))?;
        if manifest.format != FORMAT {
            return Err(format!("manifest.json has format {}, this program reads format {FORMAT}", manifest.format));
        }
        let checksum = std::mem::take(&mut manifest.checksum);
        if checksum != hex(xxh3_128(&manifest.bytes())) {
            return Err("manifest.json does not match its checksum".into());
        }
        manifest.checksum = checksum;
        Ok(manifest)
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a struct of texts and numbers is always JSON")
    }
}

/// A hash as text.
pub(super) fn hex(hash: u128) -> String {
    format!("{hash:032x}")
}

/// Versions that a checkpoint records.
pub(super) fn versions() -> BTreeMap<String, String> {
    let identity = String::from_utf8_lossy(&vlhub_core::abi::IDENTITY).into_owned();
    let torch = identity.lines().find_map(|line| line.strip_prefix("torch=")).unwrap_or("unknown");
    BTreeMap::from([("vlhub".into(), env!("CARGO_PKG_VERSION").into()), ("libtorch".into(), torch.into())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_survives_the_round_trip_and_no_change_of_a_value() {
        let manifest = Manifest {
            format: FORMAT,
            progress: Progress { step: 1234, epoch: 5, samples_seen: 67890, seed: 42 },
            config_hash: "abcd".into(),
            dataset: "shards".into(),
            extra: BTreeMap::from([("scaler".into(), "1".into())]),
            files: vec![FileEntry { name: "rank-0.safetensors".into(), bytes: 99, xxh3_128: hex(7) }],
            versions: versions(),
            threads: 2,
            checksum: String::new(),
        };
        let bytes = manifest.clone().seal();
        let back = Manifest::unseal(&bytes).expect("it is sound");
        assert_eq!((back.progress, back.files), (manifest.progress, manifest.files));
        let text = String::from_utf8(bytes).expect("JSON is UTF-8");
        for (from, to) in
            [("1234", "1235"), ("67890", "67891"), ("abcd", "abce"), ("\"bytes\": 99", "\"bytes\": 98"), ("\"format\": 1", "\"format\": 2")]
        {
            assert!(text.contains(from), "{text}");
            Manifest::unseal(text.replacen(from, to, 1).as_bytes()).expect_err(from);
        }
    }
}
