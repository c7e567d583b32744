//! From manifests, archives' own words and flags to what a release says.

use crate::archive;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::publish::Request;
use objects::id::{IdentityId, ObjectId, TreeId};
use objects::ingest::Ingested;
use objects::name::PackageName;
use objects::object::Find;
use objects::release::{About, Conflict, Dependency, Person, Release, Variant};
use objects::tree::Mode;
use objects::version::{Channel, Requirement, Version};
use objects::walk;
use std::collections::BTreeMap;
use std::path::Path;

/// What is known of a package before its content is read.
pub struct Described {
    /// Its name.
    pub name: PackageName,
    /// Its version, with epoch and revision.
    pub version: Version,
    /// Its channel.
    pub channel: Channel,
    manifest: Option<Manifest>,
    about: About,
    dependencies: Vec<Dependency>,
}

/// Puts together what the manifest, the archive and the flags say; flags win, then the manifest.
///
/// # Errors
/// `Usage` if nothing gives a name or version; those of names and versions.
pub fn describe(
    manifest: Option<Manifest>,
    archive: Option<&archive::About>,
    request: &Request,
) -> Result<Described, Error> {
    let stated = manifest.as_ref().map(|manifest| &manifest.package);
    let name = match (&request.name, stated, archive) {
        (Some(name), ..) => name.clone(),
        (None, Some(package), _) => package.name.parse()?,
        (None, None, Some(about)) => archive_name(&about.name)?,
        (None, None, None) => return Err(nameless("name", "--name NAME")),
    };
    let version = match (&request.version, stated, archive) {
        (Some(version), ..) => version.clone(),
        (None, Some(package), _) => manifest_version(package)?,
        (None, None, Some(about)) => {
            about.version.parse().map_err(|error| odd_version(&about.version, error))?
        }
        (None, None, None) => return Err(nameless("version", "--version VERSION")),
    };
    let channel = match (&request.channel, stated.and_then(|package| package.channel.as_ref())) {
        (Some(channel), _) => channel.clone(),
        (None, Some(text)) => text.parse()?,
        (None, None) => Channel::default(),
    };
    let dependencies = manifest.as_ref().map(dependencies).transpose()?.unwrap_or_default();
    let about = match (&manifest, archive) {
        (Some(manifest), _) => about_of(manifest),
        (None, Some(about)) => About {
            description: about.description.clone(),
            license: about.license.clone(),
            homepage: about.homepage.clone(),
            ..About::default()
        },
        (None, None) => About::default(),
    };
    Ok(Described { name, version, channel, manifest, about, dependencies })
}

fn nameless(what: &str, flag: &str) -> Error {
    Error::usage(format!("the package has no {what}"), format!("write a pkg.toml, or give {flag}"))
}

fn odd_version(text: &str, error: objects::version::Error) -> Error {
    Error::usage(format!("the archive's version {text:?} is no semver: {error}"), "give one with --version")
}

/// Other package managers' names in our alphabet: lower case, `@scope/name` as `scope/name`.
fn archive_name(name: &str) -> Result<PackageName, Error> {
    Ok(name.to_lowercase().trim_start_matches('@').parse()?)
}

fn manifest_version(package: &crate::manifest::Package) -> Result<Version, Error> {
    let mut version: Version = package.version.parse()?;
    version.epoch = version.epoch.max(u64::from(package.epoch));
    version.revision = version.revision.max(u64::from(package.revision));
    Ok(version)
}

fn dependencies(manifest: &Manifest) -> Result<Vec<Dependency>, Error> {
    let mut all = Vec::with_capacity(manifest.dependencies.len());
    for (name, stated) in &manifest.dependencies {
        all.push(Dependency {
            name: name.parse()?,
            requirement: stated.version.parse()?,
            owner: stated.owner.as_deref().map(parse_owner).transpose()?,
            channel: stated.channel.as_deref().map(str::parse).transpose()?,
            optional: stated.optional,
        });
    }
    Ok(all)
}

