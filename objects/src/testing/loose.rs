//! Objects in memory, however wrong: for readers that need nothing but a `Find`.

use crate::id::ObjectId;
use crate::object::{Bytes, Error, Find};
use std::collections::HashMap;

/// Some objects by their ids.
#[derive(Default)]
pub struct Loose(HashMap<ObjectId, Bytes>);

impl Loose {
    /// Objects behind each other, each after its length (u32 little-endian), the last maybe cut; and
    /// the id of the last one.
    pub fn read(mut list: &[u8]) -> (Loose, Option<ObjectId>) {
        let (mut objects, mut last) = (Loose::default(), None);
        while let Some((len, rest)) = list.split_first_chunk::<4>() {
            let len = (u32::from_le_bytes(*len) as usize).min(rest.len());
            let (object, rest) = rest.split_at(len);
            last = Some(objects.add(object));
            list = rest;
        }
        (objects, last)
    }

    /// What [`Loose::read`] reads as `objects`.
    pub fn write<B: AsRef<[u8]>>(objects: &[B]) -> Vec<u8> {
        let with_length =
            |object: &B| [&(object.as_ref().len() as u32).to_le_bytes(), object.as_ref()].concat();
        objects.iter().flat_map(with_length).collect()
    }

    /// Adds one.
    pub fn add(&mut self, object: &[u8]) -> ObjectId {
        let id = ObjectId::of(object);
        self.0.insert(id, Bytes::from(object.to_vec()));
        id
    }
}

impl Find for Loose {
    fn try_find(&self, id: &ObjectId) -> Result<Option<Bytes>, Error> {
        Ok(self.0.get(id).cloned())
    }
}
