//! Large things in little memory (REL-019, REL-038): the kernel holds the program to a bound, and ends it
//! if it asks for more.
//!
//! The short form has 64 MiB and 20,000 files in 96 MiB; the long form 4 GiB and 1,000,000 files in 256.

use crate::disk::left_out;
use crate::fixture::{Dice, manifest};
use crate::sandbox::{PKG, Person, Run, World, long, received, text, wait_for};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A control group that bounds memory, removed when dropped.
struct Bound(PathBuf);

impl Bound {
    fn new(bytes: u64) -> Option<Bound> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("pkg-journey-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        for (root, limit) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
            ("/sys/fs/cgroup/unified", "memory.max"),
        ] {
            let bound = Bound(Path::new(root).join(&name));
            if Path::new(root).join("cgroup.procs").exists() && fs::create_dir(&bound.0).is_ok() {
                let limit = bound.0.join(limit);
                if limit.exists() && fs::write(&limit, bytes.to_string()).is_ok() {
                    return Some(bound);
                }
            }
        }
        left_out("large things in little memory", "no memory can be bounded here: it takes root and cgroups");
        None
    }

    /// Runs the program within the bound.
    fn ok(&self, person: &Person, args: &[&str]) -> serde_json::Value {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"", text(&self.0), PKG, "--json"]);
        person.dress(command.args(args));
        let run = Run::of(command);
        assert_eq!(run.code, Some(0), "{run:?}");
        run.json()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.0.exists() && !std::thread::panicking() {
            wait_for("the control group to be empty", || fs::remove_dir(&self.0).is_ok());
        } else {
            let _ = fs::remove_dir(&self.0);
        }
    }
}

/// What a bound is good for: so many bytes, files, and bytes of one file.
fn sizes() -> (u64, usize, u64) {
    if long() { (256 << 20, 1_000_000, 4 << 30) } else { (96 << 20, 20_000, 64 << 20) }
}

/// Publishes a folder, fetches and installs it, verifies it: all of it within the bound.
fn travels(bound: &Bound, world: &World, name: &str) {
    let ada = world.author("ada");
    let repo = ada.repo();
    bound.ok(&ada, &["publish", name, "--to", text(&repo)]);
    let bob = world.user("bob").clone_of(text(&repo), "work");
    bound.ok(&bob, &["add", name, "-y"]);
    bound.ok(&bob, &["verify"]);
    bound.ok(&ada, &["fsck", "--data", "--repo", text(&repo)]);
    bound.ok(&ada, &["gc", "--grace", "0s", "--repo", text(&repo)]);
    bound.ok(&ada, &["clone", "--mirror", text(&repo), "mirror"]);
    bound.ok(&ada, &["bundle", "create", "all.bundle", "--repo", "mirror"]);
}

/// REL-019: one file, many times the bound or nearly as large.
#[test]
fn a_large_file_takes_little_memory() {
    let (memory, _, bytes) = sizes();
    let Some(bound) = Bound::new(memory) else { return };
    let world = World::new();
    manifest(&world.path("whale"), "whale", "1.0.0", "");
    let mut dice = Dice(19);
    let mut file = BufWriter::new(File::create(world.path("whale/data")).unwrap());
    let mut block = vec![0; 1 << 20];
    for n in 0..bytes >> 20 {
        if n % 4 != 3 {
            block.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&dice.roll().to_le_bytes()));
        } else {
            block.fill(0); // as disk images have it
        }
        file.write_all(&block).unwrap();
    }
    file.into_inner().unwrap();
    travels(&bound, &world, "whale");
}

/// REL-019, REL-038: so many files.
#[test]
fn many_files_take_little_memory() {
    let (memory, files, _) = sizes();
    let Some(bound) = Bound::new(memory) else { return };
    let world = World::new();
    manifest(&world.path("shoal"), "shoal", "1.0.0", "");
    for n in 0..files {
        let folder = world.path(format!("shoal/{:04}", n / 200));
        if n % 200 == 0 {
            fs::create_dir(&folder).unwrap();
        }
        fs::write(folder.join(n.to_string()), format!("fish {n}\n")).unwrap();
    }
    travels(&bound, &world, "shoal");
}

/// REL-038: what a release costs does not grow with the releases before it, in bytes stored and bytes
/// fetched; nor does memory.
#[test]
fn the_hundredth_release_costs_what_the_tenth_did() {
    let Some(bound) = Bound::new(sizes().0) else { return };
    let world = World::new();
    let ada = world.author("ada");
    let publish = |n: usize| {
        manifest(&world.path("series"), "series", &format!("1.{n}.0"), "");
        fs::write(world.path("series/data"), Dice(n as u64).prose(2_000)).unwrap();
        let outcome = bound.ok(&ada, &["publish", "series", "--to", "ada.repo"]);
        outcome["stored_bytes"].as_u64().unwrap()
    };
    let count = if long() { 5_000 } else { 100 };
    let costs: Vec<u64> = (0..count).map(publish).collect();
    let [early, late] = [&costs[5..15], &costs[count - 10..]].map(|part| part.iter().sum::<u64>());
    // The record of a package lists its versions, so its bytes grow; content and index do not.
    assert!(late < early * 8, "ten releases cost {early} bytes first, {late} bytes last");
    let bob = world.user("bob").clone_of("ada.repo", "work");
    let added = bound.ok(&bob, &["add", "series", "-y"]);
    let all: u64 = costs.iter().sum();
    assert!(received(&added) < all / 2, "{} of {all} bytes were fetched for one release", received(&added));
    bound.ok(&ada, &["gc", "--grace", "0s", "--repo", "ada.repo"]);
    bound.ok(&ada, &["fsck", "--data", "--repo", "ada.repo"]);
}
