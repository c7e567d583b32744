//! Maps and sets of many ids in little memory.
//!
//! ```text
//! id ─▶ fresh, a hash map ─▶ when it has an eighth of what is settled ─▶ settled, one sorted list
//! ```
//!
//! A hash table is a third empty on average, and holds two tables while it grows: 100 MB for a million
//! ids. Here it is 36 MB, however many there are; a few ids are as fast as in a hash map, for they are in one.
//!
//! Promises: nothing that an id may be makes it slow.
//! Leaves to others: taking ids out again, which nobody needs.

use crate::id::ObjectId;
use std::collections::HashMap;

/// So many rows are hashed before any are sorted.
const FRESH_MIN: usize = 16 << 10;
/// One row in so many may be fresh.
const FRESH_SHARE: usize = 8;

/// What is known of ids, in the order of nothing.
#[derive(Clone, Debug)]
pub struct IdMap<V> {
    settled: Vec<(ObjectId, V)>,
    /// Where in the list the ids begin whose first two bytes are these; one more than there are of those.
    starts: Vec<u32>,
    fresh: HashMap<ObjectId, V>,
}

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        IdMap { settled: Vec::new(), starts: Vec::new(), fresh: HashMap::new() }
    }
}

impl<V: Copy> IdMap<V> {
    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.settled.len() + self.fresh.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known of `id`.
    pub fn get(&self, id: &ObjectId) -> Option<&V> {
        match self.place(id) {
            Some(at) => Some(&self.settled[at].1),
            None => self.fresh.get(id),
        }
    }

    /// What is known of `id`, to be changed.
    pub fn get_mut(&mut self, id: &ObjectId) -> Option<&mut V> {
        match self.place(id) {
            Some(at) => Some(&mut self.settled[at].1),
            None => self.fresh.get_mut(id),
        }
    }

    /// Adds an id; false if it is here already: what was known of it stays.
    pub fn insert(&mut self, id: ObjectId, value: V) -> bool {
        let before = self.fresh.len();
        if self.place(&id).is_none() {
            self.fresh.entry(id).or_insert(value);
        }
        let is_new = self.fresh.len() > before;
        if self.fresh.len() >= FRESH_MIN.max(self.settled.len() / FRESH_SHARE) {
            self.settle();
        }
        is_new
    }

    /// All ids, in no order, with what is known of them.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectId, &V)> {
        self.settled.iter().map(|(id, value)| (id, value)).chain(&self.fresh)
    }

    fn place(&self, id: &ObjectId) -> Option<usize> {
        let group = group(id);
        let start = *self.starts.get(group)? as usize;
        let rows = &self.settled[start..self.starts[group + 1] as usize];
        rows.binary_search_by(|row| row.0.cmp(id)).ok().map(|at| start + at)
    }

    /// Merges what is fresh into the list, from its end, so that no second one is needed.
    fn settle(&mut self) {
        let mut fresh: Vec<(ObjectId, V)> = self.fresh.drain().collect();
        fresh.sort_unstable_by_key(|row| row.0);
        let mut left = self.settled.len();
        self.settled.reserve_exact(fresh.len());
        self.settled.extend_from_slice(&fresh);
        for to in (0..self.settled.len()).rev() {
            let Some(row) = fresh.last() else { break };
            if left > 0 && self.settled[left - 1].0 > row.0 {
                left -= 1;
                self.settled[to] = self.settled[left];
            } else {
                self.settled[to] = *row;
                fresh.pop();
            }
        }
        self.count_groups();
    }

    fn count_groups(&mut self) {
        self.starts.clear();
        self.starts.resize((1 << 16) + 1, 0);
        self.settled.iter().for_each(|(id, _)| self.starts[group(id) + 1] += 1);
        for at in 1..self.starts.len() {
            self.starts[at] += self.starts[at - 1];
        }
    }
}

/// The first two bytes of an id.
fn group(id: &ObjectId) -> usize {
    let [first, second, ..] = *id.as_bytes();
    usize::from(first) << 8 | usize::from(second)
}

/// A set of ids, as [`IdMap`] holds them.
#[derive(Clone, Debug, Default)]
pub struct IdSet(IdMap<()>);

impl IdSet {
    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if `id` is in it.
    pub fn contains(&self, id: &ObjectId) -> bool {
        self.0.get(id).is_some()
    }

    /// Adds an id; false if it is here already.
    pub fn insert(&mut self, id: ObjectId) -> bool {
        self.0.insert(id, ())
    }

    /// All ids, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ObjectId> {
        self.0.iter().map(|(id, ())| id)
    }
}

impl Extend<ObjectId> for IdSet {
    fn extend<I: IntoIterator<Item = ObjectId>>(&mut self, ids: I) {
        ids.into_iter().for_each(|id| _ = self.insert(id));
    }
}

impl FromIterator<ObjectId> for IdSet {
    fn from_iter<I: IntoIterator<Item = ObjectId>>(ids: I) -> Self {
        let mut set = IdSet::default();
        set.extend(ids);
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An id that begins as its number ends: all groups are met, and some have many rows.
    fn id(number: u32) -> ObjectId {
        let mut bytes = *ObjectId::of(&number.to_le_bytes()).as_bytes();
        if number.is_multiple_of(3) {
            bytes[..2].copy_from_slice(&[0xff, 0xff]);
        }
        ObjectId::from_bytes(bytes)
    }

    /// It is a map as any other is, whatever is settled and whatever is fresh (REL-019).
    #[test]
    fn every_id_is_found_again_and_no_other() {
        let count = FRESH_MIN as u32 * 4 + 1_000;
        let mut map = IdMap::default();
        for number in 0..count {
            assert!(map.insert(id(number), number));
            assert!(!map.insert(id(number / 2), u32::MAX), "what was known stays");
        }
        assert_eq!(map.len(), count as usize);
        assert!((0..count).all(|number| map.get(&id(number)) == Some(&number)));
        assert!((count..count + 1_000).all(|number| map.get(&id(number)).is_none()));
        *map.get_mut(&id(7)).unwrap() = 70;
        *map.get_mut(&id(count - 1)).unwrap() = 80;
        assert_eq!((map.get(&id(7)), map.get(&id(count - 1))), (Some(&70), Some(&80)));
        let mut all: Vec<ObjectId> = map.iter().map(|(id, _)| *id).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count as usize);
    }

    #[test]
    fn an_empty_set_has_nothing() {
        let set = IdSet::default();
        assert!(set.is_empty() && !set.contains(&id(1)) && set.iter().next().is_none());
        assert_eq!(IdSet::from_iter([id(1), id(2), id(1)]).len(), 2);
    }
}
