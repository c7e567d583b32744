//! Resolving: the scenarios of `fixtures/resolve`, an oracle, and hard inputs.
//!
//! A scenario is a TOML file: `packages` by name and version, what is wanted, and what comes of it:
//! the choice in install order, or the error with its hints, word for word.

mod hard;
mod oracle;

use objects::claim::Mark;
use objects::id::{IdentityId, ObjectId, Prefix};
use objects::name::PackageName;
use objects::release::{Conflict, Dependency};
use objects::spec::PackageSpec;
use objects::version::{Channel, Prereleases, Version};
use plumbing::resolve::{
    Candidate, Candidates, Error, IndexError, Prefer, Request, Resolution, Wanted, resolve,
};
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

/// An index in memory; its candidates come as they were put in.
#[derive(Debug, Clone, Default)]
struct Shelves(BTreeMap<PackageName, Vec<Candidate>>);

impl Candidates for Shelves {
    fn candidates(&self, package: &PackageName) -> Result<Option<Vec<Candidate>>, IndexError> {
        Ok(self.0.get(package).cloned())
    }
}

impl Shelves {
    fn put(&mut self, name: &str, candidate: Candidate) {
        self.0.entry(name.parse().unwrap()).or_default().push(candidate);
    }
}

fn candidate(version: &str, needs: &[&str]) -> Candidate {
    Candidate {
        version: version.parse().unwrap(),
        channel: Channel::default(),
        owner: owner("aa"),
        dependencies: needs.iter().map(|text| dependency(text)).collect(),
        conflicts: Vec::new(),
        mark: None,
        young: false,
    }
}

/// The identity whose digits repeat `pair`.
fn owner(pair: &str) -> IdentityId {
    pair.repeat(32).parse::<ObjectId>().map(IdentityId::new).unwrap()
}

fn owner_of(spec: &PackageSpec) -> Option<IdentityId> {
    spec.owner.as_ref().map(|prefix: &Prefix| owner(&prefix.digits()[..2]))
}

fn dependency(text: &str) -> Dependency {
    let spec: PackageSpec = text.parse().unwrap();
    let (requirement, owner) = (spec.requirement(), owner_of(&spec));
    Dependency { name: spec.name, requirement, owner, channel: spec.channel, optional: false }
}

fn conflict(text: &str) -> Conflict {
    let spec: PackageSpec = text.parse().unwrap();
    Conflict { requirement: spec.requirement(), name: spec.name }
}

fn wanted(text: &str) -> Wanted {
    let spec: PackageSpec = text.parse().unwrap();
    let (requirement, owner) = (spec.requirement(), owner_of(&spec));
    Wanted { owner, channel: spec.channel, ..Wanted::new(spec.name, requirement) }
}

fn request(roots: &[&str]) -> Request<'static> {
    Request::new(roots.iter().map(|text| wanted(text)).collect())
}

/// What was chosen, in install order.
fn shown(resolution: &Resolution) -> Vec<String> {
    resolution.packages.iter().map(|one| format!("{} {}", one.name, one.version)).collect()
}

/// An error as a user meets it.
fn told(error: &Error) -> String {
    let hints = error.hints().into_iter().map(|hint| format!("try: {hint}\n"));
    format!("{}: {error}\n{}", error.code(), hints.collect::<String>())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Scenario {
    /// What must hold, for the reader.
    #[serde(rename = "about")]
    _about: String,
    packages: BTreeMap<String, Package>,
    want: Vec<String>,
    /// Wanted packages whose optional dependencies are wanted too.
    #[serde(default)]
    optional: Vec<PackageName>,
    #[serde(default)]
    locked: BTreeMap<PackageName, Version>,
    #[serde(default)]
    channel: Channel,
    #[serde(default)]
    oldest: bool,
    #[serde(default)]
    prereleases: bool,
    choice: Option<Vec<String>>,
    explanation: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    optional: Vec<String>,
    #[serde(default)]
    conflicts: Vec<String>,
    #[serde(default)]
    channel: Channel,
    #[serde(default = "usual_owner")]
    owner: String,
    mark: Option<Mark>,
    #[serde(default)]
    young: bool,
}

fn usual_owner() -> String {
    "aa".to_owned()
}

impl Scenario {
    fn index(&self) -> Shelves {
        let mut shelves = Shelves::default();
        for (title, package) in &self.packages {
            let (name, version) = title.split_once(' ').unwrap();
            shelves.put(name, package.candidate(version));
        }
        shelves
    }

    fn request(&self) -> Request<'static> {
        let mut request = Request::new(self.want.iter().map(|text| wanted(text)).collect());
        for root in &mut request.roots {
            root.optional = self.optional.contains(&root.name);
        }
        request.locked = self.locked.clone();
        request.default_channel = self.channel.clone();
        request.prefer = if self.oldest { Prefer::Oldest } else { Prefer::Newest };
        request.prereleases = if self.prereleases { Prereleases::Allowed } else { Prereleases::Named };
        request
    }
}

impl Package {
    fn candidate(&self, version: &str) -> Candidate {
        let optional = self.optional.iter().map(|text| Dependency { optional: true, ..dependency(text) });
        Candidate {
            version: version.parse().unwrap(),
            channel: self.channel.clone(),
            owner: owner(&self.owner),
            dependencies: self.needs.iter().map(|text| dependency(text)).chain(optional).collect(),
            conflicts: self.conflicts.iter().map(|text| conflict(text)).collect(),
            mark: self.mark.clone(),
            young: self.young,
        }
    }
}

