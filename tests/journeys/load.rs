//! A mixed load: an author who publishes, a user whose environment changes, a keeper who mirrors,
//! collects and writes bundles, all at once and all on one disk.
//!
//! Promises: what a command acknowledged is written down after it ended, before the next begins; an
//! error that nobody caused fails the test. Content and order follow from a seed; what meets what is the
//! machine's affair.

use crate::fixture::{Dice, manifest};
use crate::sandbox::{Guard, Person, Run, World, content, text};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Packages there are.
const PACKAGES: usize = 3;

/// What the program said is done.
#[derive(Clone, Default)]
pub struct Acknowledged {
    /// Package and version of every release.
    releases: Vec<(String, usize)>,
    /// The newest generation of the environment, with what stood in it.
    environment: Option<(u64, BTreeMap<String, String>)>,
    /// The newest index of the mirror.
    mirror: u64,
}

/// One command of somebody.
type Actor<'w> = fn(&Load<'w>, &mut Dice);

/// Three people at work below one folder.
pub struct Load<'w> {
    world: &'w World,
    at: PathBuf,
    ada: Person,
    bob: Person,
    keeper: Person,
    seed: u64,
    round: AtomicUsize,
    version: AtomicUsize,
    done: Mutex<Acknowledged>,
    /// True once errors have a cause outside the program.
    cut: AtomicBool,
    /// One command in so many is killed; none for 0.
    kills: usize,
}

