//! Damage as disks do it: a bit that flips, an end that is lost, a stretch of zeros, a lost file.

use super::Random;
use std::fs;
use std::path::Path;

/// One thing that happens to one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit changes.
    Flip {
        /// The byte.
        at: usize,
        /// The bit, 0 to 7.
        bit: u8,
    },
    /// Only the first bytes are left.
    Cut {
        /// How many.
        len: usize,
    },
    /// A stretch reads as zeros.
    Zero {
        /// The first byte.
        at: usize,
        /// How many.
        len: usize,
    },
    /// The file is gone.
    Delete,
}

impl Damage {
    /// Some damage that changes a file with this content, which must not be empty.
    pub fn random(random: &mut Random, content: &[u8]) -> Damage {
        let len = content.len() as u64;
        let at = random.below(len) as usize;
        match random.below(4) {
            0 => Damage::Cut { len: at },
            1 => Damage::Delete,
            2 if content[at] != 0 => Damage::Zero { at, len: 1 + random.below(len - at as u64) as usize },
            _ => Damage::Flip { at, bit: random.below(8) as u8 },
        }
    }

    /// A flip of one random bit of a file of `len` bytes.
    pub fn flip(random: &mut Random, len: usize) -> Damage {
        Damage::Flip { at: random.below(len as u64) as usize, bit: random.below(8) as u8 }
    }

    /// The content after the damage, or None if it is gone.
    pub fn of(self, content: &[u8]) -> Option<Vec<u8>> {
        let mut content = content.to_vec();
        match self {
            Damage::Flip { at, bit } => content[at] ^= 1 << bit,
            Damage::Cut { len } => content.truncate(len),
            Damage::Zero { at, len } => content[at..at + len].fill(0),
            Damage::Delete => return None,
        }
        Some(content)
    }

    /// Does it to the file at `path`. A new file takes its place, so that readers which have the
    /// old one open or mapped keep it.
    pub fn apply(self, path: &Path) {
        let content = fs::read(path).expect("the file to be damaged is there");
        fs::remove_file(path).expect("the folder is ours");
        if let Some(content) = self.of(&content) {
            fs::write(path, content).expect("the folder is ours");
        }
    }
}
