//! Which compiler plugin libraries of a host must have been built by: its identity, read from the program as data, without running it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::paths::{self, Project};

/// How an identity begins, as in `core/src/abi.rs`.
const START: &[u8] = b"VLHUB-PLUGIN/1\nrustc=";
/// No identity is longer, in bytes.
const LONGEST: usize = 512;

/// What a host was built by and for, and so what a plugin library must have been built by and for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    fields: Vec<(String, String)>,
}

impl Identity {
    /// Reads the identity in the bytes of a program or library; `None` where there is none.
    pub fn scan(file: &[u8]) -> Option<Self> {
        let starts = (0..file.len().saturating_sub(START.len())).filter(|at| file[*at] == START[0] && file[*at..].starts_with(START));
        starts.into_iter().find_map(|at| Self::read(&file[at..file.len().min(at + LONGEST)]))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(5).position(|window| window == b"\nend\n")?;
        let text = std::str::from_utf8(&bytes[..end]).ok()?;
        let fields = text.lines().skip(1).map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
        fields.collect::<Option<_>>().map(|fields| Self { fields })
    }

    fn get(&self, field: &str) -> &str {
        self.fields.iter().find(|(name, _)| name == field).map_or("unknown", |(_, value)| value)
    }

    /// The compiler: version, commit and date, as `rustc -V` prints them behind its name.
    pub fn rustc(&self) -> &str {
        self.get("rustc")
    }

    /// Everything else that must agree, in words.
    pub fn rest(&self) -> String {
        let [sdk, torch, target, panic] = ["sdk", "torch", "target", "panic"].map(|field| self.get(field));
        format!("vlhub-sdk {sdk}, libtorch {torch}, {target}, panic={panic}")
    }
}

/// The program for which plugin libraries are built here: the one named, the newest that was built in the project, or `vlhub` on the search
/// path.
pub fn host(project: Option<&Project>, named: Option<&Path>) -> Option<PathBuf> {
    if let Some(named) = named {
        return Some(named.to_owned());
    }
    let built = project.into_iter().flat_map(|project| ["debug", "release"].map(|profile| project.program(profile)));
    let newest = built.filter_map(|program| Some((fs::metadata(&program).ok()?.modified().ok()?, program))).max();
    newest.map(|(_, program)| program).or_else(|| paths::which("vlhub"))
}

/// The name by which rustup knows the compiler of version `version`; `None` where the version does not tell.
pub fn toolchain(version: &str) -> Option<String> {
    let mut words = version.split([' ', '(', ')']).filter(|word| !word.is_empty());
    let (number, date) = (words.next()?, words.nth(1));
    if number.chars().all(|letter| letter.is_ascii_digit() || letter == '.') {
        return Some(number.to_owned());
    }
    // A nightly is published the day after the commit of which it is built.
    let nightly = number.ends_with("-nightly").then(|| day_after(date?)).flatten()?;
    Some(format!("nightly-{nightly}"))
}

/// The day after `YYYY-MM-DD`.
fn day_after(date: &str) -> Option<String> {
    let mut parts = date.split('-').map(str::parse::<u32>);
    let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let (year, month, day) = match (month, day) {
        (12, 31) => (year + 1, 1, 1),
        (month, day) if day == days => (year, month + 1, 1),
        (month, day) => (year, month, day + 1),
    };
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_from_the_bytes_of_a_program() {
        let text = b"VLHUB-PLUGIN/1\nrustc=1.95.0 (59807616e 2026-04-14)\nsdk=0.1.0\ntorch=2.11.0\ntarget=x86_64\npanic=unwind\nend\n";
        let file = [&[7u8; 900][..], b"VLHUB-PLUGIN/1\nrustc=", &[0; 700], text, &[0; 300]].concat();
        let identity = Identity::scan(&file).expect("it is there, behind a text that only begins like one");
        assert_eq!(identity.rustc(), "1.95.0 (59807616e 2026-04-14)");
        assert_eq!(identity.rest(), "vlhub-sdk 0.1.0, libtorch 2.11.0, x86_64, panic=unwind");
        assert_eq!(Identity::scan(b"#!/bin/sh\n"), None);
        assert_eq!(Identity::scan(b""), None);
        assert_eq!(Identity::scan(&file[..1700]), None, "cut off in the middle");
    }

    #[test]
    fn rustup_knows_a_compiler_by_its_version_or_its_date() {
        for (version, name, why) in [
            ("1.95.0 (59807616e 2026-04-14)", Some("1.95.0"), "a stable one"),
            ("1.95.0 (59807616e 2026-04-14) (Debian 1.95.0-1)", Some("1.95.0"), "a distribution's"),
            ("1.97.0-nightly (0123abcde 2028-02-28)", Some("nightly-2028-02-29"), "a nightly, in a leap year"),
            ("1.97.0-nightly (0123abcde 2026-12-31)", Some("nightly-2027-01-01"), "a nightly of the last day of a year"),
            ("1.96.0-beta.3 (0123abcde 2026-05-01)", None, "a beta says no day of publication"),
            ("unknown", None, "nothing to go by"),
            ("", None, "nothing at all"),
        ] {
            assert_eq!(toolchain(version).as_deref(), name, "{why}");
        }
    }
}
