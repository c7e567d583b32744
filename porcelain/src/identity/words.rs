//! Statements in words: what changes, so that a person can say yes or no.
//!
//! Promises: every key, name and id that a signature would approve is shown whole.

use super::ROLES;
use crate::clock;
use objects::grants::{Grant, Grants};
use objects::id::IdentityId;
use objects::identity::{Chain, Identity, Role, Withdrawal};
use objects::release::{Action, Entry, LogHead, Release};
use objects::signed::Verified;
use std::collections::BTreeSet;

/// What an identity is called: `acme (id:…)`.
pub(super) fn called(id: IdentityId, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{name} (id:{})", id.to_hex()),
        None => format!("id:{}", id.to_hex()),
    }
}

/// A document of an identity, against the one before.
pub(super) fn identity(id: IdentityId, old: Option<&Identity>, new: &Identity) -> Vec<String> {
    let mut says = vec![format!("document {} of {}", new.n, called(id, new.name.as_deref()))];
    match old {
        None => founding(new, &mut says),
        Some(old) => says.extend(changes(old, new)),
    }
    if old.is_none_or(|old| old.expires != new.expires) {
        says.extend(new.expires.map(|time| format!("counts as the newest until {}", clock::shown(time))));
    }
    says
}

fn founding(new: &Identity, says: &mut Vec<String>) {
    for (names, role) in by_role(new) {
        let keys: Vec<String> = role.keys().iter().map(ToString::to_string).collect();
        says.push(format!("{}: {} of {}", names.join(", "), role.threshold(), keys.join(", ")));
    }
    if new.recovery.is_none() {
        says.push("recovery: none; if root is lost, so is the identity".into());
    }
}

/// Roles with equal keys and thresholds, together.
pub(super) fn by_role(document: &Identity) -> Vec<(Vec<&'static str>, &Role)> {
    let mut grouped: Vec<(Vec<&'static str>, &Role)> = Vec::new();
    for name in ROLES {
        let Some(role) = document.role(name) else { continue };
        match grouped.iter_mut().find(|(_, known)| *known == role) {
            Some((names, _)) => names.push(name),
            None => grouped.push((vec![name], role)),
        }
    }
    grouped
}

/// What differs between two documents, a line each.
pub(super) fn changes(old: &Identity, new: &Identity) -> Vec<String> {
    let mut says = Vec::new();
    for name in ROLES {
        says.extend(role_changes(name, old.role(name), new.role(name)));
    }
    for (word, old, new) in [("revokes", &old.revoked, &new.revoked), ("retires", &old.retired, &new.retired)]
    {
        for withdrawal in new.iter().filter(|withdrawal| !old.contains(withdrawal)) {
            says.push(format!("{word} {}; {}", withdrawal.key, stands(withdrawal)));
        }
    }
    for reset in &new.reset {
        says.push(format!("the numbering of {} starts anew after {}", reset.role, reset.n));
    }
    if old.name != new.name {
        says.push(format!("calls itself {}", new.name.as_deref().unwrap_or("nothing")));
    }
    if says.is_empty() {
        says.push("changes nothing".into());
    }
    says
}

fn role_changes(name: &str, old: Option<&Role>, new: Option<&Role>) -> Vec<String> {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) if old == new => return Vec::new(),
        (Some(old), Some(new)) => (old, new),
        (None, None) => return Vec::new(),
        (Some(_), None) => return vec![format!("{name}: is given up")],
        (None, Some(new)) => {
            let keys: Vec<String> = new.keys().iter().map(ToString::to_string).collect();
            return vec![format!("{name}: {} of {}", new.threshold(), keys.join(", "))];
        }
    };
    let not_in = |these: &Role, those: &Role| -> Vec<String> {
        these.keys().iter().filter(|key| !those.keys().contains(key)).map(ToString::to_string).collect()
    };
    let mut says = Vec::new();
    says.extend(not_in(old, new).into_iter().map(|key| format!("{name}: {key} leaves")));
    says.extend(not_in(new, old).into_iter().map(|key| format!("{name}: {key} comes")));
    if old.threshold() != new.threshold() || old.keys().len() != new.keys().len() {
        let (from, of) = (old.threshold(), old.keys().len());
        says.push(format!(
            "{name}: {} of {} have to sign, before {from} of {of}",
            new.threshold(),
            new.keys().len()
        ));
    }
    says
}

