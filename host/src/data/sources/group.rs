//! Members of a shard to samples, by the rules of WebDataset.

use std::collections::HashSet;

use super::tar_index::Member;

/// Members of one key that follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// Path up to the first dot after the last slash.
    pub key: Vec<u8>,
    /// Suffix in lower case, and the number of its member.
    pub parts: Vec<(String, usize)>,
    /// The key stood elsewhere in the shard already: members of samples are mixed.
    pub again: bool,
    /// A sample before this one has the same key, and a suffix that was repeated ended it.
    pub repeated: bool,
}

impl Group {
    /// The member of the first of `suffixes` that is there.
    pub fn find<'a>(&self, suffixes: impl IntoIterator<Item = &'a str>) -> Option<usize> {
        suffixes.into_iter().find_map(|wanted| self.parts.iter().find(|(suffix, _)| suffix == wanted).map(|(_, member)| *member))
    }
}

/// Splits the members of one shard into samples. A shard's end ends a sample, whatever the next shard begins with. The second value counts
/// members whose names have no suffix: they belong to no sample.
pub(crate) fn group(members: &[Member]) -> (Vec<Group>, u64) {
    let mut groups: Vec<Group> = Vec::new();
    let mut ended: HashSet<&[u8]> = HashSet::new();
    let mut nameless = 0;
    let mut previous: Option<&[u8]> = None;
    for (number, member) in members.iter().enumerate() {
        let Some((key, suffix)) = split(&member.name) else {
            nameless += 1;
            continue;
        };
        let same_key = previous == Some(key);
        let repeated = same_key && groups.last().is_some_and(|group| group.parts.iter().any(|(known, _)| *known == suffix));
        if !same_key || repeated {
            let again = !same_key && !ended.insert(key);
            groups.push(Group { key: key.to_vec(), parts: Vec::new(), again, repeated });
        }
        previous = Some(key);
        if let Some(group) = groups.last_mut() {
            group.parts.push((suffix, number));
        }
    }
    (groups, nameless)
}

/// `a/b.c.jpg` is key `a/b`, suffix `c.jpg`.
fn split(name: &[u8]) -> Option<(&[u8], String)> {
    let slash = name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let dot = slash + name[slash..].iter().position(|byte| *byte == b'.')?;
    // A hidden file (`.DS_Store`, `._0001.jpg`) has nothing before its dot.
    (dot > slash).then(|| (&name[..dot], String::from_utf8_lossy(&name[dot + 1..]).to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(names: &[&str]) -> Vec<String> {
        let members: Vec<Member> = names.iter().map(|name| Member { name: name.as_bytes().to_vec(), offset: 0, size: 0 }).collect();
        let (groups, nameless) = group(&members);
        let mut all: Vec<String> = groups
            .iter()
            .map(|group| {
                let suffixes: Vec<&str> = group.parts.iter().map(|(suffix, _)| suffix.as_str()).collect();
                let marks = format!("{}{}", if group.again { " again" } else { "" }, if group.repeated { " repeated" } else { "" });
                format!("{}:{}{marks}", String::from_utf8_lossy(&group.key), suffixes.join("+"))
            })
            .collect();
        if nameless > 0 {
            all.push(format!("{nameless} without suffix"));
        }
        all
    }

    #[test]
    fn members_are_grouped_as_webdataset_groups_them() {
        for (names, expected, why) in [
            (&["0.jpg", "0.txt", "1.jpg"][..], &["0:jpg+txt", "1:jpg"][..], "a new key is a new sample"),
            (&["a.b/c.d.jpg"], &["a.b/c:d.jpg"], "the first dot after the last slash"),
            (&["0.JPG", "0.Txt"], &["0:jpg+txt"], "suffixes in lower case"),
            (&["0.jpg", "0.txt", "0.jpg", "0.txt"], &["0:jpg+txt", "0:jpg+txt repeated"], "a suffix again is a new sample"),
            (&["0.a", "1.a", "0.b", "1.b"], &["0:a", "1:a", "0:b again", "1:b again"], "mixed members are seen"),
            (&["x/0.jpg", "y/0.txt"], &["x/0:jpg", "y/0:txt"], "the folder belongs to the key"),
            (&["README", "0.jpg", ".DS_Store"], &["0:jpg", "2 without suffix"], "no suffix, no sample"),
            (&[], &[], "nothing"),
        ] {
            assert_eq!(groups(names), expected, "{why}");
        }
    }
}
