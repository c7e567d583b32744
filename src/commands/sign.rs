//! `pkg sign`.

use super::Context;
use super::identity::{lines, needs};
use crate::ui;
use porcelain::Error;
use porcelain::identity::{self, Read, Signing};
use std::path::PathBuf;

/// Add your signature to statements that wait for it
///
/// A statement of an identity with several keys waits in a file until enough of them have signed. It is
/// shown in words first; then each key here that it needs signs. The file can travel by mail or stick.
#[derive(clap::Args)]
pub struct Sign {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Sign without asking, after showing
    #[arg(short, long)]
    yes: bool,
    /// Show what they say and sign nothing
    #[arg(long, conflicts_with = "yes")]
    show: bool,
}

impl Sign {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let session = &context.session;
        let read = self.files.iter().map(|file| identity::read_file(session, file));
        let read = read.collect::<Result<Vec<_>, _>>()?;
        if self.show {
            show(context, &read);
            return Ok(());
        }
        let mut signed = Vec::new();
        for read in &read {
            if !context.json {
                lines(&read.says);
            }
            let question = format!("sign it with {}?", keys(read));
            if !read.held.is_empty() && !ui::confirm(&question, self.yes)? {
                continue;
            }
            let outcome = identity::sign_file(session, &read.file, read.statement)?;
            if !context.json {
                told(context, &outcome);
            }
            signed.push(outcome);
        }
        if context.json {
            ui::json(&signed);
        }
        Ok(())
    }
}

fn keys(read: &Read) -> String {
    read.held.iter().map(|held| format!("{}.key", held.file)).collect::<Vec<_>>().join(", ")
}

fn show(context: &Context, all: &[Read]) {
    if context.json {
        return ui::json(&all);
    }
    for read in all {
        lines(&read.says);
        context.note(format!("signed by {}", ui::count(read.signed.len() as u64, "key")));
        read.needs.iter().for_each(|need| needs(context, need));
        if !read.held.is_empty() {
            context.note(format!("{} here can sign it", keys(read)));
        }
    }
}

fn told(context: &Context, outcome: &Signing) {
    outcome.added.iter().for_each(|held| context.note(format!("signed with {}.key", held.file)));
    if outcome.needs.is_empty() {
        let file = outcome.file.display();
        return context
            .note(format!("it is complete: `pkg id apply {file}` takes it, here or where it began"));
    }
    context.note(format!("{} has your signature; it still waits for", outcome.file.display()));
    outcome.needs.iter().for_each(|need| needs(context, need));
}
