//! The metadata of each format, from text.
//!
//! Promises: texts come out on one line and without control characters; a package without name and
//! version is refused; nesting and length are bounded by the readers of JSON and TOML and by who
//! hands in the text.

use serde_json::Value as Json;
use toml::{Table, Value as Toml};

use super::super::error::Reason;
use super::About;
use crate::manifest::too_deep;

/// Levels of a Cargo.toml.
const LEVELS_MAX: usize = 64;
/// A text that is longer is cut.
const TEXT_CHARS_MAX: usize = 1024;

/// The METADATA of a wheel (core metadata of Python).
pub(super) fn python(text: &str) -> Result<About, Reason> {
    let fields = Fields::of(text);
    // The old field `License` often holds the whole text.
    let short = |text: &&str| !text.contains('\n') && text.chars().count() <= 100;
    About {
        name: fields.required("name")?,
        version: fields.required("version")?,
        description: fields.first("summary").and_then(line),
        license: fields.first("license-expression").or(fields.first("license").filter(short)).and_then(line),
        homepage: fields
            .first("home-page")
            .or_else(|| fields.all("project-url").find_map(homepage))
            .and_then(line),
        dependencies: fields.all("requires-dist").filter_map(python_requirement).collect(),
    }
    .checked()
}

/// The address in `Homepage, https://…`.
fn homepage(labelled: &str) -> Option<&str> {
    let (label, address) = labelled.split_once(',')?;
    label.trim().eq_ignore_ascii_case("homepage").then_some(address)
}

/// `name[extra] (>=1) ; marker`. Nothing for what only an extra needs.
fn python_requirement(stated: &str) -> Option<(String, String)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let marker = stated.split_once(';').map(|(_, marker)| marker).unwrap_or_default();
    if marker.split(|c: char| !is_word(c)).any(|word| word == "extra") {
        return None;
    }
    let (name, rest) = split_where(stated.trim(), |c| !is_word(c));
    Some((name.to_owned(), line(rest).unwrap_or_default()))
}

/// The control file of a deb.
pub(super) fn deb(text: &str) -> Result<About, Reason> {
    let fields = Fields::of(text);
    let needed = ["pre-depends", "depends"].into_iter().flat_map(|name| fields.all(name));
    About {
        name: fields.required("package")?,
        version: fields.required("version")?,
        description: fields.first("description").and_then(|text| text.lines().next()).and_then(line),
        license: None,
        homepage: fields.first("homepage").and_then(line),
        dependencies: needed.flat_map(|list| list.split(',')).filter_map(deb_requirement).collect(),
    }
    .checked()
}

/// `name:any (>= 1) | other`.
fn deb_requirement(stated: &str) -> Option<(String, String)> {
    let (first, others) = split_where(stated.trim(), |c| c == '|');
    let (name, rest) = split_where(first, |c| c.is_whitespace() || "(:[<".contains(c));
    let rest =
        rest.strip_prefix(':').map_or(rest, |rest| split_where(rest, |c| !c.is_ascii_alphanumeric()).1);
    let range = rest.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(rest);
    let requirement = line(&format!("{range} {others}")).unwrap_or_default();
    (!name.is_empty()).then(|| (name.to_owned(), requirement))
}

/// The package.json of npm.
pub(super) fn package_json(text: &str) -> Result<About, Reason> {
    // Some editors begin files with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json: Json = serde_json::from_str(text).map_err(|error| Reason::Damaged(error.into()))?;
    let text = |value: &Json| value.as_str().and_then(line);
    let needed = json["dependencies"].as_object().into_iter().flatten();
    About {
        name: text(&json["name"]).unwrap_or_default(),
        version: text(&json["version"]).unwrap_or_default(),
        description: text(&json["description"]),
        license: text(&json["license"]).or_else(|| text(&json["license"]["type"])),
        homepage: text(&json["homepage"]),
        dependencies: needed.map(|(name, range)| (name.clone(), text(range).unwrap_or_default())).collect(),
    }
    .checked()
}

