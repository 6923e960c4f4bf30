//! A run that is killed while its checkpoints are written beside training, again and again: each process goes on where the last one was killed, and is
//! killed in its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{SMALL, command, must, ran};

/// Checkpoints that stay.
const KEEP: usize = 2;
/// Steps from one checkpoint to the next.
const EVERY: u64 = 2;
/// Fields of `metrics.jsonl` that the clock decides.
const CLOCK: [&str; 3] = ["\"batch_time\"", "\"data_time\"", "\"samples_per_second\""];
/// What the process that was started last has said.
const SAID: &str = "said.log";

/// The folders among a run's checkpoints.
#[derive(Debug, Default)]
struct Listing {
    /// Steps of those that are complete, by their names.
    complete: BTreeSet<u64>,
    /// Names of those that are being written, or were.
    partial: BTreeSet<String>,
    /// All of them, those that are being removed too.
    folders: usize,
}

impl Listing {
    fn of(checkpoints: &Path) -> Self {
        let mut listing = Self::default();
        // It may not be there yet.
        let entries = fs::read_dir(checkpoints).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let name = entry.file_name().to_string_lossy().into_owned();
            listing.folders += 1;
            match name.strip_prefix("step-").map(str::parse::<u64>) {
                Some(Ok(step)) => drop(listing.complete.insert(step)),
                Some(Err(_)) => drop(listing.partial.insert(name)),
                None => {}
            }
        }
        listing
    }

    /// The newest complete step; 0 before there is one.
    fn newest(&self) -> u64 {
        self.complete.last().copied().unwrap_or(0)
    }
}

/// When a process is killed: during which of its writes, and after which part of the time that a write takes.
#[derive(Clone, Copy, Debug)]
struct Aim {
    write: usize,
    part: f64,
}

/// What a kill left.
#[derive(Debug)]
struct Killed {
    /// The newest checkpoint that was complete before.
    before: u64,
    /// Whether what was being written is there and not complete.
    hit: bool,
    left: Listing,
}

