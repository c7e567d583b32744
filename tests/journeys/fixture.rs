//! Packages to tell stories with: made by rule, the same on every machine.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Numbers that look random and are the same every time (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }

    /// Bytes that nothing compresses.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.roll() as u8).collect()
    }

    /// Text of about `n` bytes, in lines.
    pub fn prose(&mut self, n: usize) -> String {
        const WORDS: [&str; 16] = [
            "tree", "frame", "chunk", "index", "beacon", "entry", "mirror", "release", "packet", "object",
            "signed", "folder", "window", "prefix", "river", "stone",
        ];
        let mut text = String::new();
        while text.len() < n {
            text.push_str(WORDS[self.below(WORDS.len())]);
            text.push_str(&self.below(1000).to_string());
            text.push(if self.below(9) == 0 { '\n' } else { ' ' });
        }
        text
    }
}

/// A `pkg.toml` of `name` and `version`, with more lines behind it.
pub fn manifest(folder: &Path, name: &str, version: &str, more: &str) {
    fs::create_dir_all(folder).unwrap();
    let text = format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\ndescription = \"a fixture\"\nlicense = \"MIT\"\n{more}"
    );
    fs::write(folder.join("pkg.toml"), text).unwrap();
}

/// A small package with one of everything: text, a tool, a link, an empty file, an empty folder.
pub fn hello(folder: &Path, version: &str) {
    manifest(folder, "hello", version, "");
    for sub in ["bin", "doc/empty"] {
        fs::create_dir_all(folder.join(sub)).unwrap();
    }
    fs::write(folder.join("greeting.txt"), format!("hello from {version}\n")).unwrap();
    fs::write(folder.join("doc/nothing"), "").unwrap();
    let tool = folder.join("bin/hello");
    fs::write(&tool, "#!/bin/sh\ncat \"$(dirname \"$0\")/../greeting.txt\"\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let _ = fs::remove_file(folder.join("doc/greeting"));
    symlink("../greeting.txt", folder.join("doc/greeting")).unwrap();
}

/// A package of one text, which may need others.
pub fn small(folder: &Path, name: &str, version: &str, dependencies: &str) {
    manifest(folder, name, version, &format!("[dependencies]\n{dependencies}"));
    fs::write(folder.join("text.txt"), format!("{name} {version}\n")).unwrap();
}

/// About 2 MiB of text, binary data and many small files.
pub fn large(folder: &Path, version: &str) {
    manifest(folder, "large", version, "");
    let mut dice = Dice(7);
    fs::create_dir_all(folder.join("data")).unwrap();
    fs::write(folder.join("words.txt"), dice.prose(700 << 10)).unwrap();
    fs::write(folder.join("image.bin"), dice.bytes(900 << 10)).unwrap();
    for n in 0..60 {
        fs::write(folder.join(format!("data/{n:02}.json")), dice.prose(8 << 10)).unwrap();
    }
}

/// Edits [`large`] as a next version does: a few words, a few inserted bytes, one file renamed.
pub fn edit_large(folder: &Path, version: &str) {
    manifest(folder, "large", version, "");
    let words = folder.join("words.txt");
    let mut text = fs::read_to_string(&words).unwrap();
    for at in [10_000, 200_000, 500_000] {
        text.insert_str(at, "a word that is new ");
    }
    fs::write(&words, text).unwrap();
    let image = folder.join("image.bin");
    let mut bytes = fs::read(&image).unwrap();
    let tail = bytes.split_off(300_000);
    bytes.extend_from_slice(b"inserted in the middle of it");
    bytes.extend_from_slice(&tail);
    fs::write(&image, bytes).unwrap();
    let _ = fs::rename(folder.join("data/07.json"), folder.join("data/seven.json"));
}
