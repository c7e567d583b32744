//! Frames: many objects behind each other, compressed as one zstd frame.
//!
//! Promises: `open` gives exactly the stated bytes or an error: one frame, nothing after it, the
//! size stated inside, a bounded window, no dictionary (SEC-021 to 026).
//! Leaves to others: what lies in the frame ([`super::table`]).
//!
//! Follows RFC 8878 (zstd).

use crate::limits::{DELTA_WINDOW_LOG_MAX, FRAME_BYTES_MAX, WINDOW_LOG_MAX};
use std::cell::RefCell;
use zstd_safe::{CCtx, CParameter, DCtx, DParameter};

/// Frames that would shrink to more than this many percent are stored raw.
const RAW_ABOVE_PERCENT: usize = 97;
/// Largest block of a zstd frame.
const BLOCK_BYTES: usize = 128 << 10;
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

thread_local! {
    /// A context, and the buffer it writes to: used again, since both are large.
    static COMPRESSOR: RefCell<(CCtx<'static>, Vec<u8>)> = RefCell::new((CCtx::create(), Vec::new()));
    static DECOMPRESSOR: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// `raw` as a zstd frame at `level`; stored as it is if compressing gains less than 3 %.
pub fn seal(raw: &[u8], level: i32) -> Vec<u8> {
    COMPRESSOR.with_borrow_mut(|(context, packed)| {
        packed.clear();
        packed.reserve(zstd_safe::compress_bound(raw.len()));
        let set = context.set_parameter(CParameter::CompressionLevel(level));
        let done = set.and_then(|_| context.compress2(packed, raw));
        done.expect("the buffer has zstd's own bound and the level is one of ours");
        // An empty content has no block to be stored raw in; zstd's own frame of it is as small.
        let gains = raw.is_empty() || packed.len() <= raw.len() / 100 * RAW_ABOVE_PERCENT + raw.len() % 100;
        if gains { packed.clone() } else { stored(raw) }
    })
}

/// `raw` compressed against `prefix`, which the reader has.
pub fn seal_with_prefix(raw: &[u8], prefix: &[u8], level: i32) -> Vec<u8> {
    let mut packed = Vec::with_capacity(zstd_safe::compress_bound(raw.len()));
    let mut context = CCtx::create();
    let whole = (raw.len() + prefix.len()).max(1 << 10).next_power_of_two();
    let window_log = whole.trailing_zeros().min(DELTA_WINDOW_LOG_MAX);
    let done = context
        .set_parameter(CParameter::CompressionLevel(level))
        .and_then(|_| context.set_parameter(CParameter::WindowLog(window_log)))
        .and_then(|_| context.set_parameter(CParameter::EnableLongDistanceMatching(true)))
        .and_then(|_| context.ref_prefix(prefix))
        .and_then(|_| context.compress2(&mut packed, raw));
    done.expect("the buffer has zstd's own bound and the parameters are in its range");
    packed
}

/// A zstd frame of raw blocks: what cannot shrink, still shown by `zstd -dc`.
fn stored(raw: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(raw.len() + 16 + raw.len() / BLOCK_BYTES * 3);
    frame.extend_from_slice(&MAGIC);
    frame.push(0b1010_0000); // content size in four bytes, single segment: the window is the content
    frame.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    let mut rest = raw;
    loop {
        let (block, after) = rest.split_at(rest.len().min(BLOCK_BYTES));
        let header = (block.len() as u32) << 3 | u32::from(after.is_empty());
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.extend_from_slice(block);
        if after.is_empty() {
            return frame; // even a frame of nothing has one block
        }
        rest = after;
    }
}

/// Unpacks a frame that states `raw_len` bytes, with the prefix it was compressed against.
///
/// # Errors
/// The reason, if it is not exactly one frame of that size within the window limit.
pub fn open(frame: &[u8], raw_len: usize, prefix: Option<&[u8]>) -> Result<Vec<u8>, String> {
    check_header(frame, raw_len, prefix.is_some())?;
    let mut raw = Vec::with_capacity(raw_len);
    let done = match prefix {
        None => DECOMPRESSOR.with_borrow_mut(|context| context.decompress(&mut raw, frame)),
        Some(prefix) => decompress_with(&mut raw, frame, prefix),
    };
    done.map_err(|code| format!("its frame does not unpack: {}", zstd_safe::get_error_name(code)))?;
    if raw.len() != raw_len {
        return Err(format!("its frame unpacks to {} bytes instead of {raw_len}", raw.len()));
    }
    Ok(raw)
}

fn decompress_with(raw: &mut Vec<u8>, frame: &[u8], prefix: &[u8]) -> zstd_safe::SafeResult {
    let mut context = DCtx::create();
    context.set_parameter(DParameter::WindowLogMax(DELTA_WINDOW_LOG_MAX))?;
    context.ref_prefix(prefix)?;
    context.decompress(raw, frame)
}

fn check_header(frame: &[u8], raw_len: usize, is_delta: bool) -> Result<(), String> {
    if raw_len > FRAME_BYTES_MAX {
        return Err(format!("its frame states {raw_len} bytes, more than {FRAME_BYTES_MAX}"));
    }
    if !frame.starts_with(&MAGIC) {
        return Err("it is no zstd frame".into());
    }
    match zstd_safe::get_frame_content_size(frame) {
        Ok(Some(size)) if size == raw_len as u64 => {}
        Ok(None) => return Err("its frame states no size".into()),
        _ => return Err("its frame states another size".into()),
    }
    match zstd_safe::find_frame_compressed_size(frame) {
        Ok(len) if len == frame.len() => {}
        _ => return Err("it is cut short, or something follows its frame".into()),
    }
    if zstd_safe::get_dict_id_from_frame(frame).is_some() {
        return Err("its frame asks for a dictionary".into());
    }
    let window_max = 1u64 << if is_delta { DELTA_WINDOW_LOG_MAX } else { WINDOW_LOG_MAX };
    match window_bytes(frame) {
        Some(window) if window <= window_max => Ok(()),
        _ => Err("its frame asks for too large a window".into()),
    }
}

/// The window a frame's header asks for, in bytes (RFC 8878, 3.1.1.1.2); None for a single
/// segment beyond its content, which cannot be.
fn window_bytes(frame: &[u8]) -> Option<u64> {
    let descriptor = *frame.get(4)?;
    if descriptor & 0b0010_0000 != 0 {
        return Some(0); // single segment: no more than the content, which was checked
    }
    let window = *frame.get(5)?;
    let base = 1u64 << (10 + (window >> 3));
    Some(base + (base >> 3) * u64::from(window & 7))
}
