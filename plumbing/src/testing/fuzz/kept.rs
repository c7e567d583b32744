//! What this machine keeps, and others may have written to: key files, and what was believed.

use crate::trust::keyring::{Error as KeyError, Keyring, read_key};
use crate::trust::{Line, State};
use base64ct::{Base64, Encoding as _};
use objects::claim::Repository;
use objects::id::{IdentityId, ObjectId, StatementId};
use objects::key::Signer as _;
use objects::testing::folder_in_memory;
use rusqlite::{Connection, params};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

/// A key file whose passphrase nobody knows. A key that opens without one signs.
pub fn key_file(data: &[u8]) -> bool {
    let folder = folder_in_memory();
    let keyring = Keyring::open(&folder.path().join("keys")).expect("the folder is ours");
    let path = folder.path().join("keys/ada.key");
    fs::write(&path, data).expect("the folder is ours");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("the file is ours");
    match keyring.load("ada", &mut || None) {
        Ok(key) => {
            assert!(key.public().verifies(b"word", &key.sign(b"word")));
            true
        }
        Err(KeyError::Locked(_)) => true,
        Err(error) => {
            assert_eq!(error.code(), "E-FORMAT");
            false
        }
    }
}

/// What stands in base64 in a key file of OpenSSH: a key that is taken signs, and its public half stands in the
/// bytes.
pub fn openssh_key(data: &[u8]) -> bool {
    let digits = Base64::encode_string(data);
    let mut text = String::from("-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for line in digits.as_bytes().chunks(70) {
        text.extend(line.iter().map(|digit| char::from(*digit)));
        text.push('\n');
    }
    text.push_str("-----END OPENSSH PRIVATE KEY-----\n");
    let folder = folder_in_memory();
    let path = folder.path().join("key");
    fs::write(&path, text).expect("the folder is ours");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("the file is ours");
    match read_key(&path, &mut || None) {
        Ok(key) => {
            let public = key.public();
            assert!(public.verifies(b"word", &key.sign(b"word")));
            assert_eq!(data.windows(32).filter(|bytes| bytes == public.as_bytes()).count(), 3);
            true
        }
        Err(KeyError::Encrypted { .. }) => true,
        Err(error) => {
            assert_eq!(error.code(), "E-FORMAT");
            false
        }
    }
}

/// A database of what was believed, as a file: read, or refused.
pub fn state_file(data: &[u8]) -> bool {
    let folder = folder_in_memory();
    let path = folder.path().join("state.db");
    fs::write(&path, data).expect("the folder is ours");
    State::open(&path).is_ok_and(|state| read_all(&state, None))
}

thread_local! {
    static STATE: State = State::in_memory().expect("SQLite gives memory");
}

/// Rows of the tables, whatever stands in them: read, or refused.
pub fn state_rows(data: &[u8]) -> bool {
    STATE.with(|state| {
        let mut fields = Fields(data);
        let written = state.database().write("fuzz", |tx| {
            tx.execute_batch(
                "DELETE FROM clock; DELETE FROM repositories; DELETE FROM packages; DELETE FROM heads;
                 DELETE FROM entries; DELETE FROM forks;",
            )?;
            while !fields.0.is_empty() {
                insert(tx, &mut fields)?;
            }
            Ok(())
        });
        let line = Fields(data).texts();
        written.is_ok() && read_all(state, Some(&line))
    })
}

/// Bytes cut into fields.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (field, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        field
    }

    fn number(&mut self) -> i64 {
        let mut number = [0; 8];
        let field = self.take(8);
        number[..field.len()].copy_from_slice(field);
        i64::from_le_bytes(number)
    }

    /// A field after its length in one byte.
    fn bytes(&mut self) -> &'a [u8] {
        let len = self.take(1).first().copied().unwrap_or(0);
        self.take(len.into())
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The first texts of a row: which line it may speak of.
    fn texts(mut self) -> String {
        self.take(9);
        self.text()
    }
}

/// A row: which table, a number, texts and bytes as the table has them.
fn insert(tx: &Connection, row: &mut Fields<'_>) -> rusqlite::Result<usize> {
    let table = row.take(1).first().copied().unwrap_or(0);
    let (n, text) = (row.number(), row.text());
    let (second, first_id, second_id) = (row.text(), row.bytes(), row.bytes());
    match table % 6 {
        0 => tx.execute("INSERT OR REPLACE INTO clock VALUES (1, ?1)", params![n]),
        1 => tx.execute(
            "INSERT OR REPLACE INTO repositories VALUES (?1, ?2, ?3, ?4)",
            params![text, first_id, second, n],
        ),
        2 => tx.execute(
            "INSERT OR REPLACE INTO packages VALUES (?1, ?2, ?3, ?4, ?5)",
            params![text, first_id, second, second_id, n],
        ),
        3 => tx.execute(
            "INSERT OR IGNORE INTO heads VALUES (?1, ?2, ?3, ?4, ?5)",
            params![second, text, n, first_id, second_id],
        ),
        4 => tx.execute(
            "INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?1, ?3, ?4, ?5, NULL, ?4, NULL)",
            params![first_id, text, n, second_id, second],
        ),
        _ => tx.execute(
            "INSERT OR IGNORE INTO forks VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?5, ?4, ?1, ?3, ?5)",
            params![second, text, n, first_id, second_id],
        ),
    }
}

/// Reads everything there is; true if all of it could be read.
fn read_all(state: &State, named: Option<&str>) -> bool {
    let id = ObjectId::of(b"id");
    let mut whole = state.last_known().is_ok();
    whole &= state.repositories().is_ok();
    whole &= state.packages().is_ok();
    whole &= state.forks().is_ok();
    whole &= state.is_forked(StatementId::new(id)).is_ok();
    let mut lines = vec![Line::Identity(IdentityId::new(id))];
    for (kind, line, _) in state.heads().unwrap_or_default() {
        if let (true, Ok(id)) = (kind == "identity", line.parse()) {
            lines.push(Line::Identity(id));
        }
    }
    let name = named.unwrap_or("main").to_owned();
    lines.push(Line::Index(Repository { owner: IdentityId::new(id), name }));
    for line in lines {
        whole &= state.head(&line).is_ok();
        let _ = state.head_envelope(&line);
        whole &= state.forked_from(&line).is_ok();
    }
    whole
}