/// O5, O7, G-11 to G-13, G-16, G-18, G-19, SEC-070, SEC-074, SEC-079 and the traps every resolver knows.
#[test]
fn every_scenario_comes_out_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/resolve");
    let mut paths: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let failures: Vec<String> = paths.iter().filter_map(|path| run_scenario(path).err()).collect();
    assert!(paths.len() >= 20 && failures.is_empty(), "{}", failures.join("\n"));
}

fn run_scenario(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).unwrap();
    let scenario: Scenario = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let (choice, explanation) = match resolve(&scenario.request(), &scenario.index()) {
        Ok(resolution) => (Some(shown(&resolution)), None),
        Err(error) => (None, Some(told(&error))),
    };
    if (&choice, &explanation) == (&scenario.choice, &scenario.explanation) {
        return Ok(());
    }
    Err(format!(
        "== {}\nchoice = {choice:?}\nexplanation:\n{}",
        path.display(),
        explanation.unwrap_or_default()
    ))
}

/// G-13: who asked, who was wanted, and what order.
#[test]
fn a_resolution_tells_who_asked_for_what() {
    let mut index = Shelves::default();
    index.put("app", candidate("1.0.0", &["left", "right"]));
    index.put("left", candidate("1.0.0", &["base"]));
    index.put("right", candidate("1.0.0", &["base", "left"]));
    index.put("base", candidate("1.0.0", &[]));
    index.put("idle", candidate("1.0.0", &[]));

    let resolution = resolve(&request(&["app", "left"]), &index).unwrap();

    assert_eq!(shown(&resolution), ["base 1.0.0", "left 1.0.0", "right 1.0.0", "app 1.0.0"]);
    let of = |name: &str| resolution.packages.iter().find(|one| one.name.as_str() == name).unwrap();
    let asked = |name: &str| of(name).asked_by.iter().map(|one| one.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(asked("base"), ["left", "right"]);
    assert_eq!(asked("left"), ["app", "right"]);
    assert!(asked("app").is_empty());
    let requested: Vec<bool> = resolution.packages.iter().map(|one| one.requested).collect();
    assert_eq!(requested, [false, true, false, true]);
}

/// SEC-074: what the lock made us overlook is told, so that a warning can be given.
#[test]
fn a_locked_yanked_version_carries_its_mark() {
    let mark = Mark::Yanked { reason: "broken".to_owned() };
    let mut index = Shelves::default();
    index.put("dict", Candidate { mark: Some(mark.clone()), ..candidate("1.1.0", &[]) });
    index.put("dict", candidate("1.0.0", &[]));
    let mut request = request(&["dict"]);
    assert_eq!(shown(&resolve(&request, &index).unwrap()), ["dict 1.0.0"]);

    request.locked.insert("dict".parse().unwrap(), Version::new(1, 1, 0));

    let resolution = resolve(&request, &index).unwrap();
    assert_eq!(shown(&resolution), ["dict 1.1.0"]);
    assert_eq!(resolution.packages[0].mark, Some(mark));
}

/// Nothing that a stranger wrote reaches a terminal as it is (SEC-018, SEC-090).
#[test]
fn reasons_of_strangers_are_made_printable() {
    let mark = Mark::Forbidden { reason: "\u{1b}[2J\nfine\u{202e}".to_owned() };
    let mut index = Shelves::default();
    index.put("dict", Candidate { mark: Some(mark), ..candidate("1.0.0", &[]) });
    let error = resolve(&request(&["dict"]), &index).unwrap_err().to_string();
    assert!(error.contains("forbidden: \\u{1b}[2J\\u{a}fine\\u{202e}"), "{error}");
}

/// An index that cannot be read ends the search, and its error is kept as the source.
#[test]
fn errors_of_the_index_are_passed_on() {
    struct Broken;
    impl Candidates for Broken {
        fn candidates(&self, package: &PackageName) -> Result<Option<Vec<Candidate>>, IndexError> {
            match package.as_str() {
                "app" => Ok(Some(vec![candidate("1.0.0", &["lib"])])),
                _ => Err("the disk is gone".into()),
            }
        }
    }
    for root in ["app", "other"] {
        let error = resolve(&request(&[root]), &Broken).unwrap_err();
        assert_eq!(error.code(), "E-IO");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "the disk is gone");
    }
}

/// L-P2: an index is asked for what the search touches, and once.
#[test]
fn no_package_is_asked_for_twice() {
    struct Counting(Shelves, RefCell<BTreeMap<String, u32>>);
    impl Candidates for Counting {
        fn candidates(&self, package: &PackageName) -> Result<Option<Vec<Candidate>>, IndexError> {
            *self.1.borrow_mut().entry(package.to_string()).or_default() += 1;
            self.0.candidates(package)
        }
    }
    let mut index = Shelves::default();
    index.put("app", Candidate { conflicts: vec![conflict("base@<2")], ..candidate("1.0.0", &["side"]) });
    index.put("side", candidate("1.0.0", &["base"]));
    for version in ["1.0.0", "2.0.0"] {
        index.put("base", candidate(version, &[]));
        index.put("idle", candidate(version, &["never"]));
    }
    let index = Counting(index, RefCell::default());

    resolve(&request(&["app", "base"]), &index).unwrap();

    let asked: Vec<(String, u32)> = index.1.into_inner().into_iter().collect();
    assert_eq!(asked, [("app".to_owned(), 1), ("base".to_owned(), 1), ("side".to_owned(), 1)]);
}
