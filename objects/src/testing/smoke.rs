//! A short run of fuzz targets on a stable compiler: every kept input, and seeded changes of them.
//!
//! ```text
//! <crate>/fuzz/Cargo.toml             a workspace of its own, for cargo-fuzz
//! <crate>/fuzz/fuzz_targets/NAME.rs   calls the target's function
//! <crate>/fuzz/corpus/NAME/*          good examples, and whatever broke the target once
//! ```
//!
//! Promises: an input that fails is written into the temporary folder and named, with the seed.
//! Leaves to others: the targets and their laws ([`super::fuzz`] and its like in the crates above);
//! finding new paths, which a coverage-guided run does with the same functions.

use super::Random;
use super::memory::peak_of;
use super::mutation::mutated;
use crate::id::ObjectId;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A decoder under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of its file in `fuzz_targets` and of its folder in `corpus`.
    pub name: &'static str,
    /// Decodes, checks what has to hold, and tells whether the bytes were taken for what they claim.
    pub run: fn(&[u8]) -> bool,
}

/// Most bytes that decoding one input may hold at once.
pub const PEAK_BYTES_MAX: usize = 64 << 20;
/// The stack of a run: half of what a thread has, so that what recurses too deep is found.
const STACK_BYTES: usize = 1 << 20;

/// Runs `targets` over the corpora below `folder` (a crate's `fuzz`), each with `tries` changed inputs.
///
/// # Panics
/// If a target panics, or holds more than [`PEAK_BYTES_MAX`] bytes; if a target takes none of its
/// kept inputs, so that its laws would be tested on nothing.
pub fn run(folder: &Path, targets: &[Target], tries: u64) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                        in_its_own_thread(folder, target, tries);
                    }
                })
            })
            .collect();
        let failed = workers.into_iter().filter_map(|worker| worker.join().err()).next();
        if let Some(cause) = failed {
            std::panic::resume_unwind(cause);
        }
    });
}

/// A stack that overflows ends the process; all that is told then is the thread's name.
fn in_its_own_thread(folder: &Path, target: &Target, tries: u64) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(format!("fuzz {}", target.name));
        let running = thread.stack_size(STACK_BYTES).spawn_scoped(scope, || run_one(folder, target, tries));
        if let Err(cause) = running.expect("a thread can be started").join() {
            std::panic::resume_unwind(cause);
        }
    });
}

fn run_one(folder: &Path, target: &Target, tries: u64) {
    let kept = kept(&folder.join("corpus").join(target.name));
    let taken =
        kept.iter().filter(|(path, input)| attempt(target, input, &path.display().to_string())).count();
    assert!(taken > 0, "target {} takes none of its {} kept inputs", target.name, kept.len());
    let inputs: Vec<Vec<u8>> = kept.into_iter().map(|(_, input)| input).collect();
    for seed in 0..tries {
        let input = mutated(&mut Random::new(seed), &inputs);
        attempt(target, &input, &format!("seed {seed}"));
    }
}

/// Runs one input; if it fails, it is kept where the message says.
fn attempt(target: &Target, input: &[u8], origin: &str) -> bool {
    let (outcome, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(|| (target.run)(input))));
    let why = match outcome {
        Ok(taken) if peak <= PEAK_BYTES_MAX => return taken,
        Ok(_) => format!("holds {peak} bytes at once"),
        Err(_) => "panics".to_owned(),
    };
    let name = format!("pkg-fuzz-{}-{}", target.name, ObjectId::of(input).short(16));
    let path = std::env::temp_dir().join(name);
    fs::write(&path, input).expect("the temporary folder can be written to");
    panic!(
        "target {} {why} on {origin} ({} bytes); the input is {}: keep it in corpus/{}",
        target.name,
        input.len(),
        path.display(),
        target.name
    );
}

/// The kept inputs of one target, by their names.
fn kept(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("it is a file"))).collect()
}

/// Checks that `targets` and the files below `folder` (a crate's `fuzz`) name the same: a file in
/// `fuzz_targets` that calls the function, a `[[bin]]`, a corpus.
///
/// # Panics
/// If one has a target that another lacks.
pub fn check_layout(folder: &Path, targets: &[Target]) {
    let names: BTreeSet<String> = targets.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names.len(), targets.len(), "a target stands in the table twice");
    let listed = |below: &str, ending: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(folder.join(below)).expect("the folder is there");
        let names = entries.map(|entry| entry.expect("it can be read").file_name().into_string());
        let names = names.map(|name| name.expect("names are UTF-8"));
        names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
    };
    assert_eq!(listed("fuzz_targets", ".rs"), names, "fuzz_targets and the table differ");
    assert_eq!(listed("corpus", ""), names, "corpus and the table differ");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("the manifest is there");
    let bins = manifest.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let bins: BTreeSet<String> = bins.skip(1).map(str::to_owned).collect();
    assert_eq!(bins, names, "the manifest and the table differ");
    for name in names {
        let text = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).expect("it was listed");
        assert!(text.contains(&format!("::{name}(data)")), "fuzz_targets/{name}.rs runs something else");
    }
}
