//! Bounds on everything that comes from outside, with unit and reason.
//!
//! Promises: no list, length or depth read from a stranger is believed beyond these figures.
//! Leaves to others: enforcing them; each decoder names the bound it checks.

/// Longest name of one tree entry, in bytes: what common file systems take.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest path inside a package, in bytes: `PATH_MAX` of Linux.
pub const PATH_BYTES_MAX: usize = 4096;
/// Deepest directory nesting inside a package.
pub const PATH_DEPTH_MAX: usize = 128;
/// Most files, links and directories one release may hold.
pub const RELEASE_FILES_MAX: u64 = 2_000_000;
/// Most chunks of one file: 64 GiB at the average length, and 160 MiB of memory for their rows.
pub const FILE_CHUNKS_MAX: u64 = 4 << 20;
/// Most places chunks are written to by one checkout: 256 GiB at the average length. The same few chunks
/// may be named again and again, so what was sent is no bound.
pub const RELEASE_CHUNKS_MAX: u64 = 16 << 20;
/// Most rows in one tree, blob or fan object.
pub const ROWS_MAX: usize = 65_536;
/// Largest object after unpacking, in bytes.
pub const OBJECT_BYTES_MAX: usize = 16 << 20;
/// Longest label of a package name, in bytes.
pub const LABEL_BYTES_MAX: usize = 64;
/// Longest whole package name, in bytes.
pub const PACKAGE_NAME_BYTES_MAX: usize = 255;

/// Largest signed payload (identity, grants, entry, index, beacon), in bytes.
pub const STATEMENT_BYTES_MAX: usize = 64 << 10;
/// Largest statement in its envelope with signatures, in bytes.
pub const ENVELOPE_BYTES_MAX: usize = STATEMENT_BYTES_MAX + (8 << 10);
/// Most signatures in one envelope.
pub const SIGNATURES_MAX: usize = 16;
/// Most identity documents followed in one walk.
pub const IDENTITY_WALK_MAX: usize = 1_024;
/// Grants of one document, those that ended among them.
pub const GRANTS_MAX: usize = 256;
/// Patterns of names in one grant.
pub const PATTERNS_MAX: usize = 64;
/// Identities looked at in one search for a path of grants.
pub const GRANT_SEARCH_MAX: usize = 64;
/// Grants on one path.
pub const GRANT_DEPTH_MAX: usize = 4;
/// Most keys in one role.
pub const ROLE_KEYS_MAX: usize = 64;
/// Most rows in the lists of a statement (dependencies, revocations, skip links).
pub const STATEMENT_ROWS_MAX: usize = 4_096;
/// Longest free text in a statement (description, reason), in bytes.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// Largest link target, in bytes.
pub const LINK_BYTES_MAX: usize = PATH_BYTES_MAX;

/// Unpacked bytes a frame aims at: small enough for random access, large enough to compress well.
pub const FRAME_BYTES: usize = 1 << 20;
/// Largest unpacked frame, in bytes; one object of the largest size fits.
pub const FRAME_BYTES_MAX: usize = OBJECT_BYTES_MAX;
/// Largest frame as it is stored, in bytes: what zstd makes of the largest content at worst.
pub const FRAME_STORED_BYTES_MAX: usize = FRAME_BYTES_MAX + (FRAME_BYTES_MAX >> 8);
/// Largest zstd window of a plain frame, as its binary logarithm (8 MiB).
pub const WINDOW_LOG_MAX: u32 = 23;
/// Largest zstd window of a frame with a prefix, as its binary logarithm (32 MiB).
pub const DELTA_WINDOW_LOG_MAX: u32 = 25;
/// Most prefix bytes of one delta frame.
pub const PREFIX_BYTES_MAX: usize = 16 << 20;
/// Most ranges that make up the prefix of one delta frame.
pub const PREFIX_RANGES_MAX: usize = 4_096;
/// Most chunks that the blobs behind one prefix list together, if they are several: a single file may be
/// of any size, but two long ones named in turn would be read some thousand times.
pub const PREFIX_CHUNKS_MAX: usize = 256 << 10;
/// Deepest chain of delta frames.
pub const DELTA_DEPTH_MAX: usize = 4;
/// Most frames unpacked to read one object: each base of a delta frame may lie in another delta
/// frame, so that depth alone would allow 4,096 to the power of four.
pub const DELTA_FRAMES_MAX: usize = 1_024;
/// Largest table of contents of a pack, in bytes: about 20 million objects.
pub const TABLE_BYTES_MAX: usize = 128 << 20;
/// Most frames of one pack.
pub const PACK_FRAMES_MAX: usize = 4 << 20;

/// Most bytes of one push by somebody who does not sign the repository's index: it is held apart.
pub const INCOMING_PUSH_BYTES_MAX: u64 = 1 << 30;
/// Most bytes of all pushes that are held.
pub const INCOMING_BYTES_MAX: u64 = 4 << 30;
/// Most pushes that are held of one identity.
pub const INCOMING_PUSHES_MAX: usize = 8;
/// How long a push is held, in seconds: a day for somebody to decide.
pub const INCOMING_SECONDS_MAX: u64 = 86_400;

/// Largest `summary` of a repository, in bytes.
pub const SUMMARY_BYTES_MAX: usize = 256 << 10;
/// Largest list of packs of a repository, in bytes.
pub const PACK_LIST_BYTES_MAX: usize = 16 << 20;
/// Largest ref file, in bytes.
pub const REF_BYTES_MAX: usize = 128;
/// Largest packed-refs file, in bytes.
pub const PACKED_REFS_BYTES_MAX: usize = 256 << 20;
/// Largest configuration of a repository or environment, in bytes.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;
