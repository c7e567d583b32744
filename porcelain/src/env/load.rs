//! Loading: from a spec to content (O3 to O9).
//!
//! ```text
//! name            the link without suffix, else the highest version that has a link
//! name@REQ        the highest of the linked versions that fit
//! name#VERSION    this one, if it has a link; a removed link blocks it, a repair makes it again
//! name#blake3:…   by content id, and sha256:…: link or no link
//! ```
//!
//! Where no channel is named, conditions speak of the environment's own (O7); the link without
//! suffix is whatever was made the default. A folder of a person's own loads under its name. What is
//! not here is looked for in the parent environment.
//!
//! Promises: no network, no index, no lock but for a repair; nothing is verified here, that was done
//! at install (O8). A folder is listed only where no direct look-up answers.

use super::Environment;
use super::error::Error;
use super::facts::{Facts, ReleaseFacts};
use super::generation::Installed;
use super::layout::Cid;
use super::links::{self, LinkName, Standing};
use super::media::MediaInfo;
use objects::disk;
use objects::name::PackageName;
use objects::spec::{PackageSpec, Select};
use objects::version::{Channel, Prereleases, Version};
use std::path::PathBuf;

/// Most environments asked one after the other.
const PARENTS_MAX: usize = 8;

/// How loading goes about what is in disorder.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Makes a removed link again instead of reporting it (O6).
    pub repair_links: bool,
}

/// Something that would do: a tree and one release of it, or what a person put there.
enum Candidate {
    Tree(Box<Facts>, Box<ReleaseFacts>),
    Own(Option<(Channel, Version)>, PathBuf),
}

impl Candidate {
    fn version(&self) -> Option<&Version> {
        match self {
            Candidate::Tree(_, release) => Some(&release.version),
            Candidate::Own(edition, _) => edition.as_ref().map(|(_, version)| version),
        }
    }

    fn channel(&self) -> Option<&Channel> {
        match self {
            Candidate::Tree(_, release) => Some(&release.channel),
            Candidate::Own(edition, _) => edition.as_ref().map(|(channel, _)| channel),
        }
    }
}

/// A spec, and the channel it speaks of.
struct Query<'s> {
    spec: &'s PackageSpec,
    channel: Channel,
}

impl Query<'_> {
    /// True if owner, channel and version are as asked.
    fn fits(&self, candidate: &Candidate) -> bool {
        self.has_owner(candidate)
            && candidate.channel() == Some(&self.channel)
            && candidate.version().is_some_and(|version| self.takes(version))
    }

    fn has_owner(&self, candidate: &Candidate) -> bool {
        match (&self.spec.owner, candidate) {
            (None, _) => true,
            (Some(owner), Candidate::Tree(_, release)) => owner.matches(&release.owner.object()),
            (Some(_), Candidate::Own(..)) => false,
        }
    }

    fn takes(&self, version: &Version) -> bool {
        match &self.spec.select {
            Select::Matching(requirement) => requirement.matches(version, Prereleases::Named),
            Select::Exact(exact) => version == exact,
            Select::Any | Select::Blake3(_) | Select::Sha256(_) => true,
        }
    }

    /// The highest version that fits; where any will do, a pre-release only if there is nothing else.
    fn highest(&self, candidates: Vec<Candidate>) -> Option<Candidate> {
        let rank = |version: &Version| !(matches!(self.spec.select, Select::Any) && version.is_prerelease());
        let fitting = candidates.into_iter().filter(|candidate| self.fits(candidate));
        fitting.max_by_key(|candidate| candidate.version().map(|version| (rank(version), version.clone())))
    }
}

impl Environment {
    /// Finds a package that stands in this environment, or in its parents.
    ///
    /// # Errors
    /// `NotInstalled`; `LinkGone` if the content is there but its link was removed; `ContentGone` if
    /// it is the other way round; `Ambiguous` if a content id's beginning fits several trees;
    /// `Malformed` if a file that has to be read is damaged.
    pub fn load(&self, spec: &PackageSpec, options: LoadOptions) -> Result<MediaInfo, Error> {
        let missing = match self.load_here(spec, options) {
            Err(missing @ Error::NotInstalled { .. }) => missing,
            answer => return answer,
        };
        let mut environment = self.clone();
        for _ in 0..PARENTS_MAX {
            let Some(parent) = environment.wanted()?.environment.parent else { break };
            environment = Environment::open(&environment.root().join(parent))?;
            match environment.load_here(spec, LoadOptions::default()) {
                Err(Error::NotInstalled { .. }) => {}
                answer => return answer,
            }
        }
        Err(missing)
    }

