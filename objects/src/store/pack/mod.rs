//! Packs: files of frames with a table of contents, and their indexes.
//!
//! Promises: every object read is hashed before it is handed out; a lost index is rebuilt.
//! Leaves to others: which packs there are ([`crate::store`]), writing them ([`writer`]).

pub mod frame;
pub mod index;
mod rebuild;
pub mod table;
pub mod writer;

use crate::blob::{Blob, Piece};
use crate::disk::{Context, Mapped};
use crate::id::{BlobId, ObjectId, PackId};
use crate::limits::PREFIX_CHUNKS_MAX;
use crate::object::{Bytes, Error, Find, Kind};
use index::Index;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use table::{Base, BaseOf, Frame, Place, TAIL_BYTES, Table};

/// An open pack with its index.
pub struct Pack {
    id: PackId,
    path: PathBuf,
    file: File,
    index: Index<Mapped>,
}

/// The file name of pack `id`.
pub fn file_name(id: PackId) -> String {
    format!("{}.pack", id.to_hex())
}

/// The file name of the index of pack `id`.
pub fn index_name(id: PackId) -> String {
    format!("{}.idx", id.to_hex())
}

/// The file name of the sketches of pack `id` ([`crate::similar`]).
pub fn sketches_name(id: PackId) -> String {
    format!("{}.sim", id.to_hex())
}

impl Pack {
    /// Opens the pack `id` in `folder`; rebuilds its index if that is lost, with what its delta frames
    /// build on from `elsewhere`.
    ///
    /// # Errors
    /// `Damaged` if pack or index do not have their form, `Disk` if the disk refuses.
    pub fn open(folder: &Path, id: PackId, elsewhere: &dyn Find) -> Result<Pack, Error> {
        let path = folder.join(file_name(id));
        let index_path = folder.join(index_name(id));
        let file = File::open(&path).doing("open", &path)?;
        if !index_path.exists() {
            rebuild::rebuild_index(&file, &path, id, &index_path, elsewhere)?;
        }
        let index = Index::open(Mapped::open(&index_path)?, id).map_err(|r| damaged(&index_path, r))?;
        let length = file.metadata().doing("read", &path)?.len();
        let expected = index.table().frames_bytes() + (index.table().encode().len() + TAIL_BYTES) as u64;
        if length != expected {
            return Err(damaged(&path, format!("it has {length} bytes instead of {expected}")));
        }
        Ok(Pack { id, path, file, index })
    }