/// The Cargo.toml of a crate, as `cargo package` writes it.
pub(super) fn cargo(text: &str) -> Result<About, Reason> {
    if too_deep(text, LEVELS_MAX).is_some() {
        return Err(Reason::format("its manifest nests too deep"));
    }
    let toml: Table = text.parse().map_err(|error: toml::de::Error| {
        Reason::format(format!("its manifest is not TOML: {}", error.message().escape_debug()))
    })?;
    let field = |name: &str| toml.get("package")?.get(name)?.as_str().and_then(line);
    let needed = toml.get("dependencies").and_then(Toml::as_table).into_iter().flatten();
    About {
        name: field("name").unwrap_or_default(),
        version: field("version").unwrap_or_default(),
        description: field("description"),
        license: field("license"),
        homepage: field("homepage"),
        dependencies: needed.filter_map(|(name, stated)| cargo_requirement(name, stated)).collect(),
    }
    .checked()
}

/// `"1.2"` or `{ version = "1.2", package = "real-name", optional = true }`.
fn cargo_requirement(name: &str, stated: &Toml) -> Option<(String, String)> {
    let text = |value: Option<&Toml>| value.and_then(Toml::as_str).and_then(line);
    if stated.get("optional").and_then(Toml::as_bool) == Some(true) {
        return None;
    }
    let range = text(Some(stated)).or_else(|| text(stated.get("version"))).unwrap_or_default();
    Some((text(stated.get("package")).unwrap_or(name.to_owned()), range))
}

impl About {
    /// A package without name and version is not one that its package manager made.
    fn checked(self) -> Result<Self, Reason> {
        match self.name.is_empty() || self.version.is_empty() {
            true => Err(Reason::format("it states no name and version")),
            false => Ok(self),
        }
    }
}

/// `Name: value` lines up to the first empty one, as in a mail; lines that begin with a space go
/// on.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn of(text: &str) -> Self {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.lines().take_while(|line| !line.is_empty()) {
            if let (true, Some((_, value))) = (line.starts_with([' ', '\t']), fields.last_mut()) {
                value.push('\n');
                value.push_str(line.trim());
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        Self(fields)
    }

    fn all(&self, wanted: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    fn first(&self, wanted: &str) -> Option<&str> {
        self.all(wanted).next()
    }

    fn required(&self, wanted: &'static str) -> Result<String, Reason> {
        self.first(wanted).and_then(line).ok_or_else(|| Reason::format(format!("it states no {wanted}")))
    }
}

/// The text before and from the first character that fits, without spaces around.
fn split_where(text: &str, is_end: impl FnMut(char) -> bool) -> (&str, &str) {
    let end = text.find(is_end).unwrap_or(text.len());
    (text[..end].trim(), text[end..].trim())
}

