use std::time::Duration;

use super::*;

fn put(cache: &DataCache, name: &str, bytes: usize) -> CachedFile {
    let key = Key::of_object("", name);
    let _lock = cache.lock(&key).expect("a folder");
    std::fs::write(cache.partial(&key), vec![7; bytes]).expect("room");
    cache.keep(&key, &cache.partial(&key), name.to_owned(), None, None).expect("room")
}

/// Makes as if the process that used the files had ended, and lets time pass since.
fn end_process(cache: &DataCache) {
    for lease in std::fs::read_dir(cache.folder().join("leases")).expect("it is there").flatten() {
        std::fs::write(lease.path(), "").expect("room");
    }
    std::thread::sleep(Duration::from_millis(20));
}

fn names(cache: &DataCache) -> Vec<String> {
    let mut names: Vec<_> = cache.entries().expect("a folder").into_iter().map(|entry| entry.place).collect();
    names.sort();
    names
}

#[test]
fn the_environment_names_the_folder_and_the_size() {
    let of = |set: &[(&str, &str)]| {
        let set: Vec<(String, String)> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        DataCache::of(&|name| set.iter().find(|(known, _)| known == name).map(|(_, value)| value.into()))
    };
    for (set, folder) in [
        (&[("VLHUB_DATA_CACHE", "/a"), ("VLHUB_CACHE", "/b"), ("HOME", "/d")][..], "/a"),
        (&[("VLHUB_CACHE", "/b"), ("XDG_CACHE_HOME", "/c"), ("HOME", "/d")], "/b/data"),
        (&[("XDG_CACHE_HOME", "/c"), ("HOME", "/d")], "/c/vlhub/data"),
        (&[("HOME", "/d"), ("VLHUB_DATA_CACHE", "")], "/d/.cache/vlhub/data"),
    ] {
        assert_eq!(of(set).expect("a folder").folder(), Path::new(folder), "{set:?}");
    }
    assert!(of(&[]).is_err(), "no folder at all");
    let limit = |text| of(&[("HOME", "/d"), ("VLHUB_DATA_CACHE_SIZE", text)]).map(|cache| cache.limit());
    assert_eq!((limit("").expect("none"), limit("1.5 GiB").expect("one"), limit("500MB").expect("one")), (LIMIT, 3 << 29, 500_000_000));
    assert!(limit("much").expect_err("no size").to_string().contains("200 GiB"));
}

#[test]
fn the_longest_unused_goes_first_and_what_is_held_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = DataCache::at(folder.path(), 1000);
    for name in ["a", "b", "c"] {
        put(&cache, name, 300);
        std::thread::sleep(Duration::from_millis(20));
    }
    let full = cache.make_room(300).expect_err("this process holds all").to_string();
    assert!(full.contains("VLHUB_DATA_CACHE_SIZE"), "{full}");
    assert_eq!(names(&cache), ["a", "b", "c"]);
    end_process(&cache);
    cache.get(&Key::of_object("", "a")).expect("a folder").expect("it is there");
    cache.make_room(300).expect("b goes");
    assert_eq!(names(&cache), ["a", "c"], "a was used last, and is held");
    cache.make_room(500).expect("c goes");
    assert_eq!(names(&cache), ["a"]);
    assert!(cache.make_room(800).is_err(), "a is held");
}

#[test]
fn a_file_that_is_not_whole_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = DataCache::at(folder.path(), 1000);
    let entry = put(&cache, "a", 100);
    let key = Key::of_object("", "a");
    assert!(cache.get(&key).expect("a folder").is_some());
    std::fs::write(&entry.path, [7; 99]).expect("room");
    assert!(cache.get(&key).expect("a folder").is_none(), "a byte is missing");
    put(&cache, "a", 100);
    std::fs::remove_file(about(&entry.path)).expect("it is there");
    assert!(cache.get(&key).expect("a folder").is_none(), "nothing is told of it");
}

#[test]
fn clearing_leaves_what_is_held_and_what_is_being_brought() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = DataCache::at(folder.path(), 10_000);
    for name in ["s3://a/1", "s3://a/2", "s3://b/3"] {
        put(&cache, name, 100);
    }
    end_process(&cache);
    cache.get(&Key::of_object("", "s3://a/1")).expect("a folder").expect("it is there");
    let (busy, left) = (Key::of_object("", "busy"), Key::of_object("", "left"));
    let _busy = cache.lock(&busy).expect("a folder");
    drop(cache.lock(&left).expect("a folder"));
    for key in [&busy, &left] {
        std::fs::write(cache.partial(key), "half").expect("room");
    }
    assert_eq!(cache.clear(&|entry| entry.place.contains("/a/")).expect("a folder"), (1, 100, 1));
    assert_eq!(names(&cache), ["s3://a/1", "s3://b/3"]);
    assert!(cache.partial(&busy).exists() && !cache.partial(&left).exists());
}

#[test]
fn names_of_objects_and_their_realms_make_different_keys() {
    let keys = [Key::of_object("", "s3://a/b"), Key::of_object("s3://a/b", ""), Key::of_object("http://minio", "s3://a/b")];
    assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
    assert!(keys.iter().all(|key| key.0.len() == 64 && key.0.bytes().all(|byte| byte.is_ascii_hexdigit())));
}