    /// Its name.
    pub fn id(&self) -> PackId {
        self.id
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its index.
    pub fn index(&self) -> &Index<Mapped> {
        &self.index
    }

    /// Its table of contents.
    pub fn table(&self) -> &Table {
        self.index.table()
    }

    /// The stored bytes of frame `number`, as the table says they hash.
    ///
    /// # Errors
    /// `Disk` if they cannot be read, `Damaged` if they are others.
    pub fn stored_frame(&self, number: usize) -> Result<Vec<u8>, Error> {
        let frame = &self.table().frames()[number];
        let range = self.table().stored_range(number);
        let mut bytes = vec![0; frame.stored as usize];
        self.file.read_exact_at(&mut bytes, range.start).doing("read", &self.path)?;
        if ObjectId::of(&bytes) != frame.hash {
            return Err(damaged(&self.path, format!("frame {number} holds other bytes than its hash says")));
        }
        Ok(bytes)
    }

    /// Frame `number` unpacked; the objects a delta frame builds on come from `bases`.
    ///
    /// # Errors
    /// As [`Pack::stored_frame`]; `Damaged` if it does not unpack; those of `bases`.
    pub fn frame(&self, number: usize, bases: &dyn Find) -> Result<Vec<u8>, Error> {
        let frame = &self.table().frames()[number];
        let stored = self.stored_frame(number)?;
        open_frame(frame, &stored, bases)?
            .map_err(|reason| damaged(&self.path, format!("frame {number}: {reason}")))
    }

    /// The object at `place` of an unpacked frame, checked against `id`.
    ///
    /// # Errors
    /// `Corrupt` if it hashes to another id.
    pub fn object(&self, frame: &Arc<Vec<u8>>, place: &Place, id: &ObjectId) -> Result<Bytes, Error> {
        let bytes = Bytes::view(frame.clone(), place.range.clone());
        if ObjectId::of(&bytes) != *id {
            return Err(Error::Corrupt { id: *id, place: self.path.display().to_string() });
        }
        Ok(bytes)
    }
}

/// Unpacks the stored bytes of `frame`, fetching its prefix from `bases`. The inner error is the
/// reason why it does not unpack.
///
/// # Errors
/// Those of `bases`.
pub fn open_frame(frame: &Frame, stored: &[u8], bases: &dyn Find) -> Result<Result<Vec<u8>, String>, Error> {
    if frame.base.is_empty() {
        return Ok(frame::open(stored, frame.raw as usize, None));
    }
    let prefix = match gather(&frame.base, bases)? {
        Ok(prefix) => prefix,
        Err(reason) => return Ok(Err(reason)),
    };
    Ok(frame::open(stored, frame.raw as usize, Some(&prefix)))
}

/// The bytes of a prefix; inside, the reason why `base` gives none.
///
/// # Errors
/// If an object of the base cannot be read.
pub fn gather(base: &[Base], from: &dyn Find) -> Result<Result<Vec<u8>, String>, Error> {
    let mut prefix = Vec::with_capacity(base.iter().map(|b| b.len as usize).sum());
    let mut last: Option<(ObjectId, Vec<Piece>)> = None; // ranges of one blob stand together
    let mut listed = 0;
    for part in base {
        let before = prefix.len();
        match part.of {
            BaseOf::Object => {
                let bytes = from.find(Kind::Chunk, &part.id)?;
                let range = part.start as usize..part.start.saturating_add(part.len) as usize;
                prefix.extend_from_slice(bytes.get(range).unwrap_or_default());
            }
            BaseOf::Content => {
                if last.as_ref().is_none_or(|(id, _)| *id != part.id) {
                    let pieces = crate::walk::blob_pieces(from, BlobId::new(part.id))?;
                    listed += pieces.len();
                    if listed > PREFIX_CHUNKS_MAX && last.is_some() {
                        return Ok(Err(format!("its bases list more than {PREFIX_CHUNKS_MAX} chunks")));
                    }
                    last = Some((part.id, pieces));
                }
                let pieces = last.as_ref().map_or(&[][..], |(_, pieces)| pieces);
                crate::walk::read_pieces(from, pieces, part, &mut prefix)?;
            }
        }
        if (prefix.len() - before) as u64 != part.len {
            return Ok(Err(format!("its base {} is shorter than it says", part.id)));
        }
    }
    Ok(Ok(prefix))
}

/// The objects that the bytes of a prefix are read from: those named, and of blobs the runs and chunks
/// that lie in the range.
///
/// # Errors
/// If a blob cannot be read.
pub fn base_objects(base: &[Base], from: &dyn Find) -> Result<Vec<ObjectId>, Error> {
    let mut objects = Vec::new();
    let mut last: Option<(ObjectId, Vec<Piece>)> = None;
    for part in base {
        let is_new = objects.last() != Some(&part.id);
        if part.of == BaseOf::Object {
            objects.extend(is_new.then_some(part.id));
            continue;
        }
        if last.as_ref().is_none_or(|(id, _)| *id != part.id) {
            let blob = BlobId::new(part.id);
            objects.push(part.id);
            if let Blob::Fan { runs, .. } = crate::walk::blob(from, blob)? {
                objects.extend(runs.iter().map(|run| run.0.object()));
            }
            last = Some((part.id, crate::walk::blob_pieces(from, blob)?));
        }
        let (mut at, end) = (0u64, part.start.saturating_add(part.len));
        for (chunk, len) in last.as_ref().map_or(&[][..], |(_, pieces)| pieces) {
            if at < end && at + len > part.start {
                objects.push(chunk.object());
            }
            at += len;
        }
    }
    Ok(objects)
}

/// Reads the table at the end of a pack file.
///
/// # Errors
/// `Damaged` if the file does not end as a pack ends.
pub fn read_table(file: &File, path: &Path) -> Result<Table, Error> {
    let length = file.metadata().doing("read", path)?.len();
    let short = || damaged(path, "it is too short".into());
    let mut end = [0; 12];
    file.read_exact_at(&mut end, length.checked_sub(12).ok_or_else(short)?).doing("read", path)?;
    let tail_len = table::table_len(&end).map_err(|r| damaged(path, r))? + TAIL_BYTES;
    let start = length.checked_sub(tail_len as u64).ok_or_else(short)?;
    let mut tail = vec![0; tail_len];
    file.read_exact_at(&mut tail, start).doing("read", path)?;
    table::decode_tail(&tail, length).map_err(|r| damaged(path, r))
}

/// The objects of an unpacked frame, in order.
pub fn objects_in<'a>(frame: &'a Frame, raw: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut at = 0;
    frame.lengths.iter().map(move |len| {
        let start = at;
        at += *len as usize;
        &raw[start..at]
    })
}

pub(crate) fn damaged(path: &Path, reason: String) -> Error {
    Error::Damaged { path: path.to_owned(), reason }
}
