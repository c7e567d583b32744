//! Where files are cut. The cut points themselves are pinned in `golden`.

use objects::chunker::{BYTES_MAX, BYTES_MIN, chunks, settled_chunks};
use objects::testing::Random;
use proptest::prelude::*;
use std::ops::Range;

/// Cuts `bytes` as ingest does a large file: part by part, the unsettled end carried over.
fn in_parts(bytes: &[u8], part: usize) -> Vec<Range<usize>> {
    let (mut all, mut start, mut read) = (Vec::new(), 0, 0);
    while read < bytes.len() {
        read = (start + part).min(bytes.len());
        let window = &bytes[start..read];
        let cuts = if read == bytes.len() { chunks(window) } else { settled_chunks(window) };
        let end = cuts.last().map_or(0, |cut| cut.end);
        all.extend(cuts.into_iter().map(|cut| cut.start + start..cut.end + start));
        start += end;
    }
    all
}

fn sample(seed: u64, kind: u8, len: usize) -> Vec<u8> {
    match kind {
        0 => Random::new(seed).bytes(len),
        1 => Random::new(seed).text(len),
        _ => vec![seed as u8; len],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    /// Chunks lie behind each other, fill the file, and keep within the bounds of format 1.
    #[test]
    fn chunks_fill_the_file_within_bounds(seed: u64, kind in 0..3u8, len in 0..400_000usize) {
        let bytes = sample(seed, kind, len);
        let cuts = chunks(&bytes);
        let mut at = 0;
        for (number, cut) in cuts.iter().enumerate() {
            prop_assert_eq!(cut.start, at);
            at = cut.end;
            prop_assert!(cut.len() <= BYTES_MAX);
            prop_assert!(cut.len() >= BYTES_MIN || number + 1 == cuts.len(), "only the last may be short");
        }
        prop_assert_eq!(at, len);
    }

    /// REL-040: a file read in parts is cut where it is cut as a whole, whatever the parts.
    #[test]
    fn parts_are_cut_as_the_whole(seed: u64, kind in 0..3u8, len in 1..600_000usize, part in 70_000..300_000usize) {
        let bytes = sample(seed, kind, len);
        prop_assert_eq!(in_parts(&bytes, part), chunks(&bytes));
    }
}

/// A file up to the minimum is one chunk, the empty one too: each file has at least one.
#[test]
fn small_files_are_one_chunk() {
    for len in [0, 1, BYTES_MIN - 1, BYTES_MIN, BYTES_MIN + 1] {
        assert_eq!(chunks(&vec![1; len]), [0..len], "{len} bytes");
    }
    assert_eq!(chunks(&vec![0; 3 * BYTES_MAX]).len(), 3, "nothing to cut at: every chunk has the maximum");
}

/// C4: a byte put in near the front leaves the cuts behind it where they were.
#[test]
fn an_insertion_changes_few_chunks() {
    let old = Random::new(9).bytes(1 << 20);
    let mut new = old.clone();
    new.insert(100_000, 7);
    let known: std::collections::HashSet<&[u8]> = chunks(&old).into_iter().map(|cut| &old[cut]).collect();
    let fresh = chunks(&new).into_iter().filter(|cut| !known.contains(&new[cut.clone()])).count();
    assert!(fresh <= 3, "{fresh} chunks are new");
}
