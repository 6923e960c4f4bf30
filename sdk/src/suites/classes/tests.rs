use super::*;

fn names(list: &str) -> Vec<String> {
    list.split_whitespace().map(str::to_owned).collect()
}

/// The classes that the labels 0, 1, … of a data set with the classes `data` get, among the classes `known`.
fn matched(data: &str, known: &str, renames: bool) -> Result<(Vec<usize>, Option<String>)> {
    let (data, known) = (names(data), names(known));
    let count = Some(if known.is_empty() { 4 } else { known.len() });
    let (data, known) = (ClassList::named("`data`", &data), ClassList { count, ..ClassList::named("the head", &known) });
    let found = if renames { ClassMatch::with_other_names(&data, &known) } else { ClassMatch::new(&data, &known) }?;
    let labels = if data.names.is_empty() { 12 } else { data.names.len() as i64 };
    Ok(((0..labels).filter_map(|label| found.class_of(label).ok()?.ok()).collect(), found.note().map(str::to_owned)))
}

#[test]
fn labels_become_classes_of_the_same_name() {
    let cases: [(&str, &str, &[usize], &str); 9] = [
        ("blue green red", "blue green red", &[0, 1, 2], "one list"),
        ("red green blue", "blue green red", &[2, 1, 0], "another order"),
        ("green red yellow", "blue green red yellow", &[1, 2, 3], "a class without pictures"),
        (
            "0 1 10 11 2 3 4 5 6 7 8 9",
            "0 1 2 3 4 5 6 7 8 9 10 11",
            &[0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9],
            "numbers in the order of strings",
        ),
        ("1 2", "01 02 10", &[0, 1], "numbers are equal by their values"),
        ("10 0 2", "0 10 2", &[1, 0, 2], "numbers on both sides"),
        ("", "0 10 2 1", &[0, 3, 2, 1], "labels without names, to names that are numbers: 2 is `2`"),
        ("crane", "bird crane", &[1], "a class of one name"),
        ("crane crane", "crane crane", &[0, 1], "one list needs no names of their own"),
    ];
    for (data, known, wanted, why) in cases {
        let (found, note) = matched(data, known, false).expect(why);
        assert_eq!((&found[..], note), (wanted, None), "{why}");
    }
}

#[test]
fn places_are_used_only_where_a_side_has_no_names_and_are_told() {
    let cases: [(&str, &str, bool, &[usize], &str); 9] = [
        ("blue green red yellow", "", false, &[0, 1, 2, 3], "the head does not name its classes"),
        ("", "blue green red yellow", false, &[0, 1, 2, 3], "`data` does not name its classes: label 0 for `blue`"),
        ("", "", false, &[0, 1, 2, 3], "neither `data` nor the head names its classes"),
        ("cat dog fox hen", "0 1 2 3", false, &[0, 1, 2, 3], "numbers"),
        ("0 1 10 2", "a b c d e f g h i j k", false, &[0, 1, 10, 2], "`10` was taken for `k`"),
        ("01 02 03 04", "a b c d", false, &[0, 1, 2, 3], "`04` was taken for `d`"),
        ("n1 n2 n3 n4", "tench shark ray cock", true, &[0, 1, 2, 3], "`n2` was taken for `shark`"),
        ("cat dog", "cat hound", true, &[0, 1], "`dog` was taken for `hound`"),
        ("00 01 02 03", "", false, &[0, 1, 2, 3], "does not name"),
    ];
    for (data, known, renames, wanted, told) in cases {
        let (found, note) = matched(data, known, renames).expect(told);
        assert_eq!(found, wanted, "{told}");
        assert!(note.as_ref().is_some_and(|note| note.contains(told)), "{note:?} does not say `{told}`");
    }
}

#[test]
fn what_cannot_be_matched_is_refused_with_the_reason() {
    for (data, known, renames, parts) in [
        ("bleu green", "blue green red", false, ["1 of the 2 classes of `data`", "`bleu` (near: `blue`)"]),
        ("blue green red yellow violet", "blue green", false, ["3 of the 5 classes", "`red`, `yellow`, `violet`"]),
        ("blue green red", "", false, ["`data` has 3 classes", "the head has 4"]),
        ("0 1 10 2", "", false, ["`data` are numbers in another order", "class_names"]),
        ("crane bird", "crane crane", false, ["the head has the class `crane` twice", "places 0 and 1"]),
        ("crane crane", "crane bird", false, ["`data` has the class `crane` twice", "name of its own"]),
        ("cat dog", "0 1 2", false, ["`data` has 2 classes", "the head has 3"]),
        ("1 10 2", "a b c", false, ["are numbers (`1`, `10`, `2`)", "from 0"]),
        ("1 2", "a b c", false, ["are numbers", "name the classes"]),
        ("cat dog", "dog hound", true, ["1 of the 2 classes", "`cat`"]),
        ("n1 n2 n3", "tench shark", true, ["3 of the 3 classes", "it has the 2: `tench`, `shark`"]),
        ("1 3", "1 2", false, ["`3`", "none of the head"]),
    ] {
        let error = matched(data, known, renames).expect_err(data).to_string();
        for part in parts {
            assert!(error.contains(part), "`{data}` against `{known}`: {error} does not say {part}");
        }
    }
}

#[test]
fn labels_beyond_the_classes_have_none() {
    let list = names("a b");
    let named = ClassMatch::new(&ClassList::named("`data`", &list), &ClassList::named("`train`", &list)).expect("one list");
    let class = |found: &ClassMatch, label| found.class_of(label).expect("no contradiction").ok();
    assert_eq!((class(&named, 1), class(&named, 2), class(&named, -1)), (Some(1), None, None));
    assert_eq!(named.class_of(7).expect("no contradiction"), Err("label 7 is not in 0..2".to_owned()));
    let (none, numbers) = (Vec::new(), names("3 5"));
    let numbered = ClassMatch::new(&ClassList::named("`data`", &none), &ClassList::named("`train`", &numbers)).expect("numbers");
    assert_eq!(class(&numbered, 5), Some(1));
    // Without names of its own, a data set that has another number has other classes.
    let error = numbered.class_of(4).expect_err("a contradiction").to_string();
    assert_eq!(error, "label 4 is none of the classes 3, 5, the classes of `train`");
    assert_eq!(class(&ClassMatch::of_numbers(), 41), Some(41));
}