fn stands(withdrawal: &Withdrawal) -> String {
    format!("of what it signed in logs stands {}", heads(&withdrawal.checkpoint))
}

fn heads(checkpoint: &[LogHead]) -> String {
    let shown: Vec<String> = checkpoint
        .iter()
        .map(|head| format!("{} up to entry {} ({})", head.name, head.seq, head.entry))
        .collect();
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

/// A document of grants, against the one before.
pub(super) fn grants(chain: &Chain, old: Option<&Grants>, new: &Grants) -> Vec<String> {
    let name = chain.head().name.clone();
    let mut says = vec![format!("grants {} of {}", new.n, called(chain.id(), name.as_deref()))];
    let no: &[Grant] = &[];
    let before = old.map_or(no, |old| &old.grants);
    for grant in new.grants.iter().filter(|grant| !before.contains(grant)) {
        says.push(format!("lets {}", terms(grant)));
    }
    let ended: BTreeSet<_> =
        old.iter().flat_map(|old| &old.ended).map(|end| end.grant.id(chain.id())).collect();
    for end in new.ended.iter().filter(|end| !ended.contains(&end.grant.id(chain.id()))) {
        says.push(format!(
            "ends what lets {}; of what was done under it stands {}",
            terms(&end.grant),
            heads(&end.checkpoint)
        ));
    }
    let dropped = before
        .iter()
        .filter(|grant| !new.grants.contains(grant) && !new.ended.iter().any(|end| end.grant == **grant));
    says.extend(dropped.map(|grant| format!("forgets what lets {}", terms(grant))));
    let kept = new.grants.iter().filter(|grant| before.contains(grant)).count();
    if kept > 0 {
        says.push(format!("keeps {kept} others").replace("1 others", "1 other"));
    }
    says
}

/// The terms of a grant: `id:… release, yank acme/* from … until …`.
pub(super) fn terms(grant: &Grant) -> String {
    let permissions: Vec<String> = grant.permissions.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = grant.names.iter().map(|pattern| pattern.as_str()).collect();
    let mut says = format!("id:{} {} {}", grant.to.to_hex(), permissions.join(", "), names.join(" "));
    says.push_str(&format!(" from {}", clock::shown(grant.from)));
    if let Some(until) = grant.until {
        says.push_str(&format!(" until {}", clock::shown(until)));
    }
    if grant.depth > 0 {
        says.push_str(&format!(", and hand it on {} deep", grant.depth));
    }
    if grant.terminating {
        says.push_str(", and nobody behind it");
    }
    says
}

/// An entry of a package's log.
pub(super) fn entry(chain: &Chain, entry: &Entry) -> Vec<String> {
    let signer: &Verified<Identity> = chain.head();
    let mut says = vec![
        format!("entry {} of {} as {}", entry.seq, entry.name, called(chain.id(), signer.name.as_deref())),
        format!("the package belongs to id:{}", entry.owner.to_hex()),
    ];
    match &entry.action {
        Action::Release(release) => {
            says.push(format!("releases {} {} ({})", entry.name, release.version, release.channel));
            says.push(format!(
                "content {}: {} bytes in {} entries",
                release.tree, release.size, release.files
            ));
            says.extend(described(release));
        }
        Action::Yank { version, reason } => {
            says.push(format!("withdraws {} {version}: {reason}", entry.name))
        }
        Action::Unyank { version } => {
            says.push(format!("takes the withdrawal of {} {version} back", entry.name))
        }
        Action::Transfer { to } => says.push(format!("hands {} over to id:{}", entry.name, to.to_hex())),
    }
    says
}

/// What else a release says that an installer acts on or shows.
fn described(release: &Release) -> Vec<String> {
    let mut says = Vec::new();
    for needed in &release.dependencies {
        let owner = needed.owner.map(|owner| format!(" of id:{}", owner.to_hex())).unwrap_or_default();
        says.push(format!("needs {} {}{owner}", needed.name, needed.requirement));
    }
    says.extend(
        release
            .conflicts
            .iter()
            .map(|other| format!("stands not beside {} {}", other.name, other.requirement)),
    );
    says.extend(release.variants.iter().map(|(name, variant)| format!("variant {name}: {}", variant.tree)));
    says.extend(release.scripts.iter().map(|(name, id)| format!("script {name}: {id}")));
    says.extend(release.requires_pkg.iter().map(|version| format!("needs pkg {version}")));
    says.extend(release.about.description.iter().map(|text| format!("says of itself: {text}")));
    says
}
