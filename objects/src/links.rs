//! Where symbolic links lead.
//!
//! Promises: a package whose links pass [`check`] has none that is absolute or leaves the package,
//! by itself or through other links (SEC-004).

use crate::limits::LINK_BYTES_MAX;
use crate::object::Error;
use std::collections::{BTreeMap, VecDeque};

/// Links followed before a path is taken to be hostile; the kernel gives up at 40.
const FOLLOWED_MAX: usize = 64;

/// Checks all links of a package: path to target.
///
/// # Errors
/// `Link` for the first that leads out.
pub fn check(links: &BTreeMap<String, String>) -> Result<(), Error> {
    for (path, target) in links {
        if leads_out(links, path, target) {
            return Err(Error::Link { path: path.clone(), target: target.clone() });
        }
    }
    Ok(())
}

fn leads_out(links: &BTreeMap<String, String>, path: &str, target: &str) -> bool {
    if is_absolute(target) || target.is_empty() || target.contains('\0') || target.len() > LINK_BYTES_MAX {
        return true;
    }
    // `a\b` is one step on Unix and two on Windows; a link has to stay inside on both.
    climbs(links, path, target, &['/']) || climbs(links, path, target, &['/', '\\'])
}

fn climbs(links: &BTreeMap<String, String>, path: &str, target: &str, separators: &[char]) -> bool {
    let mut at: Vec<&str> = path.split('/').collect();
    at.pop();
    let mut ahead: VecDeque<&str> = target.split(separators).collect();
    let mut followed = 0;
    while let Some(step) = ahead.pop_front() {
        match step {
            "" | "." => continue,
            ".." => match at.pop() {
                Some(_) => continue,
                None => return true,
            },
            name => at.push(name),
        }
        if let Some(next) = links.get(&at.join("/")) {
            followed += 1;
            if followed > FOLLOWED_MAX || is_absolute(next) {
                return true;
            }
            at.pop();
            let parts: Vec<&str> = next.split(separators).collect();
            parts.into_iter().rev().for_each(|part| ahead.push_front(part));
        }
    }
    false
}

fn is_absolute(target: &str) -> bool {
    let bytes = target.as_bytes();
    let drive = bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    drive || target.starts_with(['/', '\\'])
}