/// The text on one line, or nothing if it says nothing.
fn line(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line: String = words.collect::<Vec<_>>().join(" ").chars().take(TEXT_CHARS_MAX).collect();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(about: &About) -> Vec<(&str, &str)> {
        about.dependencies.iter().map(|(name, range)| (name.as_str(), range.as_str())).collect()
    }

    #[test]
    fn wheels_state_what_they_are() {
        let about = python(concat!(
            "Metadata-Version: 2.4\nName: word-lists\nVersion: 1.4.0rc1\nSummary: Words,\n  many words\n",
            "License: Copyright (c)\n        \n        All rights\nLicense-Expression: MIT\n",
            "Project-URL: Source, https://example.org/src\nProject-URL: Homepage, https://example.org\n",
            "Requires-Dist: numpy[blas] (>=1.21) ; python_version < \"3.14\"\nRequires-Dist: six\n",
            "Requires-Dist: pytest>=8; extra == 'test'\n\nName: in-the-body\n"
        ))
        .expect("it states all it must");
        assert_eq!((about.name.as_str(), about.version.as_str()), ("word-lists", "1.4.0rc1"));
        assert_eq!(about.description.as_deref(), Some("Words, many words"));
        assert_eq!(about.license.as_deref(), Some("MIT"));
        assert_eq!(about.homepage.as_deref(), Some("https://example.org"));
        assert_eq!(pairs(&about), [("numpy", "[blas] (>=1.21) ; python_version < \"3.14\""), ("six", "")]);
    }

    #[test]
    fn a_license_text_is_no_license_name() {
        let about = python("Name: a\nVersion: 1\nLicense: Copyright (c)\n  All rights reserved\n")
            .expect("it states all it must");
        assert_eq!(about.license, None);
    }

    #[test]
    fn debs_state_what_they_are() {
        let about = deb(concat!(
            "Package: linux-image\nVersion: 1:6.1.190-1\nHomepage: https://www.kernel.org/\n",
            "Description: Linux\n The kernel.\nPre-Depends: dpkg (>= 1.17)\n",
            "Depends: kmod, python3:any (>= 3.5~),\n initramfs-tools (>= 0.120) | linux-initramfs-tool\n"
        ))
        .expect("it states all it must");
        assert_eq!((about.name.as_str(), about.version.as_str()), ("linux-image", "1:6.1.190-1"));
        assert_eq!(about.description.as_deref(), Some("Linux"));
        let tools = ("initramfs-tools", ">= 0.120 | linux-initramfs-tool");
        assert_eq!(pairs(&about), [("dpkg", ">= 1.17"), ("kmod", ""), ("python3", ">= 3.5~"), tools]);
    }

    #[test]
    fn npm_packages_state_what_they_are() {
        let about = package_json(
            r#"{"name": "@scope/icons", "version": "9.3.0", "description": "a\u001b[31m\nb", "license": {"type": "MIT"},
                "homepage": 7, "dependencies": {"b": "^2", "a": ">=1 <3"}, "devDependencies": {"c": "*"}}"#,
        )
        .expect("it states all it must");
        assert_eq!((about.name.as_str(), about.version.as_str()), ("@scope/icons", "9.3.0"));
        assert_eq!(about.description.as_deref(), Some("a [31m b"));
        assert_eq!((about.license.as_deref(), about.homepage.as_deref()), (Some("MIT"), None));
        assert_eq!(pairs(&about), [("a", ">=1 <3"), ("b", "^2")]);
    }

    #[test]
    fn crates_state_what_they_are() {
        let about = cargo(concat!(
            "[package]\nname = \"windows\"\nversion = \"0.62.2\"\nlicense = \"MIT OR Apache-2.0\"\n",
            "[dependencies]\ncore = { version = \"1\", package = \"windows-core\" }\nlinks = \"0.2\"\n",
            "rare = { version = \"1\", optional = true }\n[dev-dependencies]\nd = \"1\"\n"
        ))
        .expect("it states all it must");
        assert_eq!((about.name.as_str(), about.version.as_str()), ("windows", "0.62.2"));
        assert_eq!(about.license.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(pairs(&about), [("windows-core", "1"), ("links", "0.2")]);
    }

    #[test]
    fn metadata_without_name_or_version_is_refused() {
        for about in [
            python("Name: a\n\nVersion: 1\n"),
            deb("Version: 1\n"),
            package_json("{\"name\":\"a\"}"),
            cargo(""),
        ] {
            assert_eq!(about.expect_err("it must be refused").code(), "E-FORMAT");
        }
        assert_eq!(package_json("[").expect_err("it must be refused").code(), "E-FORMAT");
        assert_eq!(package_json(&"[".repeat(100_000)).expect_err("it must be refused").code(), "E-FORMAT");
        assert_eq!(
            cargo(&format!("a = {}", "[".repeat(100_000))).expect_err("it must be refused").code(),
            "E-FORMAT"
        );
        // Brackets and dotted keys, each within the bounds of the reader, and all together too
        // many.
        let names = ["a"; 79].join(".");
        let deep = format!("[{names}]\n{names} = {}", format!("{{{names} = ").repeat(79));
        let refused = cargo(&deep).expect_err("it must be refused");
        assert_eq!(refused.code(), "E-FORMAT");
    }
}
