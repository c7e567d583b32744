//! An environment in a temporary folder, and packages to put into it.

use objects::id::{IdentityId, ObjectId, StatementId, TreeId};
use objects::release::Sha256;
use objects::spec::PackageSpec;
use objects::time::Timestamp;
use porcelain::env::{
    Binding, Change, Environment, Error, Generation, Installed, LoadOptions, LockedPackage, Lockfile,
    MediaInfo, Writer,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub fn now() -> Timestamp {
    Timestamp::new(1_800_000_000).unwrap()
}

pub fn id(text: &str) -> ObjectId {
    ObjectId::of(text.as_bytes())
}

/// `NAME#[CHANNEL:]VERSION`, as a package that stands by default; its ids follow from the text.
pub fn package(text: &str) -> Installed {
    let (name, edition) = text.split_once('#').unwrap();
    let (channel, version) = edition.split_once(':').unwrap_or(("release", edition));
    Installed {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        channel: channel.parse().unwrap(),
        owner: IdentityId::new(id("owner")),
        entry: StatementId::new(id(&format!("entry of {text}"))),
        signer: IdentityId::new(id("owner")),
        signer_n: 3,
        tree: TreeId::new(id(&format!("tree of {text}"))),
        sha256: Sha256(*id(&format!("archive of {text}")).as_bytes()),
        size: text.len() as u64,
        files: 2,
        media: None,
        requested: true,
        dependencies: Vec::new(),
        beside: false,
    }
}

/// The same, beside the default version.
pub fn beside(text: &str) -> Installed {
    Installed { beside: true, ..package(text) }
}

pub fn packages(texts: &[&str]) -> Vec<Installed> {
    texts.iter().map(|text| package(text)).collect()
}

pub fn lockfile(packages: &[Installed]) -> Lockfile {
    let rows = packages.iter().map(|package| LockedPackage {
        name: package.name.clone(),
        version: package.version.clone(),
        channel: package.channel.clone(),
        owner: package.owner,
        entry: package.entry,
        tree: package.tree,
        signer: package.signer,
        signer_n: package.signer_n,
        grants: Vec::new(),
        beside: package.beside,
    });
    Lockfile::new(Vec::new(), Vec::new(), rows.collect())
}

pub struct World {
    _folder: Option<TempDir>,
    pub env: Environment,
}

impl World {
    pub fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let binding = Binding { source: "https://packages.example".to_owned(), repository: None };
        let env = Environment::init(&folder.path().join("env"), &binding, now()).unwrap();
        World { env, _folder: Some(folder) }
    }

    /// With these packages in it.
    pub fn with(packages: Vec<Installed>) -> World {
        let world = World::new();
        world.become_of(packages).unwrap();
        world
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.env.root().join(below)
    }

    /// Puts every tree in its place and switches to these packages.
    pub fn become_of(&self, packages: Vec<Installed>) -> Result<Generation, Error> {
        let writer = self.env.lock_exclusive()?;
        materialise(&writer, &packages);
        let base = self.env.head()?;
        writer.switch(Change::of_packages(base, packages, "test", now()))
    }

    pub fn try_load(&self, spec: &str) -> Result<MediaInfo, Error> {
        self.env.load(&spec.parse::<PackageSpec>().unwrap(), LoadOptions::default())
    }

    pub fn repair(&self, spec: &str) -> Result<MediaInfo, Error> {
        self.env.load(&spec.parse::<PackageSpec>().unwrap(), LoadOptions { repair_links: true })
    }

    /// What a load yields in a word: the version, `own`, or the error's code.
    pub fn loaded(&self, spec: &str) -> String {
        said(self.try_load(spec))
    }

    /// What stands in `pkgs/`: links with their targets, and what a person put there.
    pub fn links(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        collect(&self.path("pkgs"), "", &mut found);
        found
    }

    /// True if every link in `pkgs/` leads to a tree.
    pub fn all_links_resolve(&self) -> bool {
        self.links().keys().all(|link| self.path("pkgs").join(link).exists())
    }
}

/// Puts trees in their places, each with a file that says what it is.
pub fn materialise(writer: &Writer<'_>, packages: &[Installed]) {
    let absent = packages.iter().filter(|one| !writer.environment().has_tree(&one.name, one.tree).unwrap());
    let staged = absent.map(|installed| {
        let staged = writer.stage().unwrap();
        fs::create_dir_all(staged.path().join("folder")).unwrap();
        fs::write(staged.path().join("content"), content(installed)).unwrap();
        (staged, installed)
    });
    writer.materialise(staged.collect()).unwrap();
}

pub fn content(installed: &Installed) -> String {
    format!("{} {} {}", installed.name, installed.channel, installed.version)
}

pub fn said(loaded: Result<MediaInfo, Error>) -> String {
    match loaded {
        Ok(info) => {
            assert!(info.path.is_absolute() && info.path.exists(), "{info:?}");
            info.version.map_or("own".to_owned(), |version| version.to_string())
        }
        Err(error) => error.code().to_owned(),
    }
}

fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            found.insert(name, target.into_os_string().into_string().unwrap());
        } else if kind.is_dir() {
            collect(&entry.path(), &format!("{name}/"), found);
        } else {
            found.insert(name, String::new());
        }
    }
}
