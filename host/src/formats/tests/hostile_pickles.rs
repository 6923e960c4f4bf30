//! Pickles that want to run something, to take all memory, or to look beyond their storages.

use super::build::{archive, dict, int, legacy, parse, sound, tensor, text};

fn fails(why: &str, pickle: &[u8]) -> String {
    parse("hostile.pt", &archive(pickle, &[0; 8])).expect_err(why)
}

#[test]
fn nothing_is_run_and_what_was_wanted_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let proof = dir.path().join("proof");
    let command = text(&format!("touch {}", proof.display()));
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("__builtin__", "apply"),
        ("pkgutil", "resolve_name"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.jit", "load"),
        ("torch.serialization", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("collections", "OrderedDict.__class__"),
        ("numpy", "load"),
        ("_codecs", "decode"),
        ("operator", "attrgetter"),
        ("__torch__x", "M"),
        ("open_clip.model", "CLIP"),
    ] {
        let line = format!("c{module}\n{name}\n").into_bytes();
        let stacked = [text(module), text(name), b"\x93".to_vec()].concat();
        for (how, global) in [("by line", line), ("by stack", stacked)] {
            let call = [global.clone(), b"(".to_vec(), command.clone(), b"tR".to_vec()].concat();
            for pickle in [[b"\x80\x02".to_vec(), call.clone(), b".".to_vec()].concat(), dict(&[("w", sound()), ("x", call)])] {
                let why = format!("{module}.{name} {how}");
                let error = fails(&why, &pickle);
                assert!(error.contains(&format!("`{module}.{name}`")) && error.contains("nothing of the file was run"), "{why}: {error}");
                let error = parse("old.pt", &legacy(&pickle, &["0"], &[(2, &[0; 8])])).expect_err(&why);
                assert!(error.contains(&format!("`{module}.{name}`")), "{why}, legacy: {error}");
            }
        }
    }
    assert!(!proof.exists(), "the command was not run");
}

