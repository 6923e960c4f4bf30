//! Every golden file with one byte changed, and cut anywhere: an error or tensors, never a panic, never more memory than the limits.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::folder;
use crate::formats::source::ByteSource;
use crate::formats::{Budget, Limits, PartChoice, parse, shards};

const POSITIONS: u64 = 2000;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it is there").path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

/// SplitMix64: the same positions in every run.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn damaged_files_are_refused_or_read() {
    let limits = Limits { bytes: 1 << 20, header: 1 << 20, inflated: 1 << 20, expanded: 1 << 20, tensors: 1000, depth: 32 };
    let (start, mut sound, mut refused) = (Instant::now(), 0, 0);
    for (number, path) in files(&folder()).into_iter().enumerate() {
        let whole = std::fs::read(&path).expect("it is there");
        let mut state = number as u64;
        for turn in 0..POSITIONS {
            let mut bytes = whole.clone();
            let at = random(&mut state) as usize % bytes.len();
            match turn % 8 {
                0 => bytes.truncate(at),
                1 => bytes[at] = [0, 0x7f, 0x80, 0xff][random(&mut state) as usize % 4],
                _ => bytes[at] ^= 1 << (random(&mut state) % 8),
            }
            let mut budget = Budget::new(&limits);
            let tensors = if path.extension().is_some_and(|end| end == "json") {
                shards::read(&path, &bytes, PartChoice::Any, &mut budget).map(|file| file.tensors).map_err(|error| error.to_string())
            } else {
                parse(&ByteSource::Bytes(&bytes), PartChoice::Any, &mut budget).map(|(tensors, _, _)| tensors)
            };
            match tensors {
                Ok(tensors) => {
                    sound += 1;
                    let shown: usize = tensors.iter().map(|(_, tensor)| tensor.numel() * tensor.kind().elt_size_in_bytes()).sum();
                    assert!(shown <= 4 << 20, "{}: byte {at}, {shown} bytes", path.display());
                    assert!(budget.bytes <= limits.bytes && budget.inflated <= limits.inflated, "{}: byte {at}", path.display());
                    // Every number is read: a window that leaves its storage is found by the system, or by a sanitiser.
                    tensors.iter().for_each(|(_, tensor)| drop(tensor.copy()));
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.len() < 4000, "{}: byte {at}: {error}", path.display());
                }
            }
        }
    }
    assert!(refused > sound, "{refused} refused, {sound} read: sums and checks find most damage");
    assert!(start.elapsed() < Duration::from_secs(120), "it took {:?}", start.elapsed());
}
