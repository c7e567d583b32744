//! A copy of the state, to judge without believing.
//!
//! Whoever asks why something is accepted lets a judge go through all steps again. What that judge
//! learns is not to change what this machine believes: so it learns it into a copy.

use super::State;
use crate::trust::database::Error;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// A table's name, its number of columns, its rows.
type Table = (String, usize, Vec<Vec<Value>>);

impl State {
    /// A copy in memory of what is believed now, gone when dropped.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn copy(&self) -> Result<State, Error> {
        let copy = State::in_memory()?;
        let names = copy.database.read("read", |view| {
            let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'rooms' ORDER BY name";
            view.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
        })?;
        let tables = self.database.read("read", |view| {
            names.into_iter().map(|name| read(view, name)).collect::<rusqlite::Result<Vec<Table>>>()
        })?;
        copy.database.write("write", |tx| tables.iter().try_for_each(|table| write(tx, table)))?;
        Ok(copy)
    }
}

fn read(view: &Connection, name: String) -> rusqlite::Result<Table> {
    let mut query = view.prepare(&format!("SELECT * FROM {name}"))?;
    let columns = query.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|n| row.get(n)).collect();
    let rows = query.query_map([], row)?.collect::<Result<_, _>>()?;
    Ok((name, columns, rows))
}

fn write(tx: &Connection, (name, columns, rows): &Table) -> rusqlite::Result<()> {
    let places = vec!["?"; *columns].join(", ");
    let mut insert = tx.prepare(&format!("INSERT INTO {name} VALUES ({places})"))?;
    rows.iter().try_for_each(|row| insert.execute(params_from_iter(row)).map(drop))
}
