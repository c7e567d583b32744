//! Trees, blobs, links, and what hangs below a tree.

use super::same;
use crate::archive;
use crate::blob::{self, Blob};
use crate::fan;
use crate::id::{ObjectId, TreeId};
use crate::links as link_rules;
use crate::object::Error;
use crate::testing::Loose;
use crate::tree::{self, Tree};
use crate::walk;
use std::collections::BTreeMap;

/// A tree: one spelling; its entries build the same tree again.
pub fn tree(data: &[u8]) -> bool {
    let Ok(decoded) = Tree::decode(data) else { return false };
    same("tree", &decoded.encode(), data);
    if let Tree::Entries(entries) = decoded
        && entries.len() <= fan::SPLIT_ROWS
    {
        let built = tree::build(entries).expect("its names are sorted and distinct");
        assert!(built.len() == 1 && built[0].1 == data, "its entries build another tree");
        assert_eq!(built[0].0.object(), ObjectId::of(data));
    }
    true
}

/// A blob: one spelling, lengths that add up.
pub fn blob(data: &[u8]) -> bool {
    let Ok(decoded) = Blob::decode(data) else { return false };
    same("blob", &decoded.encode(), data);
    if let Blob::Chunks { size, pieces } = decoded {
        assert_eq!(pieces.iter().map(|piece| u128::from(piece.1)).sum::<u128>(), u128::from(size));
        if pieces.len() <= fan::SPLIT_ROWS {
            assert!(blob::build(&pieces).iter().any(|(_, bytes)| bytes == data), "its pieces build another");
        }
    }
    true
}

/// The links of a package, a line each: path, tab, target. What passes has no absolute target.
pub fn links(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let rows = text.lines().filter_map(|line| line.split_once('\t'));
    let links: BTreeMap<String, String> =
        rows.map(|(path, target)| (path.to_owned(), target.to_owned())).collect();
    let taken = link_rules::check(&links).is_ok();
    assert!(!taken || links.values().all(|target| !target.starts_with('/') && !target.is_empty()));
    taken && !links.is_empty()
}

/// Most entries that a walk of a fuzzed tree looks at.
const FILES_MAX: u64 = 2_000;

/// Objects as [`Loose::read`] takes them; the last one is walked as a tree in every way there is. Trees
/// may name each other again and again.
pub fn closure(data: &[u8]) -> bool {
    let (objects, last) = Loose::read(data);
    let Some(root) = last.map(TreeId::new) else { return false };
    let listed = walk::closure(&objects, root, &mut walk::Seen::default());
    let _ = walk::check_links(&objects, root, FILES_MAX);
    let _ = walk::entry_at(&objects, root, "a/b");
    let (mut below, mut whole) = (0u64, true);
    let visited = walk::visit::<Error>(&objects, root, FILES_MAX, &mut |_, entry| {
        below += 1;
        whole &= walk::pieces(&objects, entry).is_ok();
        let _ = walk::read_file(&objects, entry, 1 << 16);
        Ok(())
    });
    if let Ok(totals) = &visited {
        assert_eq!(totals.files, below);
        assert!(listed.is_ok() || !whole, "what can be visited can be listed");
        if totals.bytes <= 1 << 20 {
            let written = archive::write_tree(&objects, root, &mut std::io::sink());
            assert!(written.is_err() || written.is_ok_and(|bytes| bytes >= totals.bytes));
        }
    }
    visited.is_ok()
}
