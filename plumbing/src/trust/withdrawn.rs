//! Keys that were retired or revoked, grants that ended, and what of theirs still stands (steps 12 and
//! 13, SEC-056).
//!
//! A withdrawn key counts only for log entries up to its checkpoint. Position decides, not dates: a
//! thief can write any date, but cannot put an entry before one that everybody has.

use super::state::Log;
use objects::id::StatementId;
use objects::identity::{Identity, Role, Withdrawal};
use objects::key::PublicKey;
use objects::release::LogHead;

/// `role` as far as its keys count today: without those `newest` has withdrawn. None if too few
/// are left to meet the threshold.
pub(super) fn present(role: &Role, newest: &Identity) -> Option<Role> {
    without(role, |key| withdrawals(newest, key).next().is_some())
}

/// `role` as far as its keys count for entry `seq` of `log`. `entry_at` knows the log.
///
/// # Errors
/// What `entry_at` met.
pub(super) fn covering<E>(
    role: &Role,
    newest: &Identity,
    (log, seq): (&Log, u64),
    entry_at: impl Fn(u64) -> Result<Option<StatementId>, E>,
) -> Result<Option<Role>, E> {
    let mut dropped = Vec::new();
    for key in role.keys() {
        for withdrawal in withdrawals(newest, key) {
            if !covers(&withdrawal.checkpoint, (log, seq), &entry_at)? {
                dropped.push(*key);
            }
        }
    }
    Ok(without(role, |key| dropped.contains(key)))
}

fn withdrawals<'a>(newest: &'a Identity, key: &'a PublicKey) -> impl Iterator<Item = &'a Withdrawal> {
    newest.revoked.iter().chain(&newest.retired).filter(move |withdrawal| withdrawal.key == *key)
}

/// True if the checkpoint's head of this log is the log's own entry there, at or after `seq`: then
/// the entry is among those the issuer stands by.
pub(super) fn covers<E>(
    checkpoint: &[LogHead],
    (log, seq): (&Log, u64),
    entry_at: impl Fn(u64) -> Result<Option<StatementId>, E>,
) -> Result<bool, E> {
    let of_log = |head: &&LogHead| {
        head.owner == log.owner && head.name == log.name && head.signer == log.signer && head.seq >= seq
    };
    match checkpoint.iter().find(of_log) {
        Some(head) => Ok(entry_at(head.seq)? == Some(head.entry)),
        None => Ok(false),
    }
}

fn without(role: &Role, dropped: impl Fn(&PublicKey) -> bool) -> Option<Role> {
    let kept: Vec<PublicKey> = role.keys().iter().copied().filter(|key| !dropped(key)).collect();
    if kept.len() == role.keys().len() {
        return Some(role.clone());
    }
    let threshold = u32::try_from(role.threshold()).ok()?;
    Role::new(kept, threshold).ok()
}
