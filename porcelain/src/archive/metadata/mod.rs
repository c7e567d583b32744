//! What a package of another package manager says about itself.
//!
//! Promises: a format is recognised by what the archive holds, and by its name only where that
//! leaves a choice; an archive that bears the name of a format and lacks its metadata is refused,
//! any other is then a plain one. Texts come out on one line, without control characters.
//! Leaves to others: what a foreign name, version or requirement means here.

mod parse;

use std::path::Path;

use super::Format;
use super::error::{At, Fault, Reason};
use super::formats::{Container, TarCompression};
use super::root::Root;

/// As for our own manifest.
pub(super) const METADATA_BYTES_MAX: u64 = 1 << 20;

/// What a package says about itself, in the words of its own format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// As spelled there; npm's may begin with a scope, `@scope/name`.
    pub name: String,
    /// As spelled there: PEP 440 in wheels, semver in crates and npm, `epoch:version-revision` in
    /// debs.
    pub version: String,
    /// One line.
    pub description: Option<String>,
    /// Its name or expression; the text of a license is left out.
    pub license: Option<String>,
    /// An address.
    pub homepage: Option<String>,
    /// Name and requirement of each package it always needs, in the order stated, or by name where
    /// the format has none. What is needed only for an extra, a feature or a build is left out. The
    /// requirement is what stands behind the name: `>=1.21; python_version < "3.14"`, `^1.2`, `>=
    /// 0.120 | other-name`, or nothing.
    pub dependencies: Vec<(String, String)>,
}

/// What an archive turned out to be.
pub(super) struct Known {
    pub(super) format: Format,
    pub(super) about: Option<About>,
    /// The folder around everything, which is to go.
    pub(super) folder: Option<String>,
}

impl Known {
    fn plain(format: Format) -> Self {
        Self { format, about: None, folder: None }
    }
}

/// Whether the archive's name says that it is of a format.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    Made,
    Absent,
}

/// Looks at what was unpacked. `control` is what a deb says beside its data.
pub(super) fn describe(
    container: Container,
    archive: &Path,
    root: &Root,
    control: Option<&str>,
) -> Result<Known, Fault> {
    let extension = archive.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let claim = |wanted: &str| {
        if extension.eq_ignore_ascii_case(wanted) { Claim::Made } else { Claim::Absent }
    };
    match container {
        Container::Deb => {
            let about = parse::deb(control.unwrap_or_default()).at("control")?;
            Ok(Known { format: Format::Deb, about: Some(about), folder: None })
        }
        Container::Zip => Ok(wheel(root, claim("whl"))?.unwrap_or(Known::plain(Format::Zip))),
        Container::Tar(TarCompression::Gzip) => match crate_of_cargo(root, claim("crate"))? {
            Some(known) => Ok(known),
            None => Ok(npm(root, claim("tgz"))?.unwrap_or(Known::plain(Format::TarGz))),
        },
        Container::Tar(TarCompression::None) => Ok(Known::plain(Format::Tar)),
        Container::Tar(TarCompression::Xz) => Ok(Known::plain(Format::TarXz)),
        Container::Tar(TarCompression::Zstd) => Ok(Known::plain(Format::TarZst)),
    }
}

fn wheel(root: &Root, claim: Claim) -> Result<Option<Known>, Fault> {
    let mut infos: Vec<String> = root.tops()?;
    infos.retain(|name| name.ends_with(".dist-info"));
    let about = match infos.as_slice() {
        [info]
            if root.text(&format!("{info}/WHEEL"), METADATA_BYTES_MAX).is_ok_and(|text| text.is_some()) =>
        {
            read(root, &format!("{info}/METADATA"), parse::python, claim)?
        }
        _ => None,
    };
    match (about, claim) {
        (None, Claim::Made) => Err(Reason::format("it is named a wheel, but holds no *.dist-info").into()),
        (about, _) => {
            Ok(about.map(|about| Known { format: Format::Wheel, about: Some(about), folder: None }))
        }
    }
}

fn crate_of_cargo(root: &Root, claim: Claim) -> Result<Option<Known>, Fault> {
    let about = match root.only_folder() {
        Some(folder) => {
            read(root, &format!("{folder}/Cargo.toml"), parse::cargo, claim)?.map(|about| (folder, about))
        }
        None => None,
    };
    match (about, claim) {
        (None, Claim::Made) => {
            Err(Reason::format("it is named a crate, but holds no folder with a Cargo.toml").into())
        }
        // Sources with a Cargo.toml come in many archives; what `cargo package` made has its
        // folder's name.
        (Some((folder, about)), _)
            if claim == Claim::Made || folder == format!("{}-{}", about.name, about.version) =>
        {
            let folder = Some(folder.to_owned());
            Ok(Some(Known { format: Format::Crate, about: Some(about), folder }))
        }
        _ => Ok(None),
    }
}

/// The folder is named `package` by npm itself, and anything by other tools that publish there.
fn npm(root: &Root, claim: Claim) -> Result<Option<Known>, Fault> {
    let (folder, claim) = match root.only_folder() {
        Some(folder @ "package") => (folder, claim),
        Some(folder) if claim == Claim::Made => (folder, Claim::Absent),
        _ => return Ok(None),
    };
    let about = read(root, &format!("{folder}/package.json"), parse::package_json, claim)?;
    let folder = Some(folder.to_owned());
    Ok(about.map(|about| Known { format: Format::Npm, about: Some(about), folder }))
}

/// Reads one file of metadata. Where the name of the archive makes no claim, what cannot be
/// understood is a file like any other.
fn read(
    root: &Root,
    path: &str,
    parse: fn(&str) -> Result<About, Reason>,
    claim: Claim,
) -> Result<Option<About>, Fault> {
    match root.text(path, METADATA_BYTES_MAX).and_then(|text| text.as_deref().map(parse).transpose()) {
        Err(reason) if claim == Claim::Absent && matches!(reason.code(), "E-FORMAT" | "E-LIMIT") => Ok(None),
        about => about.at(path),
    }
}
