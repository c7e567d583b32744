//! Serving a repository: over iroh and HTTP in one process (O12).

use crate::distribute::strangers::Strangers;
use crate::error::Error;
use crate::session::Session;
use objects::disk;
use objects::repository::Repository;
use plumbing::sync::serve::{PushPolicy, Server};
use plumbing::transport::file::Folder;
use plumbing::transport::host::{Host, IrohListen, Options};
use plumbing::transport::subset::Subset;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Where to serve.
#[derive(Clone, Debug)]
pub struct Request {
    /// For HTTP; None for none.
    pub http: Option<SocketAddr>,
    /// For iroh; None for none.
    pub iroh: Option<SocketAddr>,
    /// True to take pushes: the owner's own into the repository, those of others apart.
    pub pushes: bool,
    /// True to list what accepted owners push at once.
    pub signs: bool,
}

/// Serves the repository at `path` until what is returned is dropped.
///
/// # Errors
/// If it cannot be opened, or a socket not be bound.
pub fn serve(session: &Session, path: &Path, request: &Request) -> Result<Serving, Error> {
    let repository = Arc::new(Repository::open(path)?);
    // What readers need; neither settings nor locks nor what is being written.
    let public = ["summary", "objects/pack/", "objects/info/", "statements/"];
    let files = Arc::new(Subset::new(Folder::open(path)?, public));
    let strangers = match request.pushes {
        true => Some(Arc::new(Strangers::new(session, repository.clone(), request.signs)?)),
        false => None,
    };
    let policy = strangers.clone().map(|strangers| strangers as Arc<dyn PushPolicy>);
    let relays = session.config().net.parse_relays()?;
    let iroh = match request.iroh {
        Some(bind) => Some(IrohListen { bind, secret: Some(endpoint_key(session)?), relays }),
        None => None,
    };
    let options = Options { http: request.http, iroh, ..Options::default() };
    let host = Host::start(options, Arc::new(Server::new(repository, policy)), files)?;
    Ok(Serving { host, strangers })
}

/// A repository that is being served, until this is dropped.
pub struct Serving {
    /// What listens.
    pub host: Host,
    strangers: Option<Arc<Strangers>>,
}

impl Serving {
    /// Drops pushes that are past their time; to be called now and then. What cannot be dropped now is tried
    /// again.
    pub fn sweep(&self) {
        if let Some(Err(error)) = self.strangers.as_ref().map(|strangers| strangers.sweep()) {
            tracing::warn!(error = error.message(), "pushes past their time were left");
        }
    }
}

/// The key of this machine's endpoint, so that tickets stay good; never a signing key.
fn endpoint_key(session: &Session) -> Result<[u8; 32], Error> {
    use objects::key::SecretKey;
    let keyring = session.keyring()?;
    let name = crate::identity::ENDPOINT_KEY;
    let secret: SecretKey = match keyring.list()?.iter().any(|key| key == name) {
        true => keyring.load(name, &mut || None)?,
        false => keyring.create(name, None)?,
    };
    Ok(*secret.seed())
}

/// Writes `text` where a script can wait for it: whole or not at all.
///
/// # Errors
/// If the disk refuses.
pub fn announce(path: &Path, text: &str) -> Result<(), Error> {
    Ok(disk::write_whole(path, text.as_bytes())?)
}
