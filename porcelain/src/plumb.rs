//! Plumbing verbs: objects, packs and refs without packages.

use crate::error::Error;
use crate::remote::Remote;
use crate::session::Session;
use objects::blob::{self, Blob};
use objects::chunker;
use objects::claim::{Index as IndexHead, Repository as RepositoryName};
use objects::disk;
use objects::id::{ChunkId, ObjectId, PackId, Prefix, StatementId, TreeId};
use objects::repository::Repository;
use objects::store::pack::index_name;
use objects::store::pack::writer::Options;
use objects::store::transaction::STRUCTURE;
use objects::tree::{Mode, Tree};
use plumbing::sync::Source;
use plumbing::sync::send::Offer;
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;

/// Largest file `hash-object` takes; larger ones are published.
const FILE_BYTES_MAX: usize = 1 << 30;

/// What a file's content is called.
#[derive(Clone, Debug, Serialize)]
pub struct Hashed {
    /// The chunk, or the blob if it takes several.
    pub id: ObjectId,
    /// chunk or blob.
    pub kind: &'static str,
    /// Bytes.
    pub size: u64,
}

/// The id of a file's content; stores it if a repository is given.
///
/// # Errors
/// If it cannot be read or stored.
pub fn hash_object(repository: Option<&Repository>, path: &Path) -> Result<Hashed, Error> {
    let content = disk::try_read(path, FILE_BYTES_MAX)?;
    let content = content.ok_or_else(|| Error::not_found(path.display(), "name a file"))?;
    let pieces: Vec<(ObjectId, &[u8])> = chunker::chunks(&content)
        .into_iter()
        .map(|range| (ObjectId::of(&content[range.clone()]), &content[range]))
        .collect();
    let rows: Vec<_> = pieces.iter().map(|(id, bytes)| (ChunkId::new(*id), bytes.len() as u64)).collect();
    let blobs = if pieces.len() > 1 { blob::build(&rows) } else { Vec::new() };
    if let Some(repository) = repository {
        let _lock = repository.lock_shared()?;
        let mut transaction = repository.store().transaction(Options::default())?;
        for (id, bytes) in &pieces {
            transaction.write_as(*id, bytes, 1)?;
        }
        for (id, bytes) in &blobs {
            transaction.write_as(id.object(), bytes, STRUCTURE)?;
        }
        transaction.commit()?;
    }
    let (id, kind) = match blobs.last() {
        Some((id, _)) => (id.object(), "blob"),
        None => (pieces[0].0, "chunk"),
    };
    Ok(Hashed { id, kind, size: content.len() as u64 })
}

/// A tree's or blob's rows as `cat-file -p` shows them.
pub fn lines_of(bytes: &[u8]) -> Vec<String> {
    match (Tree::decode(bytes), Blob::decode(bytes)) {
        (Ok(Tree::Entries(entries)), _) => entries
            .iter()
            .map(|entry| {
                let kind = match entry.mode {
                    Mode::Dir => "tree",
                    mode if mode.is_blob() => "blob",
                    _ => "chunk",
                };
                format!(
                    "{} {kind} {} {:>10}\t{}",
                    entry.mode.octal(),
                    entry.id.to_hex(),
                    entry.size,
                    entry.name
                )
            })
            .collect(),
        (Ok(Tree::Fan(runs)), _) => runs
            .iter()
            .map(|(first, id, entries, size)| {
                format!("run {} {entries:>6} entries {size:>10}\t{first}", id.to_hex())
            })
            .collect(),
        (_, Ok(Blob::Chunks { pieces, .. })) => {
            pieces.iter().map(|(id, len)| format!("chunk {} {len:>8}", id.to_hex())).collect()
        }
        (_, Ok(Blob::Fan { runs, .. })) => runs
            .iter()
            .map(|(id, chunks, len)| format!("run {} {chunks:>6} chunks {len:>10}", id.to_hex()))
            .collect(),
        _ => Vec::new(),
    }
}

/// What a source says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Head {
    /// Which repository it claims to be.
    pub repository: RepositoryName,
    /// The number of its index.
    pub n: u64,
    /// Its index.
    pub index: StatementId,
    /// The root of its index.
    pub root: TreeId,
}

