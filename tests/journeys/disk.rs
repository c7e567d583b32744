//! Disks of one's own: small ones, ones that refuse, ones that lose power.
//!
//! Promises: whatever is mounted is gone with its guard, and with its thread even if nobody comes to
//! drop the guard: mounts are made in a namespace of their own, which ends with the last process in it,
//! and loop devices end with their mounts. What cannot be tested on a machine is said, past the test
//! harness, on standard error.

use crate::sandbox::text;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Says what a test leaves out here, and why.
pub fn left_out(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "left out: {what}: {why}"); // past the harness, which keeps `print` back
}

/// True if all of these programs are here; says what is left out if not.
pub fn has(what: &str, tools: &[&str]) -> bool {
    let is_here = |tool: &&&str| {
        Command::new("sh").args(["-c", "command -v \"$0\"", tool]).output().is_ok_and(|o| o.status.success())
    };
    match tools.iter().find(|tool| !is_here(tool)) {
        Some(missing) => left_out(what, &format!("there is no {missing} here")),
        None => return true,
    }
    false
}

/// Tells `story` where it may mount what it likes. Where nobody may, says so and gives false.
pub fn with_mounts(what: &str, story: impl FnOnce() + Send) -> bool {
    let told = std::thread::scope(|scope| {
        let thread = scope.spawn(|| own_namespace().map(|()| story()));
        thread.join()
    });
    match told {
        Ok(Ok(())) => true,
        Ok(Err(why)) => {
            left_out(what, &format!("no disk can be mounted here: {why}"));
            false
        }
        Err(panic) => resume_unwind(panic),
    }
}

/// Parts the mounts of this thread, and of what it starts, from everybody else's.
fn own_namespace() -> Result<(), String> {
    // SAFETY: of what threads share, only the table of mounts and the current folder are parted.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(|error| error.to_string())?;
    try_run("mount", &["--make-rprivate", "/"])
}

fn try_run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program} {}: {said}", args.join(" "))) }
}

/// Runs a tool that has to succeed.
pub fn tool(program: &str, args: &[&str]) {
    try_run(program, args).unwrap();
}

/// The file systems that live in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    Xfs,
}

impl Kind {
    /// Makes an empty file system in a new image; fewer bytes than these XFS does not take.
    pub fn format(self, image: &Path) {
        File::create(image).unwrap().set_len(320 << 20).unwrap();
        match self {
            Kind::Ext4 => tool("mkfs.ext4", &["-q", "-F", text(image)]),
            Kind::Xfs => tool("mkfs.xfs", &["-q", text(image)]),
        }
    }
}

/// A disk that is mounted until it is dropped.
pub struct Disk {
    at: PathBuf,
    image: Option<PathBuf>,
}

impl Disk {
    /// A disk in memory, with options as `mount` takes them.
    pub fn in_memory(at: &Path, options: &str) -> Disk {
        fs::create_dir_all(at).unwrap();
        tool("mount", &["-t", "tmpfs", "-o", options, "tmpfs", text(at)]);
        Disk { at: at.to_owned(), image: None }
    }

    /// The disk in an image; what a power cut left in its journal is played back.
    pub fn of_image(image: &Path, at: &Path) -> Disk {
        fs::create_dir_all(at).unwrap();
        tool("mount", &["-o", "loop", text(image), text(at)]);
        Disk { at: at.to_owned(), image: Some(image.to_owned()) }
    }

    /// Changes its options.
    pub fn remount(&self, options: &str) {
        tool("mount", &["-o", &format!("remount,{options}"), text(&self.at)]);
    }

    /// Bytes and inodes in use.
    pub fn used(&self) -> (u64, u64) {
        let stat = rustix::fs::statvfs(&self.at).unwrap();
        ((stat.f_blocks - stat.f_bfree) * stat.f_frsize, stat.f_files - stat.f_ffree)
    }

    /// Fills what is left of it, down to the last byte, with one file.
    pub fn fill(&self) {
        let filler = File::create(self.at.join("filler")).unwrap();
        for (block, mut at) in [(1 << 16, 0), (1 << 12, u64::MAX), (1, u64::MAX)] {
            at = at.min(filler.metadata().unwrap().len());
            while let Ok(n @ 1..) = filler.write_at(&vec![7; block], at) {
                at += n as u64;
            }
        }
    }

    /// Takes the power away: everything that was not synced is lost, and every call on it fails until
    /// [`Disk::repower`].
    pub fn cut_power(&self) {
        tool("xfs_io", &["-x", "-c", "shutdown", text(&self.at)]); // serves ext4 as well
    }

    /// Mounts a disk again that lost its power.
    pub fn repower(self) -> Disk {
        let (at, image) = (self.at.clone(), self.image.clone().unwrap());
        drop(self);
        Disk::of_image(&image, &at)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let begun = Instant::now();
        while try_run("umount", &[text(&self.at)]).is_err() {
            if begun.elapsed() > Duration::from_secs(10) {
                let _ = try_run("umount", &["-l", text(&self.at)]); // somebody is still in it
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
