//! The screen: text, tables, progress, errors.
//!
//! Promises: readable without colour; no colour and no progress unless stderr is a terminal; no raw
//! control character reaches the terminal (SEC-018, SEC-090); a closed pipe ends the program quietly.

pub mod progress;

use anstyle::{AnsiColor, Style};
use objects::name::printable;
use porcelain::Error;
use serde::Serialize;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default();

/// Sends logs to stderr: warnings, or as `PKG_LOG` and `-v` say.
pub fn start_logging(verbose: u8) {
    let default = match verbose {
        0 => "error",
        1 => "pkg=info,porcelain=info,plumbing=info,objects=info",
        2 => "pkg=debug,porcelain=debug,plumbing=debug,objects=debug",
        _ => "debug",
    };
    let filter = std::env::var("PKG_LOG").unwrap_or_else(|_| default.to_owned());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .try_init();
}

/// Writes a line of data to stdout.
pub fn line(text: impl Display) {
    let text = text.to_string();
    let shown: Vec<String> =
        text.split('\n').map(|line| line.split('\t').map(printable).collect::<Vec<_>>().join("\t")).collect();
    write_out(format!("{}\n", shown.join("\n")).as_bytes());
}

/// Writes bytes to stdout as they are: a file's content, an archive.
pub fn raw(bytes: &[u8]) {
    write_out(bytes);
}

/// Writes an outcome to stdout as one JSON object.
pub fn json(outcome: &impl Serialize) {
    let text = serde_json::to_string(outcome).expect("outcomes are plain data with text keys");
    write_out(format!("{text}\n").as_bytes());
}

fn write_out(bytes: &[u8]) {
    if std::io::stdout().lock().write_all(bytes).and_then(|()| std::io::stdout().flush()).is_err() {
        std::process::exit(0); // the reader has gone, as with `pkg log | head`
    }
}

/// Writes a remark to stderr.
pub fn note(text: impl Display) {
    let mut err = anstream::stderr().lock();
    let _ = writeln!(err, "{}", text.to_string().split('\n').map(printable).collect::<Vec<_>>().join("\n"));
}

/// Writes a warning to stderr.
pub fn warn(text: impl Display) {
    let mut err = anstream::stderr().lock();
    let _ = writeln!(err, "{YELLOW}warning:{YELLOW:#} {}", printable(&text.to_string()));
}

/// Shows an error with its hints; gives the exit code of its class.
pub fn fail(error: &Error, json: bool) -> ExitCode {
    #[derive(Serialize)]
    struct Shown<'a> {
        code: &'a str,
        message: &'a str,
        hints: &'a [String],
    }
    let (code, message, hints) = (error.code(), error.message(), error.hints());
    if json {
        self::json(&Shown { code, message: &message, hints: &hints });
    } else {
        let mut err = anstream::stderr().lock();
        let text = message.split('\n').map(printable).collect::<Vec<_>>().join("\n");
        let _ = writeln!(err, "{RED}error{RED:#}{BOLD}[{code}]{BOLD:#}: {text}");
        for hint in &hints {
            let _ = writeln!(err, "  {CYAN}hint:{CYAN:#} {}", printable(hint));
        }
    }
    ExitCode::from(error.class() as u8)
}

/// Bytes for people: `512 B`, `1.2 kB`, `34.5 MB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let (mut value, mut unit) = (n as f64 / 1000.0, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 file`, `2 files`.
pub fn count(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// A time as people read it, in UTC.
pub fn time(time: objects::time::Timestamp) -> String {
    porcelain::clock::shown(time)
}

/// Asks a yes-or-no question on the terminal; `yes` answers it, no terminal refuses it.
pub fn confirm(question: &str, yes: bool) -> Result<bool, Error> {
    use std::io::IsTerminal;
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage("nobody can be asked here", "answer with --yes"));
    }
    Ok(matches!(answer(&format!("{question} [Y/n] ")).as_deref(), Some("" | "y" | "yes")))
}

/// Asks on a terminal about what is safer left alone: only a plain yes is one.
pub fn confirm_risk(question: &str) -> Result<bool, Error> {
    Ok(matches!(answer(&format!("{question} [y/N] ")).as_deref(), Some("y" | "yes")))
}

/// The line typed in answer, in small letters; None if there is none.
fn answer(question: &str) -> Option<String> {
    let _ = write!(anstream::stderr().lock(), "{question}");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer).ok()?;
    (read > 0).then(|| answer.trim().to_lowercase())
}
