use super::*;

/// A shard of ustar members, as the `tar` crate writes it.
fn shard(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *data).expect("memory does not fail");
    }
    builder.into_inner().expect("memory does not fail")
}

/// One header block with a right checksum.
fn header(name: &[u8], kind: u8, size: &[u8; 12]) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    block[124..136].copy_from_slice(size);
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u64 = block[..512].iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn octal_size(size: u64) -> [u8; 12] {
    let text = format!("{size:011o}\0");
    text.as_bytes().try_into().expect("it has twelve bytes")
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().div_ceil(512) * 512, 0);
    data
}

/// Name, offset and size of a member.
type Whole = (Vec<u8>, u64, u32);

/// All that a walk finds.
#[derive(Debug, Default)]
struct Index {
    members: Vec<Whole>,
    damage: Vec<Damage>,
    others: Vec<&'static str>,
}

fn found(bytes: &[u8]) -> Index {
    let mut index = Index::default();
    walk(bytes, bytes.len() as u64, &mut |found| {
        match found {
            TarEvent::Member(member) => index.members.push((member.name.to_vec(), member.offset, member.size)),
            TarEvent::Damage(damage) => index.damage.push(damage),
            TarEvent::Other { kind, .. } => index.others.push(kind),
        }
        ControlFlow::Continue(())
    })
    .expect("memory does not fail");
    index
}

fn names(index: &Index) -> Vec<String> {
    index.members.iter().map(|(name, ..)| String::from_utf8_lossy(name).into_owned()).collect()
}

fn data<'a>(bytes: &'a [u8], (_, offset, size): &Whole) -> &'a [u8] {
    &bytes[*offset as usize..(*offset + u64::from(*size)) as usize]
}

fn reasons(index: &Index) -> Vec<&'static str> {
    index.damage.iter().map(|damage| damage.reason).collect()
}

/// Twenty members whose sizes lie around the block size.
fn twenty() -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let sizes = [0usize, 1, 100, 511, 512, 513, 700, 1024, 1500, 3];
    let members: Vec<(String, Vec<u8>)> =
        (0..20).map(|at| (format!("{at:05}.txt"), vec![b'a' + at as u8; sizes[at % sizes.len()]])).collect();
    let borrowed: Vec<(&str, &[u8])> = members.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
    (shard(&borrowed), members)
}

#[test]
fn a_whole_shard_is_read_to_the_byte() {
    let (bytes, members) = twenty();
    let index = found(&bytes);
    assert_eq!((index.damage.len(), index.others.len(), index.members.len()), (0, 0, 20));
    for (member, (name, expected)) in index.members.iter().zip(&members) {
        assert_eq!(member.0, name.as_bytes());
        assert_eq!(data(&bytes, member), expected);
    }
}

#[test]
fn every_prefix_keeps_its_whole_members_and_is_flagged() {
    let (bytes, _) = twenty();
    let whole = found(&bytes);
    let end = bytes.len() - 1024;
    let steps = (0..bytes.len()).step_by(37);
    let edges = (0..bytes.len()).step_by(512).flat_map(|at| [at.saturating_sub(1), at, at + 1]);
    for length in steps.chain(edges).filter(|length| *length < bytes.len()) {
        let index = found(&bytes[..length]);
        let intact = whole.members.iter().filter(|(_, offset, size)| offset + u64::from(*size) <= length as u64).count();
        // A member without data is there once its header is.
        assert_eq!(index.members, whole.members[..intact], "prefix of {length} bytes");
        assert!(index.damage.iter().all(|damage| damage.offset <= length as u64), "prefix of {length} bytes: {:?}", index.damage);
        let complete_end = length >= end + 1024;
        assert_eq!(index.damage.is_empty(), complete_end, "prefix of {length} bytes: {:?}", index.damage);
    }
}

#[test]
fn a_flip_of_any_byte_of_a_header_loses_that_member_alone_and_says_so() {
    let (bytes, _) = twenty();
    let whole = found(&bytes);
    for (number, member) in whole.members.iter().enumerate() {
        let start = member.1 as usize - 512;
        for at in (0..512).step_by(if number == 3 { 1 } else { 29 }) {
            let mut damaged = bytes.clone();
            damaged[start + at] ^= 0x01;
            let index = found(&damaged);
            let mut expected = whole.members.clone();
            expected.remove(number);
            if index.damage.is_empty() {
                // The checksum field allows a space or a zero at its end: such a flip damages nothing.
                assert!((154..156).contains(&at), "member {number}, byte {at}: nothing was reported");
                assert_eq!(index.members, whole.members);
            } else {
                assert_eq!(index.members, expected, "member {number}, byte {at}");
                assert_eq!((index.damage.len(), index.damage[0].offset), (1, start as u64), "{:?}", index.damage);
                let lost = index.damage[0].detail.split("; ").nth(1).and_then(|part| part.split(' ').next()?.parse::<u64>().ok());
                assert!(lost >= Some(512 + u64::from(member.2)), "{:?}", index.damage);
            }
        }
    }
}

