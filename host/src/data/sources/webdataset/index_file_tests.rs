use super::*;
use crate::data::philox::Philox;
use rand_core::RngCore;
use std::io::Write;

/// What is told, in words.
fn told(walk: impl FnOnce(&mut Visit<'_>)) -> Vec<String> {
    let mut all = Vec::new();
    walk(&mut |found| {
        all.push(format!("{found:?}"));
        ControlFlow::Continue(())
    });
    all
}

fn example() -> (Stamp, Vec<u8>, Vec<String>) {
    let stamp = Stamp { size: 1 << 20, modified: 5, ends: 6 };
    let mut recorder = IndexRecorder::default();
    let mut all = Vec::new();
    let mut add = |found: TarEvent<'_>| {
        recorder.record(&found);
        all.push(format!("{found:?}"));
    };
    add(TarEvent::Other { kind: "folder", name: b"a/" });
    for at in 0..300u64 {
        add(TarEvent::Member(Member { name: format!("a/{:05}.jpg", at / 2).as_bytes(), offset: 512 + at * 3000, size: 1 + at as u32 * 7 }));
        if at % 100 == 3 {
            add(TarEvent::Damage(Damage { offset: at * 3000 + 2800, reason: "bad size", detail: "é \u{0}".into() }));
        }
    }
    add(TarEvent::Member(Member { name: b"\xFF\xFE", offset: (1 << 20) - 1, size: 1 }));
    (stamp, recorder.finish(&stamp), all)
}

#[test]
fn what_is_recorded_is_told_again() {
    let (stamp, bytes, all) = example();
    let each = bytes.len() / 300;
    assert!(each < 12, "{each} bytes a member");
    let records = IndexRecords::parse(bytes, &stamp).expect("it fits");
    assert_eq!(told(|visit| records.walk(visit).expect("it was looked at")), all);
}

#[test]
fn an_index_of_another_state_of_the_shard_is_refused() {
    let (stamp, bytes, _) = example();
    for (other, why) in [
        (Stamp { size: stamp.size + 1, ..stamp }, "size"),
        (Stamp { modified: 6, ..stamp }, "time"),
        (Stamp { ends: 7, ..stamp }, "content"),
    ] {
        assert_eq!(IndexRecords::parse(bytes.clone(), &other).expect_err(why), "the shard has changed since", "{why}");
    }
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert_eq!(IndexRecords::parse(newer, &stamp).expect_err("version 2"), "it is of another version");
    assert_eq!(IndexRecords::parse(b"GIF89a and more than sixteen bytes".to_vec(), &stamp).expect_err("a picture"), "it is no index file");
}

#[test]
fn damage_of_any_byte_and_any_cut_is_seen() {
    let (stamp, bytes, _) = example();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(IndexRecords::parse(damaged, &stamp).is_err(), "byte {at}");
        assert!(IndexRecords::parse(bytes[..at].to_vec(), &stamp).is_err(), "{at} bytes of it");
    }
}

#[test]
fn hostile_records_with_a_right_checksum_stay_within_the_shard() {
    let (stamp, bytes, _) = example();
    let mut accepted = 0;
    for seed in 0..4000u64 {
        let mut rng = Philox::new([seed]);
        let mut forged = bytes[..bytes.len() - CHECKSUM].to_vec();
        for _ in 0..=seed % 4 {
            let at = FIXED + rng.next_u64() as usize % (forged.len() - FIXED);
            forged[at] = rng.next_u32() as u8;
        }
        let checksum = xxh3_128(&forged);
        forged.extend_from_slice(&checksum.to_le_bytes());
        let Ok(records) = IndexRecords::parse(forged, &stamp) else { continue };
        accepted += 1;
        let mut end = 0;
        records.walk(&mut |found| {
            if let TarEvent::Member(Member { offset, size, name }) = found {
                assert!(offset >= end && offset + u64::from(size) <= stamp.size && !name.is_empty(), "seed {seed}");
                end = offset + u64::from(size);
            }
            ControlFlow::Continue(())
        });
    }
    assert!(accepted > 100, "the test must get past the checks: {accepted}");
}

#[test]
fn a_stamp_follows_size_and_ends() {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&vec![7; 100_000]).expect("room");
    let first = Stamp::of(&file).expect("it reads");
    assert_eq!(Stamp::of(&file).expect("it reads"), first);
    std::os::unix::fs::FileExt::write_at(&file, b"x", 99_000).expect("room");
    assert_ne!(Stamp::of(&file).expect("it reads").ends, first.ends);
}