    fn load_here(&self, spec: &PackageSpec, options: LoadOptions) -> Result<MediaInfo, Error> {
        let found = match spec.select {
            Select::Blake3(_) | Select::Sha256(_) => self.by_content(spec)?,
            _ => self.by_link(spec, options)?,
        };
        match found {
            Some(Candidate::Tree(facts, release)) => {
                let folder = self.layout.tree(&facts.name, &Cid::of(facts.tree));
                MediaInfo::of_tree(folder, *facts, *release)
            }
            Some(Candidate::Own(edition, path)) => {
                Ok(MediaInfo::of_own(spec.name.clone(), edition.map(|(_, version)| version), path))
            }
            None => Err(Error::NotInstalled { spec: spec.to_string(), path: self.layout.root.clone() }),
        }
    }

    fn by_link(&self, spec: &PackageSpec, options: LoadOptions) -> Result<Option<Candidate>, Error> {
        let standard = LinkName::of_default(&spec.name);
        if matches!(spec.select, Select::Any) && spec.channel.is_none() {
            let query = Query { spec, channel: Channel::default() };
            let found = self.at_link(&standard)?.filter(|candidate| query.has_owner(candidate));
            if found.is_some() {
                return Ok(found);
            }
        }
        let query = Query { spec, channel: self.channel_of(spec)? };
        if let Select::Exact(version) = &spec.select {
            for link in [LinkName::of_version(&spec.name, &query.channel, version), standard] {
                let found = self.at_link(&link)?.filter(|candidate| query.fits(candidate));
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        match query.highest(self.linked(&spec.name)?) {
            Some(found) => Ok(Some(found)),
            None => self.unlinked(&query, options),
        }
    }

    fn channel_of(&self, spec: &PackageSpec) -> Result<Channel, Error> {
        match &spec.channel {
            Some(channel) => Ok(channel.clone()),
            None => Ok(self.wanted()?.environment.channel),
        }
    }

    /// Everything that stands under a name of the package. A link that leads nowhere is passed over.
    fn linked(&self, name: &PackageName) -> Result<Vec<Candidate>, Error> {
        let mut found = Vec::new();
        for link in links::of_package(&self.layout, name)? {
            match self.at_link(&link) {
                Err(Error::ContentGone { .. }) => {}
                answer => found.extend(answer?),
            }
        }
        Ok(found)
    }

    /// What stands under a link's name.
    fn at_link(&self, link: &LinkName) -> Result<Option<Candidate>, Error> {
        match links::standing(&self.layout, link)? {
            Standing::Absent => Ok(None),
            Standing::Ours(cid) => self.tree_at(link, &cid).map(Some),
            Standing::Folder if self.holds_links(link)? => Ok(None),
            Standing::Folder | Standing::Other => {
                // Of a link that a person made, where it leads; nothing if that is nowhere.
                let path = std::fs::canonicalize(link.path(&self.layout)).ok();
                Ok(path.map(|path| Candidate::Own(link.edition(), path)))
            }
        }
    }

    /// True for a folder in `pkgs/` that is there for the links of packages below its name.
    fn holds_links(&self, link: &LinkName) -> Result<bool, Error> {
        let below = format!("{link}/");
        match self.current() {
            Ok(current) => {
                Ok(current.packages.iter().any(|package| package.name.as_str().starts_with(&below)))
            }
            Err(Error::Malformed { .. } | Error::NoGeneration { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn tree_at(&self, link: &LinkName, cid: &Cid) -> Result<Candidate, Error> {
        let path = self.layout.tree(&link.package, cid);
        let gone = || Error::ContentGone { name: link.package.clone(), path: path.clone() };
        if !path.is_dir() {
            return Err(gone());
        }
        let facts = match self.try_facts(&link.package, cid)? {
            Some(facts) => facts,
            None => self
                .row(&link.package, |row| Cid::of(row.tree) == *cid)
                .as_ref()
                .map(Facts::from)
                .ok_or_else(gone)?,
        };
        let release = self.release_at(link, &facts);
        Ok(Candidate::Tree(Box::new(facts), Box::new(release)))
    }

    /// Which of a tree's releases a link means, where several have the same content.
    fn release_at(&self, link: &LinkName, facts: &Facts) -> ReleaseFacts {
        let last = facts.releases.last().expect("facts are of at least one release").clone();
        if facts.releases.len() == 1 {
            return last;
        }
        let row = self.row(&link.package, |row| row.tree == facts.tree && LinkName::of(row) == *link);
        let named = facts.releases.iter().find(|release| match (&row, link.edition()) {
            (Some(row), _) => row.entry == release.entry,
            (None, Some((channel, version))) => release.channel == channel && release.version == version,
            (None, None) => false,
        });
        named.cloned().unwrap_or(last)
    }

    /// A row of the current generation, if that can be read.
    fn row(&self, name: &PackageName, wanted: impl Fn(&Installed) -> bool) -> Option<Installed> {
        self.current().ok()?.packages.into_iter().find(|row| row.name == *name && wanted(row))
    }

    fn by_content(&self, spec: &PackageSpec) -> Result<Option<Candidate>, Error> {
        let cids = match &spec.select {
            Select::Blake3(prefix) => Cid::from_digits(prefix.digits()).map(|cid| vec![cid]),
            _ => None,
        };
        let cids = cids.map_or_else(|| self.cids(&spec.name), Ok)?;
        let mut found = self.trees(spec, &cids)?;
        found.retain(|(facts, _)| match &spec.select {
            Select::Blake3(prefix) => prefix.matches(&facts.tree.object()),
            Select::Sha256(digest) => facts.sha256.0 == *digest,
            _ => false,
        });
        if found.iter().any(|(facts, _)| facts.tree != found[0].0.tree) {
            let mut trees: Vec<String> = found.iter().map(|(facts, _)| facts.tree.to_string()).collect();
            trees.dedup();
            return Err(Error::Ambiguous { spec: spec.to_string(), found: trees });
        }
        let current =
            |release: &ReleaseFacts| self.row(&spec.name, |row| row.entry == release.entry).is_some();
        if found.len() > 1 {
            found.sort_by_key(|(_, release)| current(release));
        }
        Ok(found.pop().map(|(facts, release)| Candidate::Tree(Box::new(facts), Box::new(release))))
    }

    /// The trees behind content ids, once for each of their releases that is of the owner asked for.
    fn trees(&self, spec: &PackageSpec, cids: &[Cid]) -> Result<Vec<(Facts, ReleaseFacts)>, Error> {
        let mut trees = Vec::new();
        for cid in cids {
            let facts = self.try_facts(&spec.name, cid)?;
            let Some(facts) = facts.filter(|_| self.layout.tree(&spec.name, cid).is_dir()) else { continue };
            for release in &facts.releases {
                if spec.owner.as_ref().is_none_or(|owner| owner.matches(&release.owner.object())) {
                    trees.push((facts.clone(), release.clone()));
                }
            }
        }
        Ok(trees)
    }

    /// What would fit if its link were there: reported, or its link made again (O6). A version named
    /// in full may be any that is still here; otherwise it has to be installed.
    fn unlinked(&self, query: &Query, options: LoadOptions) -> Result<Option<Candidate>, Error> {
        let spec = query.spec;
        let trees = self.trees(spec, &self.cids(&spec.name)?)?;
        let candidates =
            trees.into_iter().map(|(facts, release)| Candidate::Tree(Box::new(facts), Box::new(release)));
        let candidates = match &spec.select {
            Select::Exact(_) => candidates.collect(),
            _ => candidates.filter(|candidate| self.is_current(candidate)).collect(),
        };
        let Some(found) = query.highest(candidates) else { return Ok(None) };
        let Candidate::Tree(facts, release) = &found else { return Ok(None) };
        let link = self.link_to_make(&spec.name, release)?;
        match options.repair_links {
            true => self.repair(&link, facts)?,
            false => {
                let (name, version) = (spec.name.clone(), release.version.clone());
                return Err(Error::LinkGone { name, version, link: link.to_string() });
            }
        }
        Ok(Some(found))
    }

    fn is_current(&self, candidate: &Candidate) -> bool {
        let Candidate::Tree(facts, release) = candidate else { return false };
        self.row(&facts.name, |row| row.tree == facts.tree && row.entry == release.entry).is_some()
    }

    /// The link a release had in the current generation, else the one of its version.
    fn link_to_make(&self, name: &PackageName, release: &ReleaseFacts) -> Result<LinkName, disk::Error> {
        if let Some(row) = self.row(name, |row| row.entry == release.entry) {
            let link = LinkName::of(&row);
            if links::standing(&self.layout, &link)? == Standing::Absent {
                return Ok(link);
            }
        }
        Ok(LinkName::of_version(name, &release.channel, &release.version))
    }

    /// Makes a link again. The lock keeps the tree from being pruned meanwhile.
    fn repair(&self, link: &LinkName, facts: &Facts) -> Result<(), Error> {
        let _lock = self.try_lock_shared()?;
        if let Some(path) = links::blocked_by(&self.layout, link)? {
            return Err(Error::InTheWay { path, package: link.package.clone() });
        }
        Ok(links::place_new(&self.layout, link, &Cid::of(facts.tree))?)
    }
}
