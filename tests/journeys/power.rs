//! Power cuts on real file systems: what a command acknowledged is there when the power is back, and
//! everything is whole (REL-007, 008, 009).
//!
//! The disks are images in memory, mounted by loop devices. The short form cuts the power a few times;
//! the long form 200 times on each file system, and looks at 500 images of a disk at work.

use crate::disk::{Disk, Kind, has, left_out, tool, with_mounts};
use crate::fixture::Dice;
use crate::load::{Acknowledged, Load};
use crate::sandbox::{World, long, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// Cuts that one repository goes through before another takes its place.
const CUTS_EACH: usize = 20;
/// Commands of each actor that are more than a round has time for.
const MANY: usize = 1_000;

/// An empty disk, in an image in memory.
fn disk_in_memory(world: &World, kind: Kind) -> (Disk, Disk) {
    let memory = Disk::in_memory(&world.path("memory"), "size=3g");
    let image = world.path("memory/image");
    kind.format(&image);
    (Disk::of_image(&image, &world.path("disk")), memory)
}

fn cut_again_and_again(kind: Kind, tools: &[&str], cuts: usize) {
    let what = format!("power cuts on {kind:?}");
    if !has(&what, tools) {
        return;
    }
    with_mounts(&what, || {
        for series in 0..cuts.div_ceil(CUTS_EACH) {
            let world = World::new();
            let (mut disk, _memory) = disk_in_memory(&world, kind);
            let load = Load::begin(&world, &world.path("disk"), 7_000 + series as u64, 0);
            let mut dice = Dice(series as u64);
            for cut in 0..CUTS_EACH.min(cuts - series * CUTS_EACH) {
                let pause = Duration::from_millis(dice.below(700) as u64); // any moment will do
                let acknowledged = std::thread::scope(|scope| {
                    let work = scope.spawn(|| load.carry_on(MANY));
                    std::thread::sleep(pause);
                    let acknowledged = load.excuse();
                    disk.cut_power();
                    work.join().unwrap();
                    acknowledged
                });
                disk = disk.repower();
                load.hold_to(acknowledged);
                load.check(&load.acknowledged(), &format!("{kind:?}, series {series}, cut {cut}"));
            }
            load.carry_on(2); // everything works on
            load.check(&load.acknowledged(), &format!("{kind:?}, series {series}, afterwards"));
        }
    });
}

/// REL-007, REL-043: on ext4 as it comes.
#[test]
fn a_power_cut_on_ext4_loses_nothing_acknowledged() {
    let cuts = if long() { 200 } else { 4 };
    cut_again_and_again(Kind::Ext4, &["mkfs.ext4", "xfs_io", "losetup"], cuts);
}

/// REL-008, REL-043: on XFS.
#[test]
fn a_power_cut_on_xfs_loses_nothing_acknowledged() {
    let cuts = if long() { 200 } else { 2 };
    cut_again_and_again(Kind::Xfs, &["mkfs.xfs", "xfs_io", "losetup"], cuts);
}

/// Takes an image of a disk at work every 50 ms, each in one instant: XFS shares the blocks of a copy,
/// and holds writers off while it does. Gives the images, with what was acknowledged before each.
fn images_at_work(world: &World, load: &Load<'_>, count: usize) -> Vec<(PathBuf, Acknowledged)> {
    let source = world.path("outer/image");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            while !stop.load(SeqCst) {
                load.carry_on(1);
            }
        });
        let images = (0..count).map(|n| {
            std::thread::sleep(Duration::from_millis(50)); // a pulse, not a wait
            let (acknowledged, image) = (load.acknowledged(), world.path(format!("outer/{n}")));
            tool("cp", &["--reflink=always", text(&source), text(&image)]);
            (image, acknowledged)
        });
        let images = images.collect();
        stop.store(true, SeqCst);
        work.join().unwrap();
        images
    })
}

/// REL-009: whatever instant the power goes, the image of that instant opens, is whole, and has what was
/// acknowledged.
#[test]
fn every_image_of_a_disk_at_work_is_whole() {
    let what = "images of a disk at work";
    if !has(what, &["mkfs.ext4", "mkfs.xfs", "losetup"]) {
        return;
    }
    let (rounds, images) = if long() { (10, 50) } else { (1, 6) };
    with_mounts(what, || {
        for round in 0..rounds {
            let world = World::new();
            let _memory = Disk::in_memory(&world.path("memory"), "size=8g");
            let Some(_outer) = shares_blocks(&world.path("memory/outer"), &world.path("outer")) else {
                return left_out(what, "XFS shares no blocks here");
            };
            Kind::Ext4.format(&world.path("outer/image"));
            let disk = Disk::of_image(&world.path("outer/image"), &world.path("disk"));
            let load = Load::begin(&world, &world.path("disk"), 9_000 + round, 0);
            let images = images_at_work(&world, &load, images);
            drop(disk);
            for (n, (image, acknowledged)) in images.iter().enumerate() {
                let _disk = Disk::of_image(image, &world.path("disk"));
                load.check(acknowledged, &format!("image {n} of round {round}"));
            }
        }
    });
}

/// A disk on which files can share blocks, if this machine's tools make one.
fn shares_blocks(image: &Path, at: &Path) -> Option<Disk> {
    fs::File::create(image).unwrap().set_len(6 << 30).unwrap();
    tool("mkfs.xfs", &["-q", "-m", "reflink=1", text(image)]);
    let disk = Disk::of_image(image, at);
    fs::write(at.join("a"), vec![1; 4096]).unwrap();
    let [a, b] = ["a", "b"].map(|name| at.join(name));
    let shares = std::process::Command::new("cp").args(["--reflink=always", text(&a), text(&b)]).output();
    shares.is_ok_and(|output| output.status.success()).then_some(disk)
}
