//! What a manifest may hold: bounds, and texts that are safe to show and to use.

use super::error::{Error, Place};
use super::nesting::too_deep;
use super::{Dependency, Manifest};

/// Bytes of the file.
pub(super) const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Levels of tables and lists; honest manifests have three.
const LEVELS_MAX: usize = 64;
/// Bytes of one text. A description is a line or a paragraph; what is longer belongs into a file.
const TEXT_BYTES_MAX: usize = 4096;
/// Authors, categories, tags, variants: what people read and write by hand.
const LIST_MAX: usize = 256;
/// Dependencies and conflicts. All of a release's must find room in a statement of 64 KiB.
const PACKAGES_MAX: usize = 1024;

/// What must hold before the text is given to the reader of TOML.
pub(super) fn check_text(text: &str, origin: &str) -> Result<(), Error> {
    if text.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(Error::TooLong { origin: origin.to_owned() });
    }
    match too_deep(text, LEVELS_MAX) {
        None => Ok(()),
        Some(at) => Err(Error::Syntax {
            place: Place::new(text, at, origin),
            problem: format!("it nests deeper than {LEVELS_MAX} levels"),
            nearest: None,
        }),
    }
}

/// What must hold for the manifest.
pub(super) fn check(manifest: &Manifest, origin: &str) -> Result<(), Error> {
    let origin = || origin.to_owned();
    for (field, length, limit) in lists(manifest) {
        if length > limit {
            return Err(Error::Limit { origin: origin(), field: field.to_owned(), limit, unit: "entries" });
        }
    }
    for (field, text) in texts(manifest) {
        // A key may be the text at fault.
        let field = field.escape_debug().to_string();
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::Limit { origin: origin(), field, limit: TEXT_BYTES_MAX, unit: "bytes" });
        }
        if text.chars().any(char::is_control) {
            return Err(Error::ControlCharacter { origin: origin(), field });
        }
    }
    match paths(manifest).into_iter().find(|(_, path)| !is_inside(path)) {
        Some((field, _)) => Err(Error::Path { origin: origin(), field }),
        None => Ok(()),
    }
}

fn lists(manifest: &Manifest) -> [(&'static str, usize, usize); 6] {
    let Manifest { package, dependencies, conflicts, variants, .. } = manifest;
    [
        ("package.authors", package.authors.len(), LIST_MAX),
        ("package.categories", package.categories.len(), LIST_MAX),
        ("package.tags", package.tags.len(), LIST_MAX),
        ("variants", variants.len(), LIST_MAX),
        ("dependencies", dependencies.len(), PACKAGES_MAX),
        ("conflicts", conflicts.len(), PACKAGES_MAX),
    ]
}

/// Every text, keys among them, and where it stands.
fn texts(manifest: &Manifest) -> Vec<(String, &str)> {
    let mut texts = package_texts(manifest);
    for (name, dependency) in &manifest.dependencies {
        let Dependency { version, owner, channel, optional: _ } = dependency;
        texts.push(("a name in dependencies".to_owned(), name));
        for (key, text) in
            [("version", Some(version)), ("owner", owner.as_ref()), ("channel", channel.as_ref())]
        {
            texts.extend(text.map(|text| (format!("dependencies.{name}.{key}"), text.as_str())));
        }
    }
    for (table, entries) in [("conflicts", &manifest.conflicts), ("variants", &manifest.variants)] {
        for (name, text) in entries {
            texts.push((format!("a name in {table}"), name));
            texts.push((format!("{table}.{name}"), text));
        }
    }
    texts.extend(script_paths(manifest));
    texts
}

fn package_texts(manifest: &Manifest) -> Vec<(String, &str)> {
    let package = &manifest.package;
    let single = [
        ("name", Some(&package.name)),
        ("version", Some(&package.version)),
        ("channel", package.channel.as_ref()),
        ("description", package.description.as_ref()),
        ("license", package.license.as_ref()),
        ("homepage", package.homepage.as_ref()),
        ("repository", package.repository.as_ref()),
        ("media", package.media.as_ref()),
        ("requires-pkg", package.requires_pkg.as_ref()),
    ];
    let mut texts = named("package", single);
    for (n, author) in package.authors.iter().enumerate() {
        let fields =
            [("name", Some(&author.name)), ("email", author.email.as_ref()), ("url", author.url.as_ref())];
        texts.extend(named(&format!("package.authors[{n}]"), fields));
    }
    for (list, items) in [("categories", &package.categories), ("tags", &package.tags)] {
        texts.extend(
            items.iter().enumerate().map(|(n, text)| (format!("package.{list}[{n}]"), text.as_str())),
        );
    }
    texts
}

fn script_paths(manifest: &Manifest) -> Vec<(String, &str)> {
    let scripts = &manifest.scripts;
    named(
        "scripts",
        [
            ("pre-install", scripts.pre_install.as_ref()),
            ("post-install", scripts.post_install.as_ref()),
            ("pre-remove", scripts.pre_remove.as_ref()),
            ("post-remove", scripts.post_remove.as_ref()),
        ],
    )
}

fn named<'a, const N: usize>(table: &str, fields: [(&str, Option<&'a String>); N]) -> Vec<(String, &'a str)> {
    let stated = fields.into_iter().filter_map(|(key, text)| Some((key, text?)));
    stated.map(|(key, text)| (format!("{table}.{key}"), text.as_str())).collect()
}

fn paths(manifest: &Manifest) -> Vec<(String, &str)> {
    let mut paths = script_paths(manifest);
    // A variant may be the package itself.
    let variants = manifest.variants.iter().filter(|(_, path)| *path != ".");
    paths.extend(variants.map(|(name, path)| (format!("variants.{name}"), path.as_str())));
    paths
}

/// Names joined by `/`, none of which leads upwards or nowhere, on any system.
fn is_inside(path: &str) -> bool {
    !path.contains(['\\', ':']) && path.split('/').all(|name| !matches!(name, "" | "." | ".."))
}
