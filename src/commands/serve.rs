//! `pkg serve`.

use super::Context;
use crate::ui;
use porcelain::Error;
use porcelain::serve::{self, Request};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serve a repository over iroh and HTTP, in one process
///
/// Prints a ticket and an address; either is a source for `pkg clone`. Nothing outside the
/// repository's public files can be read, and nothing can be written unless --accept-pushes.
#[derive(clap::Args)]
pub struct Serve {
    /// The repository
    #[arg(long, value_name = "REPO", default_value = ".", env = "PKG_REPO")]
    repo: PathBuf,
    /// Where to listen for HTTP; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where to listen for iroh (UDP); port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    iroh: SocketAddr,
    /// Serve HTTP only
    #[arg(long)]
    no_iroh: bool,
    /// Take pushes that the repository's owner has signed
    #[arg(long)]
    accept_pushes: bool,
    /// Write the addresses to FILE once they answer, for scripts
    #[arg(long, value_name = "FILE")]
    announce: Option<PathBuf>,
}

impl Serve {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let iroh = (!self.no_iroh).then_some(self.iroh);
        let request = Request { http: Some(self.listen), iroh, pushes: self.accept_pushes };
        let host = serve::serve(&context.session, &self.repo, &request)?;
        let (ticket, url) = (host.ticket(), host.url());
        if context.json {
            ui::json(&serde_json::json!({ "ticket": ticket, "url": url }));
        } else {
            ticket.iter().for_each(|ticket| ui::line(format!("iroh  {ticket}")));
            url.iter().for_each(|url| ui::line(format!("http  {url}")));
            context.note("serving until interrupted; clone with `pkg clone ADDRESS`");
        }
        if let Some(path) = &self.announce {
            let lines: Vec<String> = ticket.into_iter().chain(url).collect();
            serve::announce(path, &format!("{}\n", lines.join("\n")))?;
        }
        loop {
            std::thread::park(); // the host works on threads of its own, until a signal ends us
        }
    }
}
