//! Natural order: numbers in names count as numbers.

/// Key of natural order: `vit_2` before `vit_10`.
pub fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(text_end);
        let digits_end = after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len());
        let (digits, after) = after.split_at(digits_end);
        parts.push((text.to_owned(), digits.parse().unwrap_or(0)));
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_naturally() {
        let mut names = vec!["vit_b_32", "vit_b_8", "vit", "vit_b_16"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["vit", "vit_b_8", "vit_b_16", "vit_b_32"]);
    }
}
