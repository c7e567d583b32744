//! `pkg serve`.

use super::Context;
use crate::ui;
use porcelain::Error;
use porcelain::serve::{self, Request};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How often pushes past their time are looked for.
const SWEEP: Duration = Duration::from_secs(600);

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
    /// Take pushes: the owner's own at once, those of others apart, until `pkg repo accept`
    #[arg(long)]
    accept_pushes: bool,
    /// List what owners push whom distribute.toml accepts, at once; needs an index key without passphrase
    #[arg(long, requires = "accept_pushes")]
    sign: bool,
    /// Write the addresses to FILE once they answer, for scripts
    #[arg(long, value_name = "FILE")]
    announce: Option<PathBuf>,
}

impl Serve {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let iroh = (!self.no_iroh).then_some(self.iroh);
        let request = Request { http: Some(self.listen), iroh, pushes: self.accept_pushes, signs: self.sign };
        let serving = serve::serve(&context.session, &self.repo, &request)?;
        let (ticket, url) = (serving.host.ticket(), serving.host.url());
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
            std::thread::park_timeout(SWEEP); // the host works on threads of its own, until a signal ends us
            serving.sweep();
        }
    }
}
