//! A mirror and a wire in memory, for tests and for peers inside one process.
//!
//! Promises: the same contracts as the real ones, from the same suites.
//! Leaves to others: durability; nothing here survives the process.

use std::{
    collections::BTreeMap,
    io::Read,
    ops::Range,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
};

use bytes::Bytes;

use super::{
    Bare, BareWrite, Error, Key, Service, Wire,
    input::{Explained, InputError, Noted},
    pieces::{self, PieceReader},
};

/// A bare repository in memory.
#[derive(Debug, Default)]
pub struct Memory {
    files: RwLock<BTreeMap<Key, Bytes>>,
}

const SOURCE: &str = "memory:";

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn get(&self, key: &Key) -> Option<Bytes> {
        self.files().get(key).cloned()
    }

    // A panic elsewhere cannot leave the map half changed: every change is one call of it.
    fn files(&self) -> RwLockReadGuard<'_, BTreeMap<Key, Bytes>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn files_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<Key, Bytes>> {
        self.files.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bare for Memory {
    fn source(&self) -> String {
        SOURCE.to_owned()
    }

    fn try_read(&self, key: &Key, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(bytes) = self.get(key) else {
            return Ok(None);
        };
        if bytes.len() as u64 > bytes_max {
            return Err(Error::TooLong { at: key.at(SOURCE), bytes_max });
        }
        Ok(Some(bytes.to_vec()))
    }

    fn try_size(&self, key: &Key) -> Result<Option<u64>, Error> {
        Ok(self.get(key).map(|bytes| bytes.len() as u64))
    }

    fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Vec<u8>, Error> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = self.get(key).ok_or_else(|| Error::NotFound { at: key.at(SOURCE) })?;
        let slice = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let slice = slice.and_then(|(start, end)| bytes.get(start..end));
        slice.map(<[u8]>::to_vec).ok_or_else(|| Error::Short { at: key.at(SOURCE), end: range.end })
    }
}

impl BareWrite for Memory {
    fn write(&self, key: &Key, bytes: &mut dyn Read) -> Result<(), Error> {
        let mut whole = Vec::new();
        bytes.read_to_end(&mut whole).map_err(|e| Error::from_input(&key.at(SOURCE), e))?;
        self.files_mut().insert(key.clone(), whole.into());
        Ok(())
    }

    fn swap(&self, key: &Key, expected: Option<&[u8]>, new: &[u8]) -> Result<(), Error> {
        let mut files = self.files_mut();
        if files.get(key).map(|bytes| &bytes[..]) != expected {
            return Err(Error::Conflict { at: key.at(SOURCE) });
        }
        files.insert(key.clone(), Bytes::copy_from_slice(new));
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<(Key, u64)>, Error> {
        let files = self.files();
        let found = files.iter().filter(|(key, _)| key.as_str().starts_with(prefix));
        Ok(found.map(|(key, bytes)| (key.clone(), bytes.len() as u64)).collect())
    }

    fn delete(&self, key: &Key) -> Result<(), Error> {
        self.files_mut().remove(key);
        Ok(())
    }
}

/// A wire to a service in this process: each exchange runs on a thread of its own.
pub struct MemoryWire {
    service: Arc<dyn Service>,
}

impl MemoryWire {
    /// A wire whose other end is `service`.
    pub fn new(service: Arc<dyn Service>) -> Self {
        Self { service }
    }
}

impl Wire for MemoryWire {
    fn source(&self) -> String {
        SOURCE.to_owned()
    }

    fn exchange(&self, request: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, Error> {
        let (mut sender, receiver) = pieces::channel(SOURCE.to_owned());
        let service = Arc::clone(&self.service);
        let input = InputError::default();
        let mut request = Noted { request, input: input.clone() };
        let serve = move || match pieces::run(&*service, &mut request, &mut sender) {
            Ok(()) => sender.finish(),
            Err(error) => tracing::debug!(%error, "a service in memory gave up"),
        };
        let thread = thread::Builder::new().name("pkg-memory-wire".into());
        thread.spawn(serve).map_err(|e| Error::Setup { at: "a thread".into(), source: e.into() })?;
        let answer = Explained { answer: receiver, input, at: SOURCE.to_owned() };
        Ok(Box::new(PieceReader::new(answer)))
    }
}
