//! Writers of small archives: by the crates that know how, and by hand where those refuse to lie.

use std::io::{Cursor, Write};

use flate2::write::GzEncoder;

/// One entry, good or bad.
#[derive(Clone)]
pub(crate) enum Item {
    File(String, u32, Vec<u8>),
    Folder(String),
    Link(String, String),
}

pub(crate) fn file(name: &str, content: &str) -> Item {
    Item::File(name.into(), 0o644, content.into())
}

pub(crate) fn program(name: &str, content: &str) -> Item {
    Item::File(name.into(), 0o755, content.into())
}

pub(crate) fn folder(name: &str) -> Item {
    Item::Folder(name.into())
}

pub(crate) fn link(name: &str, target: &str) -> Item {
    Item::Link(name.into(), target.into())
}

/// A tar archive of what `items` say, with nothing checked.
pub(crate) fn tar(items: &[Item]) -> Vec<u8> {
    let mut tar = Tar::default();
    for item in items {
        match item {
            Item::File(name, mode, content) => tar.put(name.as_bytes(), b'0', *mode, b"", content),
            Item::Folder(name) => tar.put(name.as_bytes(), b'5', 0o755, b"", b""),
            Item::Link(name, target) => tar.put(name.as_bytes(), b'2', 0o777, target.as_bytes(), b""),
        }
    }
    tar.end()
}

/// Writes tar headers as told.
#[derive(Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn put(&mut self, name: &[u8], kind: u8, mode: u32, target: &[u8], content: &[u8]) {
        self.header(name, kind, mode, target, content.len() as u64);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    pub(crate) fn header(&mut self, name: &[u8], kind: u8, mode: u32, target: &[u8], size: u64) {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name);
        header[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
        header[108..124].copy_from_slice(b"0000000\x000000000\0");
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[156] = kind;
        header[157..157 + target.len()].copy_from_slice(target);
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
    }

    /// A pax header for the next entry, or for all with `kind` `g`.
    pub(crate) fn pax(&mut self, kind: u8, records: &[(&str, &str)]) {
        let record = |(key, value): &(&str, &str)| {
            let rest = key.len() + value.len() + 3;
            let length = (rest..).find(|length| rest + length.to_string().len() == *length);
            format!("{} {key}={value}\n", length.expect("some length fits itself"))
        };
        let text: String = records.iter().map(record).collect();
        self.put(b"pax", kind, 0o644, b"", text.as_bytes());
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).expect("memory takes it");
    packed.finish().expect("memory takes it")
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = liblzma::write::XzEncoder::new(Vec::new(), 1);
    packed.write_all(bytes).expect("memory takes it");
    packed.finish().expect("memory takes it")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut context = zstd_safe::CCtx::create();
    let flag = zstd_safe::CParameter::ChecksumFlag(true);
    context.set_parameter(flag).expect("every version has it");
    let mut packed = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
    context.compress2(&mut packed, bytes).expect("there is room");
    packed
}

/// A zip archive of what `items` say, by the writer everyone uses.
pub(crate) fn zip(items: &[Item]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for item in items {
        match item {
            Item::File(name, mode, content) => {
                zip.start_file(name, options.unix_permissions(*mode)).expect("it takes any name");
                zip.write_all(content).expect("memory takes it");
            }
            Item::Folder(name) => zip.add_directory(name, options).expect("it takes any name"),
            Item::Link(name, target) => zip.add_symlink(name, target, options).expect("it takes any name"),
        }
    }
    zip.finish().expect("memory takes it").into_inner()
}

/// One entry of a zip archive that says whatever it likes, stored without compression.
#[derive(Clone)]
pub(crate) struct ZipItem {
    pub(crate) name: Vec<u8>,
    pub(crate) local_name: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) content: Vec<u8>,
    pub(crate) size: u32,
    pub(crate) method: u16,
    pub(crate) flags: u16,
}

impl ZipItem {
    pub(crate) fn new(name: &[u8], mode: u32, content: &[u8]) -> Self {
        let (name, content) = (name.to_vec(), content.to_vec());
        let size = content.len() as u32;
        Self { local_name: name.clone(), name, mode, content, size, method: 0, flags: 0 }
    }
}

/// A zip archive by hand.
pub(crate) fn raw_zip(items: &[ZipItem]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for item in items {
        let at = zip.len() as u32;
        let mut crc = flate2::Crc::new();
        crc.update(&item.content);
        let mut common = Vec::new();
        for half in [20, item.flags, item.method, 0, 33] {
            common.extend(half.to_le_bytes());
        }
        for word in [crc.sum(), item.content.len() as u32, item.size] {
            common.extend(word.to_le_bytes());
        }
        zip.extend(b"PK\x03\x04");
        zip.extend(&common);
        zip.extend((item.local_name.len() as u16).to_le_bytes());
        zip.extend([0, 0]);
        zip.extend(&item.local_name);
        zip.extend(&item.content);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&common);
        directory.extend((item.name.len() as u16).to_le_bytes());
        directory.extend([0; 8]);
        directory.extend((item.mode << 16).to_le_bytes());
        directory.extend(at.to_le_bytes());
        directory.extend(&item.name);
    }
    let (start, count) = (zip.len() as u32, items.len() as u16);
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend([count, count].map(u16::to_le_bytes).concat());
    zip.extend([directory.len() as u32, start].map(u32::to_le_bytes).concat());
    zip.extend([0, 0]);
    zip
}

/// A deb of these parts.
pub(crate) fn ar(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut deb = ar::Builder::new(Vec::new());
    for (name, content) in parts {
        let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        deb.append(&header, *content).expect("memory takes it");
    }
    deb.into_inner().expect("memory takes it")
}

pub(crate) const CONTROL: &str =
    "Package: words\nVersion: 1:2.0-1\nDescription: Words\n Many.\nDepends: libc6 (>= 2)\n";

/// A deb whose data is `data`, compressed already.
pub(crate) fn deb(data_name: &str, data: &[u8]) -> Vec<u8> {
    let control =
        xz(&tar(&[file("./md5sums", "x"), file("./control", CONTROL), program("./postinst", "rm -rf /")]));
    ar(&[("debian-binary", b"2.0\n"), ("control.tar.xz", &control), (data_name, data)])
}

/// The same entries as tar, as tar in gzip, as the data of a deb, and as zip.
pub(crate) fn in_every_way(items: &[Item]) -> Vec<(&'static str, Vec<u8>)> {
    let tar = tar(items);
    let zipped = items.iter().map(|item| match item {
        Item::File(name, mode, content) => ZipItem::new(name.as_bytes(), 0o100_000 | mode, content),
        Item::Folder(name) => ZipItem::new(name.as_bytes(), 0o040_755, b""),
        Item::Link(name, target) => ZipItem::new(name.as_bytes(), 0o120_777, target.as_bytes()),
    });
    let zip = raw_zip(&zipped.collect::<Vec<_>>());
    vec![
        ("a.tar", tar.clone()),
        ("a.tgz", gzip(&tar)),
        ("a.deb", deb("data.tar.xz", &xz(&tar))),
        ("a.zip", zip),
    ]
}