#[test]
fn zeroed_or_inserted_or_removed_bytes_lose_no_member_behind_them() {
    let (bytes, _) = twenty();
    let whole = found(&bytes);
    let header = whole.members[3].1 as usize - 512;
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("one header of zeros", [&bytes[..header], &[0; 512], &bytes[header + 512..]].concat(), "zeroed blocks"),
        ("three blocks of zeros", [&bytes[..header], &[0; 1536], &bytes[header + 1536..]].concat(), "zeroed blocks"),
        ("a block of rubbish put in", [&bytes[..header], &[0xAA; 512], &bytes[header..]].concat(), "damaged header"),
        ("seven bytes put in", [&bytes[..header], &[0xAA; 7], &bytes[header..]].concat(), "damaged header"),
        ("seven bytes of a header taken away", [&bytes[..header], &bytes[header + 7..]].concat(), "damaged header"),
    ];
    for (case, damaged, reason) in cases {
        let index = found(&damaged);
        assert_eq!(reasons(&index), [reason], "{case}: {:?}", index.damage);
        let got = names(&index);
        assert_eq!(got[..3], names(&whole)[..3], "{case}");
        assert_eq!(got[got.len() - 15..], names(&whole)[5..], "{case}");
    }
}

#[test]
fn the_end_mark_must_be_whole_and_last() {
    let (bytes, _) = twenty();
    let end = bytes.len() - 1024;
    let (other, _) = twenty();
    for (case, bytes, expected, members) in [
        ("no end mark", bytes[..end].to_vec(), vec!["truncated shard"], 20),
        ("half an end mark", bytes[..end + 512].to_vec(), vec!["truncated shard"], 20),
        ("padding of zeros", [&bytes[..], &[0; 9216]].concat(), vec![], 20),
        ("a length that no archive has", [&bytes[..], &[0; 9000]].concat(), vec!["truncated shard"], 20),
        ("rubbish behind it", [&bytes[..], b"rubbish"].concat(), vec!["zeroed blocks"], 20),
        ("an archive behind it", [&bytes[..], &other].concat(), vec!["zeroed blocks"], 40),
        ("nothing at all", Vec::new(), vec!["truncated shard"], 0),
    ] {
        let mut index = found(&bytes);
        index.damage.dedup_by_key(|damage| damage.reason);
        index.damage.truncate(1);
        assert_eq!((reasons(&index), index.members.len()), (expected, members), "{case}");
    }
}

#[test]
fn sizes_that_lie_are_refused_before_anything_is_allocated() {
    let tail = shard(&[("after.txt", b"after")]);
    let mut negative = [0xFF; 12];
    negative[11] = 0x00;
    let mut huge = [0; 12];
    (huge[0], huge[4]) = (0x80, 0x7F);
    let mut beyond = [0; 12];
    (beyond[0], beyond[2]) = (0x80, 1);
    for (size, why) in [
        (negative, "negative in base 256"),
        (huge, "8 EiB in base 256"),
        (beyond, "more than 64 bits"),
        (octal_size(0o77_777_777_777), "8 GiB in octal"),
        (*b"12x456789ab\0", "no number"),
    ] {
        for kind in *b"0Lx" {
            let index = found(&[&header(b"liar.txt", kind, &size)[..], &tail].concat());
            assert_eq!(names(&index), ["after.txt"], "{why}, kind {}", kind as char);
            assert_eq!(reasons(&index), ["bad size"], "{why}, kind {}", kind as char);
        }
    }
    let mut small = [0; 12];
    (small[0], small[11]) = (0x80, 5);
    let index = found(&[&header(b"small.txt", b'0', &small)[..], &padded(b"hello"), &tail].concat());
    assert_eq!(names(&index), ["small.txt", "after.txt"], "a small number in base 256 is right");
}