#[test]
fn operations_that_pytorch_does_not_write_are_refused() {
    for (why, ops, part) in [
        ("INST", b"\x80\x02(ios\nsystem\n.".to_vec(), "0x69"),
        ("OBJ", b"\x80\x02(o.".to_vec(), "0x6f"),
        ("EXT1", b"\x80\x02\x82\x01.".to_vec(), "0x82"),
        ("PERSID", b"\x80\x02Pos\n.".to_vec(), "0x50"),
        ("NEWOBJ_EX", b"\x80\x02ccollections\nOrderedDict\n)}\x92.".to_vec(), "0x92"),
        ("another protocol", b"\x80\x09N.".to_vec(), "protocol 9"),
        ("an empty stack", b"\x80\x020.".to_vec(), "stack is empty"),
        ("a pop below a mark", b"\x80\x02N(0.".to_vec(), "stack is empty"),
        ("no mark", b"\x80\x02Nt.".to_vec(), "no mark"),
        ("a memo that is empty", b"\x80\x02h\x07.".to_vec(), "memo 7"),
        ("a text of 4 GB", b"\x80\x02X\xff\xff\xff\xffa.".to_vec(), "cut"),
        ("a text of 2^64 bytes", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.".to_vec(), "cut"),
        ("a text that is none", b"\x80\x02X\x01\0\0\0\xff.".to_vec(), "UTF-8"),
        ("no end", b"\x80\x02}".to_vec(), "cut"),
        ("nothing", Vec::new(), "cut"),
        ("no dict", b"\x80\x02N.".to_vec(), "no dict"),
        ("an empty dict", b"\x80\x02}.".to_vec(), "no tensors"),
        ("a call of a number", b"\x80\x02K\x01)R.".to_vec(), "no function"),
        ("a call with a list", b"\x80\x02ccollections\nOrderedDict\n]R.".to_vec(), "no tuple"),
        ("an item for a number", b"\x80\x02K\x01Na.".to_vec(), "no list"),
        ("half an entry", b"\x80\x02}(Nu.".to_vec(), "no value"),
        ("a module as storage", [b"\x80\x02(".to_vec(), text("module"), b"NNNNtQ.".to_vec()].concat(), "state_dict"),
    ] {
        let error = fails(why, &ops);
        assert!(error.contains(part), "{why}: {error}");
    }
}

#[test]
fn views_stay_within_their_storages() {
    let view = |class: &str, count: i64, offset: i64, size: &[i64], stride: &[i64]| {
        dict(&[("w", tensor(class, "0", count, offset, size, stride))])
    };
    let most = i64::MAX;
    for (why, pickle, part) in [
        ("a storage shorter than it claims", view("FloatStorage", 3, 0, &[3], &[1]), "claims 3 numbers"),
        ("a count that overflows", view("FloatStorage", most, 0, &[2], &[1]), "claims"),
        ("a negative count", view("FloatStorage", -1, 0, &[0], &[1]), "claims -1"),
        ("a view beyond the end", view("FloatStorage", 2, 0, &[3], &[1]), "needs number 2"),
        ("an offset beyond the end", view("FloatStorage", 2, 2, &[1], &[1]), "needs number 2"),
        ("a stride beyond the end", view("FloatStorage", 2, 0, &[2], &[2]), "needs number 2"),
        ("a negative offset", view("FloatStorage", 2, -1, &[1], &[1]), "negative"),
        ("a negative stride", view("FloatStorage", 2, 1, &[2], &[-1]), "negative"),
        ("a negative size", view("FloatStorage", 2, 0, &[-1], &[1]), "negative"),
        ("a size that overflows", view("FloatStorage", 2, 0, &[most, most], &[0, 0]), "overflows"),
        ("a stride that overflows", view("FloatStorage", 2, 0, &[3, 3], &[most, most]), "overflows"),
        ("an offset that overflows", view("FloatStorage", 2, most, &[2], &[1]), "overflows"),
        ("strides without sizes", view("FloatStorage", 2, 0, &[], &[1]), "differ in length"),
        ("33 dimensions", view("FloatStorage", 2, 0, &[1; 33], &[1; 33]), "at most 32"),
        ("a terabyte of zeros", view("FloatStorage", 2, 0, &[1 << 38], &[0]), "larger than their storages"),
        ("a class that is not read", view("ComplexFloatStorage", 1, 0, &[1], &[1]), "type is not read"),
        ("two tensors of one name", dict(&[("w", sound()), ("w", sound())]), "two tensors are called `w`"),
    ] {
        let error = fails(why, &pickle);
        assert!(error.contains(part) && (error.contains("`w`")), "{why}: {error}");
    }
    let error = parse("bool.pt", &archive(&view("BoolStorage", 8, 0, &[8], &[1]), &[7; 8])).expect_err("truth values of 7");
    assert!(error.contains("truth value"), "{error}");
    let many =
        dict(&[("a", tensor("FloatStorage", "0", 2, 0, &[1 << 22], &[0])), ("b", tensor("FloatStorage", "0", 2, 0, &[1 << 24], &[0]))]);
    assert!(fails("zeros of many tensors", &many).contains("larger than their storages"), "what tensors take together counts");
}

#[test]
fn bombs_do_not_go_off() {
    // Each level holds the one below twice: 2^60 ways lead to the tensor.
    let mut levels = [b"\x80\x02}".to_vec(), text("w"), sound(), b"sq\x01".to_vec()].concat();
    for _ in 0..60 {
        levels.extend([b"0}(".to_vec(), text("a"), b"h\x01".to_vec(), text("b"), b"h\x01uq\x01".to_vec()].concat());
    }
    let part = |inner: Vec<u8>| [b"\x80\x02}".to_vec(), text("state_dict"), inner, b"s.".to_vec()].concat();
    let error = fails("names that double", &part([levels[2..].to_vec()].concat()));
    assert!(error.contains("do not end") || error.contains("tensors") || error.contains("deep"), "{error}");
    let own = [b"}q\x01".to_vec(), text("a"), b"h\x01s".to_vec()].concat();
    assert!(fails("a dict within itself", &part(own)).contains("deep"), "a dict that holds itself");
    let object = [b"\x80\x02c__torch__\nM\n)\x81q\x01}".to_vec(), text("a"), b"h\x01sb.".to_vec()].concat();
    assert!(fails("a module within itself", &object).contains("deep"), "a module that holds itself");
    let deep = [b"]".repeat(100_000), b"a".repeat(99_999)].concat();
    let file = parse("deep.pt", &archive(&dict(&[("w", sound()), ("x", deep)]), &[0; 8])).expect("lists beside weights");
    assert_eq!((file.tensors.len(), file.extras.skipped.as_slice()), (1, ["x".to_owned()].as_slice()));
    let many = [b"\x80\x02".to_vec(), b"]".repeat(5_000_000), b".".to_vec()].concat();
    assert!(fails("five million lists", &many).contains("operations"), "operations are counted");
    // One name of a megabyte, and one of 900 bytes for 100,000 tensors.
    let named = |length: usize, count: usize| {
        let first = [text(&"n".repeat(length)), b"q\x01".to_vec(), sound(), b"q\x02".to_vec()].concat();
        [b"\x80\x02}(".to_vec(), first, b"h\x01h\x02".repeat(count), b"u.".to_vec()].concat()
    };
    assert!(fails("a name of a megabyte", &named(1 << 20, 100_000)).contains("more than 1000 bytes"), "names have a length");
    let numbered = [b"\x80\x02}K\x01".to_vec(), sound(), b"s.".to_vec()].concat();
    assert!(fails("a number as name", &numbered).contains("no text"), "a tensor without a name is not left out");
    assert!(fails("long names", &named(900, 100_000)).contains("too much memory"), "names are counted");
    let inner = named(900, 100_000);
    assert!(
        fails("long names below", &part(inner[2..inner.len() - 1].to_vec())).contains("too much memory"),
        "names are counted below too"
    );
    // A list of pairs that becomes a dict again and again.
    let pairs = [b"](".to_vec(), b"NN\x86".repeat(100_000), b"eq\x01".to_vec()].concat();
    let calls = b"ccollections\nOrderedDict\n(h\x01tR0".repeat(1000);
    let copies = [b"\x80\x02".to_vec(), pairs, calls, b"}.".to_vec()].concat();
    assert!(fails("a dict copied 1000 times", &copies).contains("again and again"), "copies are counted");
    let nested = b"ctorch._tensor\n_rebuild_from_type_v2\n(".repeat(2);
    let pickle = dict(&[("w", [nested, b"NN)NtRN)NtR".to_vec()].concat())]);
    assert!(parse("nested.pt", &archive(&pickle, &[0; 8])).is_err(), "calls within calls");
    let odd = dict(&[("w", [b"ctorch._utils\n_rebuild_qtensor\n)R".to_vec()].concat())]);
    assert!(fails("a quantised tensor", &odd).contains("quantised"), "it is said, not left out");
    let wide = dict(&[("w", [b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec(), sound(), int(0), b"))tR".to_vec()].concat())]);
    assert!(fails("a tensor of a tensor", &wide).contains("no storage"), "a tensor is no storage");
}
