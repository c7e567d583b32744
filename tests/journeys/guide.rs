//! The handbook runs: every page of `docs/guide` is a transcript.
//!
//! In a fenced block marked `console`, a line that begins with `$ ` is a command for `bash -c`, run in
//! one folder a page. The lines behind it are what it prints, stdout before stderr: `[..]` stands for
//! anything within a line, a line `...` for any lines, `[exit N]` for the exit code (0 if absent).
//! A command that ends in ` &` runs until the page ends. `wait-for FILE` waits until there is one.

use crate::sandbox::{Guard, PKG, Person, Run, World};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A command, what it has to print, and its exit code.
struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
    code: i32,
}

#[test]
fn every_page_of_the_guide_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("docs/guide");
    if !folder.exists() {
        println!("skipped: there is no guide yet");
        return;
    }
    let mut pages: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    assert!(!pages.is_empty(), "the guide has no pages");
    let run = |page: PathBuf| std::thread::spawn(move || (page.clone(), play(&page)));
    let mut failures = Vec::new();
    for pair in pages.chunks(2) {
        let threads: Vec<_> = pair.iter().cloned().map(run).collect();
        for thread in threads {
            let (page, outcome) = thread.join().unwrap();
            let name = page.file_name().unwrap().to_string_lossy().into_owned();
            failures.extend(outcome.err().map(|why| format!("{name}{why}")));
        }
    }
    assert!(failures.is_empty(), "{} pages fail:\n{}", failures.len(), failures.join("\n\n"));
}

/// Plays a page; the error tells the line and what differs.
fn play(page: &Path) -> Result<(), String> {
    let steps = steps(&fs::read_to_string(page).unwrap());
    let world = World::new();
    fs::create_dir(world.path("tools")).unwrap();
    fs::create_dir(world.path("page")).unwrap();
    symlink(PKG, world.path("tools/pkg")).unwrap();
    let wait = "#!/bin/bash\nfor _ in $(seq 400); do [ -e \"$1\" ] && exit 0; sleep 0.05; done\nexit 1\n";
    fs::write(world.path("tools/wait-for"), wait).unwrap();
    fs::set_permissions(world.path("tools/wait-for"), fs::Permissions::from_mode(0o755)).unwrap();
    let reader = world.user("reader").at(world.path("page"));
    let mut background = Vec::new();
    for step in &steps {
        match step.command.strip_suffix(" &") {
            Some(command) => {
                let mut command = bash(&world, &reader, &format!("exec {command}"));
                command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
                background.push(Guard(command.spawn().unwrap()));
            }
            None => check(step, &Run::of(bash(&world, &reader, &step.command)))?,
        }
    }
    Ok(())
}

fn bash(world: &World, reader: &Person, line: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", line]);
    reader.dress(&mut command);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", world.path("tools").display()));
    command.env("FIXTURES", Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
    command
}

fn check(step: &Step, run: &Run) -> Result<(), String> {
    let printed: Vec<&str> = run.stdout.lines().chain(run.stderr.lines()).collect();
    let expected: Vec<&str> = step.expected.iter().map(String::as_str).collect();
    if run.code == Some(step.code) && fits(&expected, &printed) {
        return Ok(());
    }
    Err(format!(
        ":{}: $ {}\nexpected (exit {}):\n  {}\nprinted (exit {:?}):\n  {}",
        step.line,
        step.command,
        step.code,
        expected.join("\n  "),
        run.code,
        printed.join("\n  ")
    ))
}

/// True if the lines are as expected.
fn fits(expected: &[&str], printed: &[&str]) -> bool {
    match (expected.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), _) => (0..=printed.len()).any(|skipped| fits(rest, &printed[skipped..])),
        (Some((wanted, rest)), Some((line, after))) => line_fits(wanted, line) && fits(rest, after),
        _ => false,
    }
}

/// True if a line is as expected; `[..]` stands for anything in it.
fn line_fits(wanted: &str, line: &str) -> bool {
    let (wanted, line) = (wanted.trim_end(), line.trim_end());
    let Some((before, rest)) = wanted.split_once("[..]") else { return wanted == line };
    let Some(line) = line.strip_prefix(before) else { return false };
    line.char_indices().map(|(at, _)| at).chain([line.len()]).any(|at| line_fits(rest, &line[at..]))
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut open) = (false, false);
    for (n, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            inside = !inside && line.trim() == "```console";
            open = false;
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            let command = command.trim_end().to_owned();
            steps.push(Step { line: n + 1, command, expected: Vec::new(), code: 0 });
            open = true;
        } else if let Some(step) = steps.last_mut().filter(|_| inside && open) {
            let code = line.strip_prefix("[exit ").and_then(|rest| rest.trim_end().strip_suffix(']'));
            match code.and_then(|code| code.parse().ok()) {
                Some(code) => step.code = code,
                None => step.expected.push(line.to_owned()),
            }
        }
    }
    steps
}

#[test]
fn patterns_stand_for_what_they_say() {
    assert!(fits(&["a[..]c", "...", "z"], &["abc", "x", "y", "z"]));
    assert!(fits(&["..."], &[]) && fits(&["[..]"], &[""]));
    assert!(!fits(&["a[..]c"], &["abd"]) && !fits(&["a"], &["a", "b"]) && !fits(&["a", "b"], &["a"]));
    let text = "x\n```console\n$ one &\n$ two\nout\n[exit 3]\n```\n$ no\n```sh\n$ nor this\n```\n";
    let steps = steps(text);
    assert_eq!(steps.len(), 2);
    assert_eq!((steps[1].line, steps[1].code, steps[1].expected.as_slice()), (4, 3, &["out".to_owned()][..]));
}
