//! `pkg`: Git for packages. Arguments in, one verb of `porcelain`, rendering out.
//!
//! Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 usage, 3 not
//! found, 4 untrusted, 5 conflict, 6 network, 7 damaged.

mod commands;
mod ui;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    porcelain::process::prepare();
    let cli = commands::Cli::parse();
    ui::start_logging(cli.global.verbose);
    let json = cli.global.json;
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => ui::fail(&error, json),
    }
}
