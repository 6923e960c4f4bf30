use super::*;

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mat").join(name)
}

#[test]
fn arrays_of_every_kind_are_what_scipy_wrote() {
    for name in ["kinds.mat", "kinds_compressed.mat"] {
        let read = |array_name: &str| array(&file(name), array_name).expect(array_name);
        for (kind, expected) in [
            ("doubles", vec![1.5, -2.0, 3.0, 4.0]),
            ("bytes", vec![1.0, 2.0, 255.0]),
            ("shorts", vec![1.0, 65535.0]),
            ("longs", vec![-7.0]),
            ("singles", vec![0.5]),
        ] {
            assert_eq!(read(kind).numbers().expect("numbers"), expected, "{name}: {kind}");
        }
        assert_eq!(read("names").texts().expect("texts"), ["AM General Hummer SUV 2000", "Citroën", ""], "{name}");
        assert_eq!(read("word").text(), Some("hello"));
        let rows = read("rows");
        let texts: Vec<_> = rows.field("fname").expect("it is there").into_iter().map(MatArray::text).collect();
        let classes: Vec<_> =
            rows.field("class").expect("it is there").into_iter().map(|class| class.numbers().expect("a number")[0]).collect();
        assert_eq!((texts, classes), (vec![Some("00001.jpg"), Some("00002.jpg")], vec![181.0, 103.0]), "{name}");
        assert_eq!((rows.field("none"), rows.texts(), rows.numbers(), rows.text()), (None, None, None, None));
        let error = array(&file(name), "nothing").expect_err("no such array").to_string();
        assert!(error.contains("no array `nothing`") && error.contains("doubles"), "{error}");
    }
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_panic() {
    let whole = std::fs::read(file("kinds.mat")).expect("it is there");
    for end in 0..whole.len() {
        // Cut between two arrays a file is whole, with fewer of them.
        let _ = arrays(&whole[..end]);
    }
    let mut rng = vlhub_sdk::random::SplitMix64(3);
    for name in ["kinds.mat", "kinds_compressed.mat"] {
        let whole = std::fs::read(file(name)).expect("it is there");
        for _ in 0..500 {
            let mut bytes = whole.clone();
            for _ in 0..1 + rng.next_u32() % 4 {
                let at = HEADER + rng.next_u32() as usize % (bytes.len() - HEADER);
                bytes[at] = rng.next_u32() as u8;
            }
            let _ = arrays(&bytes);
        }
    }
    for (change, wanted) in [
        (&(|bytes: &mut Vec<u8>| bytes.truncate(100)) as &dyn Fn(&mut Vec<u8>), "shorter than its header"),
        (&|bytes| bytes[124..128].copy_from_slice(b"\x01\x00MI"), "big-endian"),
        (&|bytes| bytes[124..128].copy_from_slice(b"\x00\x02IM"), "version 7.3"),
        (&|bytes| bytes[124..128].copy_from_slice(b"\0\0\0\0"), "not the header"),
        (&|bytes| bytes.truncate(HEADER + 40), "beyond the end"),
    ] {
        let mut bytes = whole.clone();
        change(&mut bytes);
        let error = arrays(&bytes).expect_err(wanted);
        assert!(error.contains(wanted), "{error}");
    }
}
