//! Where symbolic links lead.
//!
//! Promises: a link that passed leads, by itself and through every other link of the archive, to a
//! place inside the root, whether something is there or not. The check runs over the links alone,
//! once all are known.
//! Leaves to others: to never write through a link (`root`).

use std::collections::HashMap;

use super::Limits;
use super::error::{At, Fault, Reason};

/// Bytes of all links, their paths and targets. Real archives stay below a few MiB; this bounds our
/// memory.
const BYTES_MAX: u64 = 16 << 20;
/// Links behind each other, as many as Linux follows.
const HOPS_MAX: usize = 40;
/// Names looked at for all links together: a second of work, and a hundred times what honest
/// archives need.
const STEPS_MAX: u64 = 20_000_000;

/// All links, as a tree of the names on the way to them.
pub(super) struct Links {
    nodes: Vec<Node>,
    paths: Vec<(String, String)>,
    bytes: u64,
}

#[derive(Default)]
struct Node {
    children: HashMap<String, usize>,
    link: Option<usize>,
}

const ROOT: usize = 0;

impl Links {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()], paths: Vec::new(), bytes: 0 }
    }

    /// Notes a link, after a look at its target alone.
    pub(super) fn add(&mut self, path: &str, target: &str, limits: &Limits) -> Result<(), Reason> {
        judge(target, limits)?;
        self.bytes += (path.len() + target.len()) as u64;
        if self.bytes > BYTES_MAX {
            return Err(Reason::Limit { what: "bytes of links", limit: BYTES_MAX });
        }
        let mut node = ROOT;
        for name in path.split('/') {
            node = self.child_or_new(node, name);
        }
        self.nodes[node].link = Some(self.paths.len());
        self.paths.push((path.to_owned(), target.to_owned()));
        Ok(())
    }

    fn child_or_new(&mut self, node: usize, name: &str) -> usize {
        if let Some(&child) = self.nodes[node].children.get(name) {
            return child;
        }
        let child = self.nodes.len();
        self.nodes.push(Node::default());
        self.nodes[node].children.insert(name.to_owned(), child);
        child
    }

    /// Follows every link. `floor` is the number of folders at the top that will be taken away, and
    /// which no link may therefore climb out of.
    pub(super) fn check(&self, floor: usize) -> Result<(), Fault> {
        let mut steps = STEPS_MAX;
        for (path, target) in &self.paths {
            self.follow(path, floor, &mut steps).map_err(|why| why.into_reason(target)).at(path)?;
        }
        Ok(())
    }

    /// Walks from the root along `path`, taking each link on the way for what it stands for.
    fn follow(&self, path: &str, floor: usize, steps: &mut u64) -> Result<(), Stray> {
        let mut here: Vec<Option<usize>> = vec![Some(ROOT)];
        let mut ahead: Vec<&str> = path.split('/').rev().collect();
        let mut hops = 0;
        while let Some(name) = ahead.pop() {
            *steps = steps.checked_sub(1).ok_or(Stray::TooLong)?;
            match name {
                "" | "." => {}
                ".." if here.len() <= floor + 1 => return Err(Stray::Outside),
                ".." => {
                    here.pop();
                }
                _ => {
                    let node = here.last().copied().flatten().and_then(|node| self.child(node, name));
                    let Some(link) = node.and_then(|node| self.nodes[node].link) else {
                        here.push(node);
                        continue;
                    };
                    hops += 1;
                    if hops > HOPS_MAX {
                        return Err(Stray::Circle);
                    }
                    ahead.extend(self.paths[link].1.split('/').rev());
                }
            }
        }
        Ok(())
    }

    fn child(&self, node: usize, name: &str) -> Option<usize> {
        self.nodes[node].children.get(name).copied()
    }
}

/// How a walk along a link went wrong.
enum Stray {
    Outside,
    Circle,
    TooLong,
}

impl Stray {
    fn into_reason(self, target: &str) -> Reason {
        let link = |why| Reason::Link { target: target.to_owned(), why };
        match self {
            Stray::Outside => link("leads out of the package"),
            Stray::Circle => link("leads in a circle, or through too many links"),
            Stray::TooLong => Reason::Limit { what: "steps along links", limit: STEPS_MAX },
        }
    }
}

/// What can be said about a target without knowing where the link is.
fn judge(target: &str, limits: &Limits) -> Result<(), Reason> {
    let bad = |why| Err(Reason::Link { target: target.to_owned(), why });
    if target.len() > limits.path_bytes {
        return Err(Reason::Limit { what: "bytes in a link", limit: limits.path_bytes as u64 });
    }
    let drive = target.as_bytes().get(1) == Some(&b':') && target.as_bytes()[0].is_ascii_alphabetic();
    match target {
        "" => bad("is empty"),
        _ if target.starts_with(['/', '\\']) || drive => bad("is absolute"),
        _ if target.chars().any(char::is_control) => bad("holds a control character"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(links: &[(&str, &str)], floor: usize) -> Option<&'static str> {
        let mut all = Links::new();
        for (path, target) in links {
            if let Err(reason) = all.add(path, target, &Limits::default()) {
                return Some(reason.code());
            }
        }
        all.check(floor).err().map(|fault| fault.of("x".as_ref()).code())
    }

    #[test]
    fn links_that_stay_inside_are_taken() {
        for links in [
            &[("a", "b")][..],
            &[("lib/x.so", "x.so.1"), ("lib/x.so.1", "../lib64/x.so.1.2")],
            &[("d/e/up", "../.."), ("d/e/here", "up/d/e/f")],
            &[("a", "."), ("b", "a/a/a/c")],
            &[("gone", "not/there/at/all")],
        ] {
            assert_eq!(code(links, 0), None, "{links:?}");
        }
    }

    /// SEC-004.
    #[test]
    fn links_that_leave_by_themselves_or_through_others_are_refused() {
        for links in [
            &[("l", "..")][..],
            &[("l", "../../victim")],
            &[("l", "/victim")],
            &[("l", "\\victim")],
            &[("l", "c:victim")],
            &[("l", "")],
            &[("l", "a\0b")],
            &[("a/b/up", "../.."), ("x/y/l", "../../a/b/up/../victim")],
            &[("s", "."), ("l", "s/missing/../..")],
            &[("d/one", ".."), ("d/two", "one/..")],
            &[("a", "b"), ("b", "a")],
            &[("a", "a")],
        ] {
            assert_eq!(code(links, 0), Some("E-PATH"), "{links:?}");
        }
    }

    #[test]
    fn links_into_a_folder_that_goes_away_are_refused() {
        assert_eq!(code(&[("package/a", "../package/b")], 0), None);
        assert_eq!(code(&[("package/a", "../package/b")], 1), Some("E-PATH"));
        assert_eq!(code(&[("package/d/a", "../b")], 1), None);
    }

    /// Work is bounded, not only memory: every link here leads through forty others.
    #[test]
    fn links_that_are_dear_to_follow_are_refused() {
        let long = "x/../".repeat(800);
        let links: Vec<_> = (0..3000).map(|n| (format!("l{n}"), format!("{long}l{}", n + 1))).collect();
        let links: Vec<_> = links.iter().map(|(path, target)| (path.as_str(), target.as_str())).collect();
        assert!(matches!(code(&links, 0), Some("E-LIMIT" | "E-PATH")));
    }
}
