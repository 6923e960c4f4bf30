use rand_core::RngCore;

use super::*;
use crate::random::{SplitMix64, below, shuffle};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("class {class}")).collect()
}

fn no_files(name: &str) -> Result<String> {
    Err(Error::invalid(format!("{name} is not there")))
}

#[test]
fn a_place_and_its_name_belong_to_one_class_whatever_is_asked_for() {
    let mut rng = SplitMix64(7);
    for _ in 0..500 {
        let count = 1 + below(&mut rng, 60) as usize;
        let mut order: Vec<usize> = (0..count).collect();
        shuffle(&mut rng, &mut order);
        order.truncate(1 + below(&mut rng, count as u64) as usize);
        let all = names(count);
        let subset = ClassSubset::new(order.clone(), count).expect("each once, in range");
        assert_eq!(subset.kept(), order, "in the order as given");
        let kept = subset.names(&all);
        for (class, name) in all.iter().enumerate() {
            match subset.place(class) {
                Some(place) => assert_eq!((&kept[place], order[place]), (name, class)),
                None => assert!(!order.contains(&class) && !kept.contains(name)),
            }
        }
        // What data have of it keeps the order, and other numbers for the classes change no name.
        let others: Vec<usize> = (0..count).filter(|_| rng.next_u32() & 1 == 0).collect();
        if let Ok(common) = subset.among(&others) {
            let wanted: Vec<usize> = order.iter().copied().filter(|class| others.contains(class)).collect();
            assert_eq!(common.kept(), wanted);
        }
        let mut numbers: Vec<usize> = (0..count).collect();
        shuffle(&mut rng, &mut numbers);
        let mut renamed = vec![String::new(); count];
        all.iter().zip(&numbers).for_each(|(name, number)| renamed[*number].clone_from(name));
        assert_eq!(subset.renumbered(&numbers, count).expect("a permutation").names(&renamed), kept);
    }
}

#[test]
fn a_subset_is_named_numbered_listed_or_in_a_file() {
    let all = names(1000);
    let other: Vec<String> = (0..1000).map(|class| format!("other {class}")).collect();
    let file = |name: &str| {
        Ok(match name {
            "numbers.txt" => "7\n3\n",
            "list.txt" => "[7, 3]",
            "names.txt" => "\u{feff}class 7\n\nclass 3\n",
            "names.json" => "[\"class 7\", \"other 3\"]",
            "broken.json" => "[7, ",
            _ => return no_files(name),
        }
        .to_owned())
    };
    let find = |choice: &SubsetChoice| choice.find(1000, &[&all, &other], &file).map(|subset| subset.kept().to_vec());
    for choice in [
        SubsetChoice::Numbers(vec![7, 3]),
        SubsetChoice::Names(vec!["class 7".into(), "class 3".into()]),
        SubsetChoice::Names(vec!["other 7".into(), "class 3".into()]),
        SubsetChoice::Named("numbers.txt".into()),
        SubsetChoice::Named("list.txt".into()),
        SubsetChoice::Named("names.txt".into()),
        SubsetChoice::Named("names.json".into()),
    ] {
        assert_eq!(find(&choice).expect("it is one"), [7, 3], "{choice:?}");
    }
    let in100 = find(&SubsetChoice::Named("in100".into())).expect("it is known");
    assert_eq!((in100.len(), in100[0], in100[99]), (100, 386, 943));
    for (choice, wanted) in [
        (SubsetChoice::Named("in1000".into()), "did you mean `in100`?"),
        (SubsetChoice::Named("birds".into()), "known subsets: in100 in100_dogs"),
        (SubsetChoice::Named("broken.json".into()), "no JSON list"),
        (SubsetChoice::Names(vec!["clas 7".into()]), "did you mean `class 7`?"),
        (SubsetChoice::Numbers(vec![3, 1000]), "class 1000 is not below 1000"),
        (SubsetChoice::Numbers(vec![3, 3]), "class 3 is named twice"),
        (SubsetChoice::Numbers(vec![]), "no class is left"),
    ] {
        let error = find(&choice).expect_err(wanted).to_string();
        assert!(error.starts_with("`subset`: ") && error.contains(wanted), "{error}");
    }
    let few = names(5);
    let error = SubsetChoice::Named("in100".into()).find(5, &[&few], &file).expect_err("other classes").to_string();
    assert!(error.contains("ImageNet's 1000 classes, and the data set has 5"), "{error}");
    let twice = vec!["missile".to_owned(); 2];
    let error = SubsetChoice::Names(twice.clone()).find(2, &[&twice], &file).expect_err("which one?").to_string();
    assert!(error.contains("several classes are called `missile`") && error.contains("[0, 1]"), "{error}");
}

#[test]
fn a_subset_is_cut_to_what_the_data_have() {
    let all = names(6);
    let asked = |choice: Option<SubsetChoice>, evaluated: &[u32]| {
        asked_classes(choice.as_ref(), evaluated, (6, &[&all]), &no_files).map(|subset| subset.map(|subset| subset.kept().to_vec()))
    };
    assert_eq!(asked(None, &[]).expect("all"), None);
    assert_eq!(asked(None, &[1, 4]).expect("some"), Some(vec![1, 4]));
    assert_eq!(asked(Some(SubsetChoice::Numbers(vec![4, 0, 1])), &[]).expect("some"), Some(vec![4, 0, 1]));
    assert_eq!(asked(Some(SubsetChoice::Numbers(vec![4, 0, 1])), &[1, 4]).expect("some"), Some(vec![4, 1]), "in the subset's order");
    assert!(
        asked(Some(SubsetChoice::Numbers(vec![0])), &[1, 4]).expect_err("nothing in common").to_string().contains("none of its classes")
    );
}