impl<'w> Load<'w> {
    /// Sets the stage below `at`, where a disk may be mounted.
    pub fn begin(world: &'w World, at: &Path, seed: u64, kills: usize) -> Load<'w> {
        println!("mixed load with seed {seed}");
        let person = |name: &str| {
            let home = at.join(name);
            fs::create_dir_all(&home).unwrap();
            world.user_at(text(&home)).at(at)
        };
        let [ada, bob, keeper] = ["ada", "bob", "keeper"].map(person);
        ada.ok(["id", "new", "ada"]);
        ada.ok(["init", "--bare", "repo"]);
        let load = Load {
            world,
            at: at.to_owned(),
            ada,
            bob: bob.at("work"),
            keeper,
            seed,
            round: AtomicUsize::new(0),
            version: AtomicUsize::new(0),
            done: Mutex::default(),
            cut: AtomicBool::new(false),
            kills: 0,
        };
        (0..PACKAGES).for_each(|package| load.publish(package));
        bob.ok(["clone", "repo", "work"]);
        load.keeper.ok(["clone", "--mirror", "repo", "mirror"]);
        Load { kills, ..load }
    }

    /// Lets all three do `commands` each, side by side.
    pub fn carry_on(&self, commands: usize) {
        let round = self.round.fetch_add(1, SeqCst) as u64;
        let dice = |who: u64| Dice(self.seed ^ (round << 8) ^ who);
        std::thread::scope(|scope| {
            let actors: [Actor<'w>; 3] = [Load::author, Load::user, Load::tidy];
            for (who, act) in (1..).zip(actors) {
                scope.spawn(move || {
                    let mut dice = dice(who);
                    for _ in 0..commands {
                        if self.cut.load(SeqCst) {
                            return;
                        }
                        act(self, &mut dice);
                    }
                });
            }
        });
    }

    /// From now on errors have a cause. Gives what was acknowledged before.
    pub fn excuse(&self) -> Acknowledged {
        self.cut.store(true, SeqCst);
        self.acknowledged()
    }

    /// From now on errors have none; what was told meanwhile does not count: a file system that was shut
    /// down may call things synced that it has dropped, where with the power the program would be gone.
    pub fn hold_to(&self, acknowledged: Acknowledged) {
        *self.done.lock().unwrap() = acknowledged;
        self.cut.store(false, SeqCst);
    }

    /// What is acknowledged by now.
    pub fn acknowledged(&self) -> Acknowledged {
        self.done.lock().unwrap().clone()
    }

    fn author(&self, dice: &mut Dice) {
        let package = dice.below(PACKAGES);
        let (n, source) = self.next_source(package);
        let args = ["publish", text(&source), "--to", "repo", "--json"];
        if self.attempt(&self.ada, &args, dice).is_some() {
            self.done.lock().unwrap().releases.push((name(package), n));
        }
    }

    fn publish(&self, package: usize) {
        let (n, source) = self.next_source(package);
        self.ada.ok(["publish", text(&source), "--to", "repo"]);
        self.done.lock().unwrap().releases.push((name(package), n));
    }

    /// The source of the next version, outside the disk.
    fn next_source(&self, package: usize) -> (usize, PathBuf) {
        let n = self.version.fetch_add(1, SeqCst);
        let source = self.world.path(format!("source-{n}"));
        write_source(&source, &name(package), n);
        (n, source)
    }

    fn user(&self, dice: &mut Dice) {
        let package = name(dice.below(PACKAGES));
        let args = match dice.below(4) {
            0 => vec!["remove", &package, "-y", "--json"],
            1 => vec!["update", "-y", "--json"],
            _ => vec!["add", &package, "-y", "--json"],
        };
        let Some(run) = self.attempt(&self.bob, &args, dice) else { return };
        let generation = run.json()["generation"].as_u64();
        let (Some(generation), false) = (generation, self.cut.load(SeqCst)) else { return };
        let listed = self.bob.run(["list", "--json"]);
        if listed.code == Some(0) {
            self.done.lock().unwrap().environment = Some((generation, installed(&listed)));
        }
    }

    fn tidy(&self, dice: &mut Dice) {
        let bundle = self.at.join("all.bundle");
        let store = self.at.join("bob/pkg/store");
        let args: &[&str] = match dice.below(6) {
            0 => &["gc", "--grace", "0s", "--repo", "repo", "--json"],
            1 => &["gc", "--grace", "0s", "--repo", "mirror", "--json"],
            2 => &["gc", "--grace", "0s", "--repo", text(&store), "--json"],
            3 => &["repack", "--full", "--repo", "mirror", "--json"],
            4 => &["bundle", "create", text(&bundle), "--repo", "mirror", "--json"],
            _ => &["fetch", "--repo", "mirror", "--json"],
        };
        let Some(run) = self.attempt(&self.keeper, args, dice) else { return };
        if args[0] == "fetch" {
            self.done.lock().unwrap().mirror = run.json()["index"].as_u64().unwrap();
        }
    }

    /// Runs a command, unless it is killed; gives how it ended if it did what it was asked.
    fn attempt(&self, person: &Person, args: &[&str], dice: &mut Dice) -> Option<Run> {
        if self.kills > 0 && dice.below(self.kills) == 0 {
            let mut command = person.command(args);
            let child = Guard(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
            std::thread::sleep(Duration::from_micros(dice.below(120_000) as u64)); // any moment will do
            drop(child);
            return None;
        }
        let run = person.run(args);
        println!("{} ended with {:?}", args.join(" "), run.code);
        let harmless = matches!((args[0], run.code), ("remove", Some(3)));
        assert!(run.code == Some(0) || harmless || self.cut.load(SeqCst), "seed {}: {run:?}", self.seed);
        (run.code == Some(0)).then_some(run)
    }

    /// Fails unless everything is whole and what was acknowledged is there.
    pub fn check(&self, acknowledged: &Acknowledged, place: &str) {
        let place = format!("{place}, seed {}", self.seed);
        println!("checking {place}");
        for (person, repo) in [(&self.ada, "repo"), (&self.keeper, "mirror"), (&self.bob, "bob/pkg/store")] {
            person.is_whole_after_a_kill(&self.at.join(repo));
        }
        for (package, n) in acknowledged.releases.iter().rev().take(8) {
            let [out, expected] = ["out", "expected"].map(|folder| self.world.path(folder));
            for folder in [&out, &expected] {
                let _ = fs::remove_dir_all(folder);
            }
            let spec = format!("{package}#1.{n}.0");
            let run = self.ada.run(["checkout", &spec, text(&out), "--repo", "repo"]);
            assert_eq!(run.code, Some(0), "{place}: {spec} is lost: {run:?}");
            write_source(&expected, package, *n);
            assert_eq!(content(&out), content(&expected), "{place}: {spec}");
        }
        for (package, n) in &acknowledged.releases {
            let spec = format!("{package}#1.{n}.0");
            let run = self.ada.run(["show", &spec, "--repo", "repo"]);
            assert_eq!(run.code, Some(0), "{place}: {spec} is lost: {run:?}");
        }
        self.check_environment(acknowledged, &place);
        let mirrored = self.keeper.yes(["ls-remote", "mirror"]);
        let index = mirrored["n"].as_u64().unwrap_or_else(|| panic!("{place}: {mirrored}"));
        assert!(index >= acknowledged.mirror, "{place}: the mirror went back to {index}");
    }

    fn check_environment(&self, acknowledged: &Acknowledged, place: &str) {
        let verified = self.bob.run(["verify", "--json"]);
        assert_eq!(verified.code, Some(0), "{place}: {verified:?}");
        let Some((generation, packages)) = &acknowledged.environment else { return };
        let history = self.bob.yes(["history"]);
        let rows = history.as_array().unwrap().iter().map(|row| row["number"].as_u64().unwrap());
        let newest = rows.max().unwrap();
        assert!(newest >= *generation, "{place}: generation {generation} is lost, {newest} is the newest");
        if newest == *generation {
            assert_eq!(&self.bob.installed(), packages, "{place}: generation {generation}");
        }
    }
}

fn name(package: usize) -> String {
    format!("package-{package}")
}

fn installed(run: &Run) -> BTreeMap<String, String> {
    let listed = run.json();
    let word = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(|row| (word(row, "name"), word(row, "version"))).collect()
}

/// Version `n` of a package: much of it as in the version before, some of it new.
fn write_source(folder: &Path, name: &str, n: usize) {
    manifest(folder, name, &format!("1.{n}.0"), "");
    let mut text = Dice(name.len() as u64).prose(60 << 10);
    text.insert_str(n * 700 % 50_000, &format!("what version {n} adds "));
    fs::write(folder.join("words.txt"), text).unwrap();
    fs::write(folder.join("noise.bin"), Dice(n as u64).bytes(20 << 10)).unwrap();
    for file in 0..4 {
        fs::write(folder.join(format!("note-{file}")), format!("{name} {} {file}\n", n / (file + 1)))
            .unwrap();
    }
}
