//! What is read from text: names, versions, ids, keys. Each shows itself as it is read.

use crate::id::{ObjectId, Prefix};
use crate::key::PublicKey;
use crate::name::{self, EntryName, PackageName};
use crate::refs::RefName;
use crate::spec::PackageSpec;
use crate::version::{Channel, Prereleases, Requirement, Version};
use std::fmt::Display;
use std::str::FromStr;

/// Reads text as a `T`, which has to read back from how it shows itself.
fn read<T: FromStr + Display + PartialEq>(data: &[u8]) -> Option<T> {
    let parsed: T = std::str::from_utf8(data).ok()?.parse().ok()?;
    let shown = parsed.to_string();
    let again = shown.parse::<T>().ok();
    assert!(again.is_some_and(|again| again == parsed), "{shown:?} does not read back");
    Some(parsed)
}

/// The name of an entry: can neither climb nor stand for a control folder.
pub fn entry_name(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let shown = name::printable(text);
    assert!(!shown.chars().any(char::is_control), "control characters are shown");
    let Ok(entry) = EntryName::new(text) else { return false };
    assert!(!text.contains('/') && text != ".." && text != "." && !text.is_empty());
    assert!(!matches!(text.to_lowercase().as_str(), ".git" | ".pkgs"));
    let _ = (name::unportable(&entry), name::case_folded(&entry));
    true
}

/// A package's name: also as one path component.
pub fn package_name(data: &[u8]) -> bool {
    let Some(name) = read::<PackageName>(data) else { return false };
    let component = name.to_component();
    assert_eq!(PackageName::from_component(&component).ok(), Some(name));
    assert!(EntryName::new(component).is_ok());
    true
}

/// A version: equal to what it shows, met by the requirement of exactly it.
pub fn version(data: &[u8]) -> bool {
    let Some(version) = read::<Version>(data) else { return false };
    let exactly = Requirement::exactly(&version);
    assert!(exactly.matches(&version, Prereleases::Named), "{version} does not meet {exactly}");
    true
}

/// A requirement: shows the words it was written in, and can be asked about any version.
pub fn requirement(data: &[u8]) -> bool {
    let Some(requirement) = read::<Requirement>(data) else { return false };
    assert!(requirement.as_str().as_bytes() == data);
    for version in ["0.0.0", "1.2.3-rc.1", "2!1.0.0~3", "18446744073709551615.0.0"] {
        let version: Version = version.parse().expect("it is a version");
        for prereleases in [Prereleases::Named, Prereleases::Allowed] {
            let met = requirement.matches(&version, prereleases);
            assert!(!met || !version.is_prerelease() || requirement.opens(version.triple(), prereleases));
        }
    }
    true
}

/// A channel.
pub fn channel(data: &[u8]) -> bool {
    read::<Channel>(data).is_some()
}

/// A package spec.
pub fn spec(data: &[u8]) -> bool {
    let Some(spec) = read::<PackageSpec>(data) else { return false };
    let _ = spec.requirement();
    true
}

/// An id, whole or its beginning.
pub fn id(data: &[u8]) -> bool {
    let (whole, prefix) = (read::<ObjectId>(data), read::<Prefix>(data));
    if let (Some(id), Some(prefix)) = (whole, &prefix) {
        assert!(prefix.matches(&id));
    }
    whole.is_some() || prefix.is_some()
}

/// A public key, as text and as bytes.
pub fn key(data: &[u8]) -> bool {
    let binary = <[u8; 32]>::try_from(data).ok().and_then(|bytes| PublicKey::from_bytes(bytes).ok());
    assert!(binary.is_none_or(|key| key.as_bytes() == data && !key.verifies(b"nothing", &[0; 64])));
    binary.is_some() || read::<PublicKey>(data).is_some()
}

/// The name of a ref: stays below `refs/`.
pub fn ref_name(data: &[u8]) -> bool {
    let Some(name) = read::<RefName>(data) else { return false };
    assert!(name.as_str().starts_with("refs/"));
    assert!(name.as_str().split('/').all(|part| !part.is_empty() && !part.starts_with('.')));
    true
}
