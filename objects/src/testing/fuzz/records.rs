//! What stands in an index and beside the packs: records, rows, the summary, the list of packs.

use super::{same, with_sum};
use crate::claim::{IdentityRow, PackageRecord};
use crate::packlist;
use crate::summary::Summary;

/// A summary: one spelling.
pub fn summary(data: &[u8]) -> bool {
    let Ok(summary) = Summary::decode(data) else { return false };
    same("summary", &summary.encode(), data);
    true
}

/// A package's record: one spelling, versions in order.
pub fn package_record(data: &[u8]) -> bool {
    let Ok(record) = PackageRecord::decode(data) else { return false };
    same("record", &record.encode(), data);
    assert!(record.versions.windows(2).all(|pair| pair[0].release.version < pair[1].release.version));
    true
}

/// The row of an identity: one spelling.
pub fn identity_row(data: &[u8]) -> bool {
    let Ok(row) = IdentityRow::decode(data) else { return false };
    same("row", &row.encode(), data);
    true
}

/// Where the rows begin in a list of packs, and what stands behind them before the checksum.
const LIST_HEAD_BYTES: usize = 9;
const SUM_HEAD_BYTES: usize = 2;

/// A list of packs: one spelling.
pub fn pack_list(data: &[u8]) -> bool {
    let rows = data.len().checked_sub(SUM_HEAD_BYTES + 32).and_then(|end| data.get(LIST_HEAD_BYTES..end));
    let mended = rows.and_then(|rows| with_sum(data, rows));
    mended.is_some_and(|mended| listed(&mended)) | listed(data)
}

fn listed(data: &[u8]) -> bool {
    let Ok(packs) = packlist::decode(data) else { return false };
    same("list of packs", &packlist::encode(&packs), data);
    true
}
