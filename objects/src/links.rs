//! Where symbolic links lead.
//!
//! Promises: a package whose links pass [`check`] has none that is absolute or leaves the package,
//! by itself or through other links (SEC-004). The work grows with the number of links, however they
//! lead through each other.

use crate::limits::LINK_BYTES_MAX;
use crate::object::Error;
use std::collections::{BTreeMap, VecDeque};

/// Links followed before a path is taken to be hostile; the kernel gives up at 40.
const FOLLOWED_MAX: usize = 64;
/// Names stepped over, of a whole package: so many, and so many more for each link. Links of some
/// thousand names each that go through each other could ask for billions.
const STEPS_MAX: usize = 16_384;
const STEPS_PER_LINK: usize = 256;

/// Checks all links of a package: path to target.
///
/// # Errors
/// `Link` for the first that leads out, or that asks for more work than honest ones do.
pub fn check(links: &BTreeMap<String, String>) -> Result<(), Error> {
    let mut walk = Walk { links, steps: STEPS_MAX + STEPS_PER_LINK * links.len() };
    for (path, target) in links {
        if walk.leads_out(path, target) {
            return Err(Error::Link { path: path.clone(), target: target.clone() });
        }
    }
    Ok(())
}

struct Walk<'a> {
    links: &'a BTreeMap<String, String>,
    /// How many names may still be stepped over.
    steps: usize,
}

impl Walk<'_> {
    fn leads_out(&mut self, path: &str, target: &str) -> bool {
        if is_absolute(target) || target.is_empty() || target.contains('\0') || target.len() > LINK_BYTES_MAX
        {
            return true;
        }
        // `a\b` is one step on Unix and two on Windows; a link has to stay inside on both.
        self.climbs(path, target, &['/']) || self.climbs(path, target, &['/', '\\'])
    }

    fn climbs(&mut self, path: &str, target: &str, separators: &[char]) -> bool {
        let mut at = path.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
        let mut ahead: VecDeque<&str> = target.split(separators).collect();
        let mut followed = 0;
        while let Some(step) = ahead.pop_front() {
            match self.steps.checked_sub(1) {
                Some(left) => self.steps = left,
                None => return true,
            }
            match step {
                "" | "." => continue,
                ".." if at.is_empty() => return true,
                ".." => {
                    at.truncate(parent_len(&at));
                    continue;
                }
                name => push(&mut at, name),
            }
            if let Some(next) = self.links.get(&at) {
                followed += 1;
                if followed > FOLLOWED_MAX || is_absolute(next) {
                    return true;
                }
                at.truncate(parent_len(&at));
                next.split(separators).rev().for_each(|part| ahead.push_front(part));
            }
        }
        false
    }
}

fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(name);
}

/// Length of what `path` lies in.
fn parent_len(path: &str) -> usize {
    path.rfind('/').unwrap_or(0)
}

fn is_absolute(target: &str) -> bool {
    let bytes = target.as_bytes();
    let drive = bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    drive || target.starts_with(['/', '\\'])
}
