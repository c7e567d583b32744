//! Editing `pkg.cfg.toml` in place.
//!
//! Promises: comments, order and spelling of what is not edited stay; the new text reads as what was
//! asked for. Nothing is written here: the outcome goes into a [`super::Change`].

use super::config::{Wanted, WantedPackage, read_wanted_text};
use super::error::Error;
use super::layout::Layout;
use super::text::identity_text;
use objects::id::ObjectId;
use objects::name::PackageName;
use objects::version::Channel;
use std::path::PathBuf;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// What a fresh `pkg.cfg.toml` says.
pub(super) const FRESH: &str = "\
# What is wanted in this environment. Edit it and run `pkg sync`, or use `pkg add` and `pkg remove`.

[environment]
channel = \"release\"

[packages]
";

/// `pkg.cfg.toml`, being edited.
#[derive(Debug)]
pub struct WantedEdit {
    path: PathBuf,
    over: Option<ObjectId>,
    document: DocumentMut,
}

/// A new text for `pkg.cfg.toml`, and the text it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedText {
    pub(super) over: Option<ObjectId>,
    pub(super) text: String,
}

impl WantedText {
    /// The new text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl WantedEdit {
    pub(super) fn begin(layout: &Layout) -> Result<WantedEdit, Error> {
        let path = layout.wanted();
        let text = read_wanted_text(layout)?;
        let over = text.as_ref().map(|text| ObjectId::of(text.as_bytes()));
        let text = text.unwrap_or_else(|| FRESH.to_owned());
        Wanted::parse(&path, &text)?;
        let document = text.parse().map_err(|error: toml_edit::TomlError| {
            Error::toml(&path, &text, error.span().map(|span| span.start), error.message())
        })?;
        Ok(WantedEdit { path, over, document })
    }

    /// Wants a package, or wants it otherwise.
    pub fn set(&mut self, name: &PackageName, wanted: &WantedPackage) {
        let Some(packages) = section(&mut self.document, "packages") else { return };
        let name = name.as_str();
        match packages.get_mut(name) {
            Some(item) => set_item(item, wanted),
            None => {
                packages.insert(name, new_item(wanted));
            }
        }
    }

    /// No longer wants a package; tells whether it was wanted.
    pub fn remove(&mut self, name: &PackageName) -> bool {
        let packages = section(&mut self.document, "packages");
        packages.is_some_and(|packages| packages.remove(name.as_str()).is_some())
    }

    /// Changes the channel taken where a package names none.
    pub fn set_channel(&mut self, channel: &Channel) {
        if let Some(environment) = section(&mut self.document, "environment") {
            set_value(environment, "channel", channel.as_str().into());
        }
    }

    /// The new text and what it means.
    ///
    /// # Errors
    /// `Malformed` if it does not read.
    pub fn finish(self) -> Result<(WantedText, Wanted), Error> {
        let text = self.document.to_string();
        let wanted = Wanted::parse(&self.path, &text)?;
        Ok((WantedText { over: self.over, text }, wanted))
    }
}

/// The table `name`, made if it is not there. The text was read before, so it is a table if there.
fn section<'d>(document: &'d mut DocumentMut, name: &str) -> Option<&'d mut dyn TableLike> {
    document.entry(name).or_insert_with(|| Item::Table(Table::new())).as_table_like_mut()
}

fn new_item(wanted: &WantedPackage) -> Item {
    let fields = fields(wanted);
    if fields.iter().all(|(_, value)| value.is_none()) {
        return Item::Value(wanted.version.as_str().into());
    }
    let mut table = InlineTable::new();
    table.insert("version", wanted.version.as_str().into());
    table.extend(fields.into_iter().filter_map(|(key, value)| Some((key, value?))));
    Item::Value(Value::InlineTable(table))
}

/// What is said of a package beyond its version.
fn fields(wanted: &WantedPackage) -> [(&'static str, Option<Value>); 4] {
    let names = wanted.optional.iter().map(|name| name.as_str());
    let versions = wanted.beside.iter().map(|version| version.as_str());
    [
        ("owner", wanted.owner.as_ref().map(|owner| identity_text(owner).into())),
        ("channel", wanted.channel.as_ref().map(|channel| channel.as_str().into())),
        ("optional", list(names)),
        ("beside", list(versions)),
    ]
}

fn list<'t>(texts: impl Iterator<Item = &'t str>) -> Option<Value> {
    let array: Array = texts.collect();
    (!array.is_empty()).then_some(Value::Array(array))
}

fn set_item(item: &mut Item, wanted: &WantedPackage) {
    let Some(table) = item.as_table_like_mut() else {
        return replace(item, new_item(wanted));
    };
    set_value(table, "version", wanted.version.as_str().into());
    for (key, value) in fields(wanted) {
        match value {
            Some(value) => set_value(table, key, value),
            None => drop(table.remove(key)),
        }
    }
}

fn set_value(table: &mut dyn TableLike, key: &str, value: Value) {
    match table.get_mut(key) {
        Some(item) => replace(item, Item::Value(value)),
        None => drop(table.insert(key, Item::Value(value))),
    }
}

/// Puts `new` where `item` is, with the spaces and comments around it.
fn replace(item: &mut Item, mut new: Item) {
    if let (Some(old), Some(new)) = (item.as_value(), new.as_value_mut()) {
        *new.decor_mut() = old.decor().clone();
    }
    *item = new;
}