/// What the source at `address` says of itself, unjudged.
///
/// # Errors
/// If it cannot be reached.
pub fn ls_remote(session: &Session, address: &str) -> Result<Head, Error> {
    let summary = Remote::open(session, address)?.advertise()?;
    let index: IndexHead = summary.index.envelope().peek()?;
    Ok(Head { repository: summary.repository, n: index.n, index: summary.index.id(), root: index.root })
}

/// How much a store holds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counted {
    /// Packs.
    pub packs: u64,
    /// Objects in them.
    pub objects: u64,
    /// Frames in them.
    pub frames: u64,
    /// Bytes of the frames as they are stored.
    pub stored_bytes: u64,
    /// Bytes they unpack to.
    pub raw_bytes: u64,
    /// Frames that are stored as deltas.
    pub delta_frames: u64,
    /// Bytes of the indexes of packs.
    pub index_bytes: u64,
    /// Bytes of files that are being written, or were left by somebody who was killed.
    pub staging_bytes: u64,
    /// Packs that cannot be opened.
    pub broken_packs: u64,
}

/// Counts the objects of a repository.
///
/// # Errors
/// If a folder cannot be listed.
pub fn count_objects(repository: &Repository) -> Result<Counted, Error> {
    let store = repository.store();
    let bytes_of = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
    let mut counted = Counted { broken_packs: store.broken().len() as u64, ..Counted::default() };
    for name in disk::list(&store.staging_folder())? {
        counted.staging_bytes += bytes_of(&store.staging_folder().join(name));
    }
    for pack in store.packs() {
        counted.packs += 1;
        counted.objects += pack.index().len() as u64;
        counted.frames += pack.table().frames().len() as u64;
        counted.stored_bytes += pack.table().frames_bytes();
        counted.raw_bytes += pack.table().frames().iter().map(|frame| u64::from(frame.raw)).sum::<u64>();
        counted.delta_frames +=
            pack.table().frames().iter().filter(|row| !row.base.is_empty()).count() as u64;
        counted.index_bytes += bytes_of(&store.packs_folder().join(index_name(pack.id())));
    }
    Ok(counted)
}

/// A pack that was checked.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// The pack.
    pub id: PackId,
    /// Objects in it.
    pub objects: u64,
    /// Bytes as stored.
    pub stored_bytes: u64,
    /// Bytes unpacked.
    pub raw_bytes: u64,
    /// Its frames.
    pub frames: Vec<VerifiedFrame>,
}

/// A frame that was checked.
#[derive(Clone, Debug, Serialize)]
pub struct VerifiedFrame {
    /// Bytes as stored.
    pub stored: u32,
    /// Bytes unpacked.
    pub raw: u32,
    /// Objects in it.
    pub objects: usize,
    /// True if it is stored as a delta.
    pub delta: bool,
}

/// Unpacks and hashes every object of the packs that `which` name; all of them if it is empty.
///
/// # Errors
/// For the first damaged one.
pub fn verify_packs(repository: &Repository, which: &[Prefix]) -> Result<Vec<Verified>, Error> {
    let store = repository.store();
    let mut verified = Vec::new();
    for pack in store.packs() {
        if !which.is_empty() && !which.iter().any(|prefix| prefix.matches(&pack.id().object())) {
            continue;
        }
        let ids = pack.index().ids_in_pack_order();
        let mut frames = Vec::new();
        for (number, row) in pack.table().frames().iter().enumerate() {
            let raw = std::sync::Arc::new(store.read_frame(&pack, number)?);
            for object in pack.table().objects_of(number) {
                pack.object(&raw, &pack.table().place(object), &ids[object as usize])?;
            }
            frames.push(VerifiedFrame {
                stored: row.stored,
                raw: row.raw,
                objects: row.lengths.len(),
                delta: !row.base.is_empty(),
            });
        }
        verified.push(Verified {
            id: pack.id(),
            objects: pack.index().len() as u64,
            stored_bytes: pack.table().frames_bytes(),
            raw_bytes: frames.iter().map(|frame| u64::from(frame.raw)).sum(),
            frames,
        });
    }
    Ok(verified)
}

/// The bytes a peer would send to somebody who has `old` and wants `new`.
///
/// # Errors
/// If the trees cannot be read.
pub fn delta_size(repository: &Repository, old: TreeId, new: TreeId) -> Result<u64, Error> {
    struct Counter(u64);
    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    Offer { store: repository.store(), tree: new, haves: &[old], deltas: true }.send(&mut counter)?;
    Ok(counter.0)
}