/// `id:` and 64 hexadecimal digits: a dependency's owner is named in full, since it is signed.
fn parse_owner(text: &str) -> Result<IdentityId, Error> {
    let digits = text.strip_prefix("id:").unwrap_or(text);
    digits.parse().map_err(|_| {
        Error::usage(format!("{text:?} is no identity"), "an owner is id: and 64 hexadecimal digits")
    })
}

fn about_of(manifest: &Manifest) -> About {
    let package = &manifest.package;
    let person = |author: &crate::manifest::Author| Person {
        name: author.name.clone(),
        email: author.email.clone(),
        url: author.url.clone(),
    };
    About {
        description: package.description.clone(),
        license: package.license.clone(),
        homepage: package.homepage.clone(),
        repository: package.repository.clone(),
        authors: package.authors.iter().map(person).collect(),
        categories: package.categories.clone(),
        tags: package.tags.clone(),
    }
}

/// The release of a package whose content is `ingested` and can be found in `find`.
///
/// # Errors
/// `NotFound` if the manifest names a variant or script that the package does not hold.
pub fn release(
    find: &dyn Find,
    root: &Path,
    described: &Described,
    ingested: &Ingested,
) -> Result<Release, Error> {
    let mut release = Release {
        version: described.version.clone(),
        channel: described.channel.clone(),
        tree: ingested.tree,
        size: ingested.size,
        files: ingested.files,
        sha256: ingested.sha256,
        archive_size: ingested.archive_size,
        dependencies: described.dependencies.clone(),
        conflicts: Vec::new(),
        variants: BTreeMap::new(),
        scripts: BTreeMap::new(),
        media: None,
        requires_pkg: None,
        unportable: ingested.unportable,
        about: described.about.clone(),
    };
    let Some(manifest) = &described.manifest else { return Ok(release) };
    for (name, requirement) in &manifest.conflicts {
        release.conflicts.push(Conflict { name: name.parse()?, requirement: requirement.parse()? });
    }
    for (key, path) in &manifest.variants {
        release.variants.insert(key.clone(), variant(find, ingested.tree, path)?);
    }
    release.scripts = scripts(root, manifest)?;
    release.media = manifest.package.media.clone();
    release.requires_pkg =
        manifest.package.requires_pkg.as_deref().map(str::parse::<Requirement>).transpose()?;
    Ok(release)
}

fn variant(find: &dyn Find, tree: TreeId, path: &str) -> Result<Variant, Error> {
    let path = path.trim_end_matches('/');
    let entry = walk::entry_at(find, tree, path)?.filter(|entry| entry.mode == Mode::Dir);
    let entry = entry.ok_or_else(|| {
        Error::not_found(format!("the variant's folder {path}"), "correct [variants] in pkg.toml")
    })?;
    let tree = TreeId::new(entry.id);
    let totals = walk::visit::<objects::object::Error>(
        find,
        tree,
        objects::limits::RELEASE_FILES_MAX,
        &mut |_, _| Ok(()),
    )?;
    Ok(Variant { path: path.to_owned(), tree, size: entry.size, files: totals.files })
}

fn scripts(root: &Path, manifest: &Manifest) -> Result<BTreeMap<String, ObjectId>, Error> {
    let stated = [
        ("pre-install", &manifest.scripts.pre_install),
        ("post-install", &manifest.scripts.post_install),
        ("pre-remove", &manifest.scripts.pre_remove),
        ("post-remove", &manifest.scripts.post_remove),
    ];
    let mut scripts = BTreeMap::new();
    for (occasion, path) in stated {
        let Some(path) = path else { continue };
        let bytes = objects::disk::try_read(&root.join(path), objects::limits::OBJECT_BYTES_MAX)?;
        let bytes = bytes
            .ok_or_else(|| Error::not_found(format!("the script {path}"), "correct [scripts] in pkg.toml"))?;
        scripts.insert(occasion.to_owned(), ObjectId::of(&bytes));
    }
    Ok(scripts)
}