/// Trains until the moment of `aim` and kills the process; `None` where the run came to its end before. `usual` is how long the last write took.
fn train_and_kill(folder: &Path, args: &[String], aim: Aim, usual: &mut Duration) -> Option<Killed> {
    let checkpoints = folder.join("logs/killed/checkpoints");
    let stale = Listing::of(&checkpoints).partial;
    let said = File::create(folder.join(SAID)).expect("room");
    let mut child = command(folder).args(args).stdout(Stdio::null()).stderr(said).spawn().expect("it starts");
    let (mut writes, mut writing): (usize, Option<(String, Instant)>) = (0, None);
    loop {
        if let Some(status) = child.try_wait().expect("it can be asked") {
            assert!(status.success(), "{status}: {}", fs::read_to_string(folder.join(SAID)).expect("it is there"));
            return None;
        }
        let seen = Listing::of(&checkpoints);
        let name = seen.partial.difference(&stale).next();
        // Complete before its moment came: the next one is waited for.
        if let Some((_, begun)) = writing.take_if(|(known, _)| name != Some(&*known)) {
            *usual = begun.elapsed();
        }
        if let Some(name) = name {
            let (_, begun) = writing.get_or_insert_with(|| {
                writes += 1;
                (name.clone(), Instant::now())
            });
            if writes >= aim.write && begun.elapsed() >= usual.mul_f64(aim.part) {
                child.kill().expect("SIGKILL");
                child.wait().expect("it ends");
                let left = Listing::of(&checkpoints);
                assert!(left.partial.is_disjoint(&stale), "{stale:?} was swept before the next write began: {left:?}");
                return Some(Killed { before: seen.newest(), hit: left.partial.contains(name), left });
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Trains to the end.
fn train(folder: &Path, args: &[String]) {
    let ended = ran(command(folder).args(args).output().expect("it starts"));
    assert_eq!(ended.code, 0, "vlhub {}\n{}", args.join(" "), ended.err);
}

/// Every line of `metrics.jsonl`, digit by digit, but for what the clock decides.
fn numbers(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).expect("it is there");
    let timed = |field: &&str| CLOCK.iter().any(|clock| field.contains(clock));
    text.lines().map(|line| line.split(',').filter(|field| !timed(field)).collect::<Vec<_>>().join(",")).collect()
}

/// The last step in `metrics.jsonl`, whose last line a kill may tear.
fn last_logged(run: &Path) -> u64 {
    let text = fs::read_to_string(run.join("metrics.jsonl")).expect("it is there");
    text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["step"].as_u64()).max().unwrap_or(0)
}

#[test]
fn a_chain_of_kills_while_checkpoints_are_written_beside_training_loses_nothing() {
    let kills = std::env::var("VLHUB_KILLS").map_or(8_u64, |text| text.parse().expect("VLHUB_KILLS is a number")).max(1);
    // A process gets one checkpoint further or none, seldom two.
    let steps = 10 + 5 * kills / 2;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    fs::write(path.join("run.toml"), SMALL).expect("room");
    // 90 MiB of weights and moments: what is large enough to be written by a thread of its own.
    let args = |more: &[&str]| -> Vec<String> {
        let (length, keep) = (format!("train.steps={steps}"), format!("train.keep_last={KEEP}"));
        let all = ["train", "run.toml", "backbone.text.width=160", length.as_str(), keep.as_str()];
        all.into_iter().chain(more.iter().copied()).map(str::to_owned).collect()
    };
    let every = format!("train.save_every={EVERY}");
    let chained = |resume: &str| args(&["name=killed", every.as_str(), "--resume", resume]);
    let (straight, run) = (path.join("logs/straight"), path.join("logs/killed"));
    let checkpoints = run.join("checkpoints");

    train(path, &args(&["name=straight", "train.save_every=1000000", "train.async_save=false"]));
    let (expected, expected_hash) = (numbers(&straight), must(path, &["internal-hash", "logs/straight"]));
    assert_eq!(expected.len() as u64, steps);
    let ends_alike = |when: &str| {
        assert_eq!(numbers(&run), expected, "{when}: every step is logged once, with the numbers of the run that nobody killed");
        assert_eq!(must(path, &["internal-hash", "logs/killed"]), expected_hash, "{when}");
    };

    let mut random = 14_u64;
    let mut draw = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as f64 / f64::from(1u32 << 31)
    };
    let mut hashes: BTreeMap<u64, String> = BTreeMap::new();
    let mut usual = Duration::from_millis(200);
    let (mut killed, mut hits, mut ended) = (0, 0, 0);
    while killed < kills {
        let there = Listing::of(&checkpoints);
        let from = there.newest();
        let (part, early) = (draw(), draw() < 0.5);
        // During the second write one checkpoint of this process is complete, and old ones are pruned, which a kill may have prevented before.
        let aim = Aim { write: if early && from > 0 && there.complete.len() <= KEEP { 1 } else { 2 }, part };
        let Some(kill) = train_and_kill(path, &chained(if from > 0 { "latest" } else { "auto" }), aim, &mut usual) else {
            // A machine that is so slow to look that the run came to its end: another one begins.
            ends_alike(&format!("after {killed} kills"));
            fs::remove_dir_all(&run).expect("it is ours");
            ended += 1;
            assert!(ended <= kills, "{ended} runs came to their end, {killed} kills met one");
            continue;
        };
        killed += 1;
        hits += u64::from(kill.hit);
        let said = fs::read_to_string(path.join(SAID)).expect("it is there");
        let told = format!("kill {killed}, {aim:?}, {kill:?}:\n{said}");
        assert!(from == 0 || said.contains(&format!("step-{from:09} at step {from}")), "it went on from step {from}: {told}");
        assert!(!said.contains("passed over"), "{told}");
        // What is called a checkpoint is one: the command reads the newest whose files have the hashes of its manifest.
        let hash = must(path, &["internal-hash", "logs/killed"]);
        let step: u64 = hash.split(' ').next().and_then(|step| step.parse().ok()).expect("a step");
        assert_eq!(step, kill.left.newest(), "{told}");
        assert!(step >= kill.before, "{told}");
        assert_eq!(*hashes.entry(step).or_insert_with(|| hash.clone()), hash, "whoever writes step {step}: {told}");
        // One is written while the steps to the next are taken; then training waits.
        let logged = last_logged(&run);
        assert!(logged <= step + 2 * EVERY, "{logged} steps were taken and {step} are left: {told}");
        assert!(kill.left.folders <= KEEP + 1, "{told}");
    }
    let from = Listing::of(&checkpoints).newest();
    train(path, &chained("latest"));
    ends_alike(&format!("after {kills} kills"));
    let left = Listing::of(&checkpoints);
    // A run that was killed after its last checkpoint has nothing more to write, and so nothing to sweep.
    assert!(from == steps || (left.partial.is_empty() && left.folders == KEEP), "{left:?}");
    let log = fs::read_to_string(run.join("out.log")).expect("it is there");
    assert!(log.contains("training waited"), "checkpoints were written beside training: {log}");
    // Past the harness, which shows nothing of a test that passes.
    writeln!(std::io::stderr(), "{hits} of {kills} kills hit a checkpoint that was being written").ok();
    assert!(2 * hits > kills, "{hits} of {kills}");
}
