//! Texts that people write: the manifest, settings, identities, where a mirror came from.

use crate::config::{Config, parse_duration};
use crate::manifest::Manifest;
use crate::session::{Options, Session};
use crate::{identity, mirror};
use objects::testing::folder_in_memory;
use std::fs;

/// A manifest: what is written reads as the same.
pub fn manifest(data: &[u8]) -> bool {
    let parsed = std::str::from_utf8(data).ok().and_then(|text| Manifest::parse(text, "pkg.toml").ok());
    let Some(manifest) = parsed else { return false };
    let again = Manifest::parse(&manifest.to_toml(), "pkg.toml");
    assert!(again.is_ok_and(|again| again == manifest), "a manifest is written as another one");
    true
}

/// The user's settings, and what of them is a policy.
pub fn user_settings(data: &[u8]) -> bool {
    let folder = folder_in_memory();
    let path = folder.path().join("config.toml");
    fs::write(&path, data).expect("the folder is ours");
    Config::read(&path).is_ok_and(|config| config.policy().is_ok())
}

/// The list of the user's identities.
pub fn identities(data: &[u8]) -> bool {
    let folder = folder_in_memory();
    fs::write(folder.path().join("identities.toml"), data).expect("the folder is ours");
    let options = Options { home: Some(folder.path().to_owned()), jobs: Some(1), ..Options::default() };
    let session = Session::open(options).expect("there are no settings");
    identity::list(&session).is_ok_and(|own| !own.is_empty())
}

/// An identity in one file, as it is carried to a machine without network.
pub fn carried(data: &[u8]) -> bool {
    let folder = folder_in_memory();
    let path = folder.path().join("documents");
    fs::write(&path, data).expect("the folder is ours");
    identity::check_file(&path).is_ok_and(|checked| checked.documents > 0)
}

/// Where a mirror was cloned from.
pub fn mirror_origin(data: &[u8]) -> bool {
    let folder = folder_in_memory();
    fs::write(folder.path().join("remotes.toml"), data).expect("the folder is ours");
    mirror::origin(folder.path()).is_ok()
}

/// A duration.
pub fn duration(data: &[u8]) -> bool {
    let text = std::str::from_utf8(data).ok();
    text.is_some_and(|text| parse_duration(text).is_ok())
}
