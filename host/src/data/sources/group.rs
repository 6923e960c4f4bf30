//! Members of a shard to samples, by the rules of WebDataset.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::tar_index::Member;

/// Where a member's data are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub offset: u64,
    pub size: u32,
}

/// Members of one key that follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// Path up to the first dot after the last slash.
    pub key: Vec<u8>,
    /// Suffix in lower case, and where its member is. Never empty.
    pub parts: Vec<(String, Span)>,
    /// The key stood elsewhere in the shard already: members of samples are mixed.
    pub again: bool,
    /// A sample before this one has the same key, and a suffix that was repeated ended it.
    pub repeated: bool,
}

impl Group {
    /// The member of the first of `suffixes` that is there.
    pub fn find<'a>(&self, suffixes: impl IntoIterator<Item = &'a str>) -> Option<Span> {
        suffixes.into_iter().find_map(|wanted| self.parts.iter().find(|(suffix, _)| suffix == wanted).map(|(_, span)| *span))
    }

    /// Where its first member's data are.
    pub fn offset(&self) -> u64 {
        self.parts.first().map_or(0, |(_, span)| span.offset)
    }
}

/// Puts the members of one shard together as they come. A shard's end ends a sample, whatever the next shard begins with.
#[derive(Debug, Default)]
pub(crate) struct Grouper {
    group: Group,
    /// Hashes of the keys that were there: 8 bytes a key, and a wrong "again" once in some 10 million shards of a million samples.
    ended: HashSet<u64>,
    /// Members whose names have no suffix: they belong to no sample.
    pub nameless: u64,
}

impl Grouper {
    /// The next member; gives the sample that it ends.
    pub fn push(&mut self, member: &Member<'_>) -> Option<Group> {
        let Some((key, suffix)) = split(member.name) else {
            self.nameless += 1;
            return None;
        };
        let span = Span { offset: member.offset, size: member.size };
        let same_key = !self.group.parts.is_empty() && self.group.key == key;
        let repeated = same_key && self.group.parts.iter().any(|(known, _)| *known == suffix);
        if same_key && !repeated {
            self.group.parts.push((suffix, span));
            return None;
        }
        let again = !same_key && !self.ended.insert(xxh3_64(key));
        let next = Group { key: key.to_vec(), parts: vec![(suffix, span)], again, repeated };
        Some(std::mem::replace(&mut self.group, next)).filter(|group| !group.parts.is_empty())
    }

    /// The last sample.
    pub fn finish(&mut self) -> Option<Group> {
        Some(std::mem::take(&mut self.group)).filter(|group| !group.parts.is_empty())
    }
}

/// `a/b.c.jpg` is key `a/b`, suffix `c.jpg`.
fn split(name: &[u8]) -> Option<(&[u8], String)> {
    let slash = memchr::memrchr(b'/', name).map_or(0, |at| at + 1);
    let dot = slash + memchr::memchr(b'.', &name[slash..])?;
    // WebDataset keeps such names for remarks on the whole set.
    let remark = slash == 0 && name.starts_with(b"__") && name.ends_with(b"__");
    // A hidden file (`.DS_Store`, `._0001.jpg`) has nothing before its dot.
    (dot > slash && !remark).then(|| (&name[..dot], lower_case(&name[dot + 1..])))
}

/// Most suffixes are lower case already.
fn lower_case(suffix: &[u8]) -> String {
    match suffix.iter().all(|byte| byte.is_ascii_lowercase()).then(|| std::str::from_utf8(suffix)) {
        Some(Ok(suffix)) => suffix.to_owned(),
        _ => String::from_utf8_lossy(suffix).to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(names: &[&str]) -> Vec<String> {
        let mut grouper = Grouper::default();
        let mut groups: Vec<Group> =
            names.iter().filter_map(|name| grouper.push(&Member { name: name.as_bytes(), offset: 0, size: 0 })).collect();
        groups.extend(grouper.finish());
        let nameless = grouper.nameless;
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
            (&["__len__.txt", "__0.x__", "a/__0.x__"], &["__len__:txt", "a/__0:x__", "1 without suffix"], "names for remarks"),
            (&[], &[], "nothing"),
        ] {
            assert_eq!(groups(names), expected, "{why}");
        }
    }
}