#[test]
fn a_pax_size_wins_over_the_header() {
    let record = b"19 size=0000000512\n";
    assert_eq!(record.len(), 19);
    let pax = [&header(b"pax", b'x', &octal_size(19))[..], &padded(record)].concat();
    // The published desynchronisation: the header says 0, PAX says 512, and the data are a header of their own.
    let inner = header(b"smuggled.txt", b'0', &octal_size(0));
    let end = shard(&[("after.txt", b"after")]);
    let index = found(&[&pax[..], &header(b"outer.txt", b'0', &octal_size(0)), &inner, &end].concat());
    assert_eq!(names(&index), ["outer.txt", "after.txt"]);
    assert_eq!((index.members[0].2, index.damage.len()), (512, 0));
    // The other way round: the header says 512, PAX says 0.
    let zero = b"17 size=00000000\n";
    let pax = [&header(b"pax", b'x', &octal_size(17))[..], &padded(zero)].concat();
    let index = found(&[&pax[..], &header(b"outer.txt", b'0', &octal_size(512)), &end].concat());
    assert_eq!(names(&index), ["outer.txt", "after.txt"]);
}

#[test]
fn a_malformed_pax_header_refuses_the_member_after_it() {
    for (record, why) in [
        (&b"99 path=a\n"[..], "longer than its header"),
        (b"0 path=a\n", "no length"),
        (b"x path=a\n", "a length that is no number"),
        (b"10 path=abc", "no new line at its end"),
        (b"8 patha\n", "no equals sign"),
        (b"11 size=-1\n", "a negative size"),
        (b"18446744073709551617 a=b\n", "a length that overflows"),
    ] {
        let pax = [&header(b"pax", b'x', &octal_size(record.len() as u64))[..], &padded(record)].concat();
        let end = shard(&[("after.txt", b"after")]);
        let index = found(&[&pax[..], &header(b"refused.txt", b'0', &octal_size(5)), &padded(b"hello"), &end].concat());
        assert_eq!((names(&index), reasons(&index)), (vec!["after.txt".to_owned()], vec!["malformed pax header"]), "{why}");
    }
}

#[test]
fn long_and_strange_names_are_kept_as_bytes() {
    let long = "d/".repeat(60) + "name.jpg";
    let mut builder = tar::Builder::new(Vec::new());
    let mut header_of = tar::Header::new_gnu();
    header_of.set_size(1);
    builder.append_data(&mut header_of, &long, &b"x"[..]).expect("memory does not fail");
    let gnu = builder.into_inner().expect("memory does not fail");
    assert_eq!(names(&found(&gnu)), std::slice::from_ref(&long), "GNU long name");
    assert_eq!(names(&found(&shard(&[(&long, b"x")]))), [long], "ustar prefix");
    let bytes = [&header(b"\xFF\xFE.txt", b'0', &octal_size(0))[..], &header(b"", b'0', &octal_size(0)), &[0; 1024]].concat();
    let index = found(&bytes);
    assert_eq!((index.members[0].0.as_slice(), reasons(&index)), (&b"\xFF\xFE.txt"[..], vec!["no name"]));
}

#[test]
fn what_is_no_plain_file_is_counted_and_left_alone() {
    let mut bytes = Vec::new();
    for kind in *b"123456S" {
        bytes.extend(header(b"../../etc/passwd", kind, &octal_size(0)));
    }
    bytes.extend(shard(&[("plain.txt", b"x")]));
    let index = found(&bytes);
    let kinds = ["hard link", "symbolic link", "special file", "special file", "folder", "special file", "sparse file"];
    assert_eq!((index.others.as_slice(), names(&index), index.damage.len()), (&kinds[..], vec!["plain.txt".to_owned()], 0));
}

#[test]
fn rubbish_of_any_kind_neither_panics_nor_hangs() {
    use rand_core::RngCore;
    let (bytes, _) = twenty();
    for seed in 0..300 {
        let mut rng = crate::data::philox::Philox::new([seed]);
        let mut damaged = bytes.clone();
        for _ in 0..=seed % 20 {
            let at = rng.next_u64() as usize % damaged.len();
            let until = (at + rng.next_u32() as usize % 700).min(damaged.len());
            rng.fill_bytes(&mut damaged[at..until]);
        }
        let index = found(&damaged);
        for (_, offset, size) in &index.members {
            assert!(offset + u64::from(*size) <= damaged.len() as u64, "seed {seed}: a member beyond the end");
        }
        assert!(index.members.len() == 20 || !index.damage.is_empty(), "seed {seed}: members are missing and nothing was reported");
    }
}

/// What a random damage of one block or less does.
fn damaged(bytes: &[u8], rng: &mut crate::data::philox::Philox) -> (Vec<u8>, std::ops::Range<usize>, &'static str) {
    use rand_core::RngCore;
    let mut below = |most: usize| rng.next_u64() as usize % most;
    // Not in the end mark: that is another test.
    let end = bytes.len() - 1024;
    let aligned = below(2) == 0;
    let length = if aligned { 512 } else { 1 + below(700) };
    let at = if aligned { below(end / 512) * 512 } else { below(end - length) };
    let (before, within, after) = (&bytes[..at], &bytes[at..at + length], &bytes[at + length..]);
    let kind = below(4);
    let junk: Vec<u8> = (0..length).map(|_| 1 + below(255) as u8).collect();
    match kind {
        0 => ([before, &within.iter().map(|byte| byte ^ 0x55).collect::<Vec<_>>(), after].concat(), at..at + length, "flipped"),
        1 => ([before, &vec![0; length], after].concat(), at..at + length, "zeroed"),
        2 => ([before, &junk, within, after].concat(), at..at, "inserted"),
        _ => ([before, after].concat(), at..at + length, "cut"),
    }
}

/// Members with data that do not look like headers, of all sizes, some with long names, in one of the formats.
fn corpus(seed: u64, gnu: bool) -> Vec<u8> {
    use rand_core::RngCore;
    let mut rng = crate::data::philox::Philox::new([seed, 7]);
    let mut builder = tar::Builder::new(Vec::new());
    for at in 0..24 {
        // An empty member is a header alone: where it is cut out nothing is missing, and where it moves into other data nothing shows.
        let size = [1, 5, 100, 512, 700, 1536, 3000][rng.next_u64() as usize % 7];
        let mut data = vec![0; size];
        rng.fill_bytes(&mut data);
        let name = if at % 5 == 4 { format!("{}{at:05}.jpg", "long/".repeat(30)) } else { format!("{at:05}.jpg") };
        let mut header = if gnu { tar::Header::new_gnu() } else { tar::Header::new_ustar() };
        header.set_size(size as u64);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        builder.append_data(&mut header, name, data.as_slice()).expect("memory does not fail");
    }
    builder.into_inner().expect("memory does not fail")
}

#[test]
fn any_damaged_block_leaves_every_intact_member_and_is_told() {
    for seed in 0..1500u64 {
        let bytes = corpus(seed, seed % 3 == 0);
        let whole = found(&bytes);
        let (damaged, range, kind) = damaged(&bytes, &mut crate::data::philox::Philox::new([seed]));
        let index = found(&damaged);
        // A member is intact if the damage touches neither its headers nor its data, nor what fills up their last block: bytes that go or come
        // there cannot be told from ones within the data. Where its headers begin, the member before it ends.
        let mut start = 0;
        let mut intact = Vec::new();
        let mut hit = false;
        for member in &whole.members {
            let end = (member.1 + u64::from(member.2)).next_multiple_of(512) as usize;
            let touched = range.start < end && range.end.max(range.start + 1) > start && !(kind == "inserted" && range.start == start);
            hit |= touched;
            if !touched {
                intact.push((member.0.clone(), data(&bytes, member).to_vec()));
            }
            start = end;
        }
        let got: Vec<(Vec<u8>, Vec<u8>)> = index.members.iter().map(|member| (member.0.clone(), data(&damaged, member).to_vec())).collect();
        let context = || format!("seed {seed}: {kind} {range:?}: {:?}", index.damage);
        // Nor can ones in the block behind data that fill theirs.
        let beside = |name: &[u8]| {
            let member = whole.members.iter().find(|member| member.0 == name).expect("it is there");
            let end = (member.1 + u64::from(member.2)) as usize;
            let until = if end.is_multiple_of(512) { end + 512 } else { end.next_multiple_of(512) + 1 };
            matches!(kind, "cut" | "inserted") && (end..until).contains(&range.start)
        };
        for sample in intact.iter().filter(|(name, _)| !beside(name)) {
            assert!(got.contains(sample), "{} is lost: {}", String::from_utf8_lossy(&sample.0), context());
        }
        let foreign = got.iter().filter(|(name, _)| !whole.members.iter().any(|member| member.0 == *name)).count();
        // GNU's long names have no checksum; only their first hundred bytes stand in the header too.
        let long_name = seed % 3 == 0 && matches!(kind, "flipped" | "zeroed");
        assert!(foreign == 0 || long_name, "a name that nobody wrote: {}", context());
        let false_ones = got.iter().filter(|sample| !intact.contains(sample)).count();
        // Tar has no checksum of data: what changes within them, or their length by whole blocks of a last member, shows when they are decoded.
        let silent = matches!(kind, "flipped" | "zeroed");
        assert!(silent || false_ones == 0 || !index.damage.is_empty(), "{false_ones} are not what was written: {}", context());
        assert!(!hit || silent || !index.damage.is_empty(), "nothing is told: {}", context());
        assert!(got.len() + 2 >= intact.len(), "{}", context());
    }
}
