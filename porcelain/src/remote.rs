//! Remotes: from an address somebody typed to a source of objects and statements.

use crate::config::Net;
use crate::error::Error;
use crate::session::Session;
use objects::id::{StatementId, TreeId};
use objects::progress::Progress;
use objects::signed::Envelope;
use objects::summary::Summary;
use plumbing::sync::gather::Give;
use plumbing::sync::intake::Intake;
use plumbing::sync::mirror::Mirror;
#[cfg(feature = "net")]
use plumbing::sync::peer::Peer;
use plumbing::sync::{Error as SyncError, Source};
use plumbing::transport::address::Address;
use plumbing::transport::bundle::Bundle;
use plumbing::transport::file::Folder;
use plumbing::transport::meter::{Meter, Metered, Traffic};
#[cfg(feature = "net")]
use plumbing::transport::retry::Retry;
use plumbing::trust;
use serde::Serialize;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Somewhere to fetch from.
pub struct Remote {
    address: Address,
    source: Box<dyn Source>,
    meter: Arc<Meter>,
    /// The summary that was read to find out what the other side is.
    early: Mutex<Option<Summary>>,
}

/// How many bytes came from where (L-U4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BytesFrom {
    /// The source.
    pub source: String,
    /// Bytes received.
    pub received: u64,
    /// Requests made.
    pub requests: u64,
}

impl Remote {
    /// Opens the remote at `address`. A web server that turns out to be `pkg serve` is asked by the
    /// protocol, any other by files.
    ///
    /// # Errors
    /// If the address is malformed, or nothing answers there.
    pub fn open(session: &Session, address: &str) -> Result<Remote, Error> {
        Remote::open_by(&session.config().net, address)
    }

    /// The same by settings alone, for a thread of its own.
    pub(crate) fn open_by(net: &Net, address: &str) -> Result<Remote, Error> {
        Remote::open_address(net, Address::parse(address)?)
    }

    fn open_address(net: &Net, address: Address) -> Result<Remote, Error> {
        let meter = Meter::new();
        let mut early = None;
        let source: Box<dyn Source> = match &address {
            Address::Path(path) => {
                Box::new(Mirror::new(Box::new(Metered::new(open_folder(path)?, meter.clone()))))
            }
            Address::Bundle(path) => {
                Box::new(Mirror::new(Box::new(Metered::new(Bundle::open(path)?, meter.clone()))))
            }
            #[cfg(feature = "net")]
            Address::Http(url) => {
                let (source, summary) = open_web(net, url, &meter)?;
                early = summary;
                source
            }
            #[cfg(feature = "net")]
            Address::Iroh(ticket) => {
                Box::new(Peer::new(Box::new(Metered::new(open_iroh(net, ticket)?, meter.clone()))))
            }
            #[cfg(not(feature = "net"))]
            other => {
                let _ = net;
                return Err(Error::usage(
                    format!("{other} needs the network"),
                    "this program was built without it",
                ));
            }
        };
        Ok(Remote { address, source, meter, early: Mutex::new(early.take()) })
    }

    /// Its address, without credentials.
    pub fn shown(&self) -> String {
        self.address.to_string()
    }

    /// Its address as it is kept in a configuration; a path is made absolute.
    pub fn kept(&self) -> String {
        match &self.address {
            Address::Path(path) | Address::Bundle(path) => {
                path.canonicalize().unwrap_or_else(|_| path.clone()).display().to_string()
            }
            other => other.reveal(),
        }
    }

    /// Its summary, which is kept for the next who asks.
    ///
    /// # Errors
    /// As those of its source.
    pub(crate) fn learn(&self) -> Result<Summary, SyncError> {
        let summary = self.advertise()?;
        *self.early.lock().unwrap_or_else(PoisonError::into_inner) = Some(summary.clone());
        Ok(summary)
    }

    /// What came from it so far.
    pub fn bytes(&self) -> BytesFrom {
        let Traffic { received, requests, .. } = self.meter.traffic();
        BytesFrom { source: self.name(), received, requests }
    }
}

impl Source for Remote {
    fn name(&self) -> String {
        self.source.name()
    }

    fn advertise(&self) -> Result<Summary, SyncError> {
        let early = self.early.lock().unwrap_or_else(PoisonError::into_inner).take();
        early.map_or_else(|| self.source.advertise(), Ok)
    }

    fn statements(&self, wanted: &[(StatementId, u32)]) -> Result<Vec<Envelope>, SyncError> {
        self.source.statements(wanted)
    }

    fn bring(
        &self,
        intake: &mut Intake<'_>,
        haves: &[TreeId],
        progress: &dyn Progress,
    ) -> Result<(), SyncError> {
        self.source.bring(intake, haves, progress)
    }

    fn giver(&self) -> Option<&dyn Give> {
        self.source.giver()
    }
}

fn open_folder(path: &Path) -> Result<Folder, Error> {
    if path.join(".pkgs").is_dir() {
        return Err(Error::usage(
            format!("{} is an environment, not a repository", path.display()),
            "clone from the repository it was cloned from; `pkg show` in it tells which",
        ));
    }
    if !path.join("summary").exists() && !path.join("config").exists() {
        let hint = "a repository is made by `pkg init --bare`, filled by `pkg publish`";
        return Err(Error::not_found(format!("a repository in {}", path.display()), hint));
    }
    Ok(Folder::open(path)?)
}

#[cfg(feature = "net")]
fn open_web(
    net: &Net,
    url: &plumbing::transport::address::WebUrl,
    meter: &Arc<Meter>,
) -> Result<(Box<dyn Source>, Option<Summary>), Error> {
    use plumbing::transport::http::{Http, Options};
    let ca_pem = match &net.ca_file {
        Some(path) => Some(std::fs::read(path).map_err(|e| objects::disk::Error::new("read", path, e))?),
        None => None,
    };
    let http = Arc::new(Http::open(url, Options { ca_pem, ..Options::default() })?);
    let mirror = Mirror::new(Box::new(Retry::new(Metered::new(http.clone(), meter.clone()))));
    let summary = match mirror.advertise() {
        Err(SyncError::Empty { .. }) if http.speaks_wire() => None,
        other => Some(other?),
    };
    if http.speaks_wire() {
        return Ok((Box::new(Peer::new(Box::new(Metered::new(http.wire(), meter.clone())))), summary));
    }
    Ok((Box::new(mirror), summary))
}

#[cfg(feature = "net")]
fn open_iroh(net: &Net, ticket: &str) -> Result<plumbing::transport::iroh::IrohWire, Error> {
    use plumbing::transport::iroh::{IrohWire, Options};
    let relays = net.parse_relays()?;
    Ok(IrohWire::open(ticket, Options { relays, ..Options::default() })?)
}

/// How many statements of a chain are fetched ahead of the one that is asked for.
const AHEAD: u32 = 32;

/// Statements from a repository at hand, then from a source. Those of the source are only kept in
/// memory: what is believed of them, the caller stores.
pub struct Lookup<'a> {
    local: &'a objects::statements::Statements,
    source: &'a dyn Source,
    fetched: RefCell<HashMap<StatementId, Envelope>>,
}

impl<'a> Lookup<'a> {
    /// Looks in `local`, then asks `source`.
    pub fn new(local: &'a objects::statements::Statements, source: &'a dyn Source) -> Self {
        Lookup { local, source, fetched: RefCell::default() }
    }

    /// Fetches several statements in one request, so that later look-ups find them here.
    ///
    /// # Errors
    /// If the source fails.
    pub fn prefetch(&self, wanted: &[StatementId]) -> Result<(), SyncError> {
        let known = |id: &StatementId| matches!(self.local.try_find(*id), Ok(Some(_)));
        let wanted: Vec<(StatementId, u32)> =
            wanted.iter().filter(|id| !known(id)).map(|id| (*id, 0)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        self.keep(self.source.statements(&wanted)?);
        Ok(())
    }

    fn keep(&self, envelopes: Vec<Envelope>) {
        let mut fetched = self.fetched.borrow_mut();
        envelopes.into_iter().for_each(|envelope| {
            fetched.insert(envelope.id(), envelope);
        });
    }
}

impl trust::Statements for Lookup<'_> {
    fn find(&self, id: StatementId) -> Result<Option<Envelope>, trust::Error> {
        if let Ok(Some(envelope)) = self.local.try_find(id) {
            return Ok(Some(envelope));
        }
        if let Some(envelope) = self.fetched.borrow().get(&id) {
            return Ok(Some(envelope.clone()));
        }
        let found = self.source.statements(&[(id, AHEAD)]);
        self.keep(found.map_err(|error| trust::Error::fetch(id, error.code(), error))?);
        Ok(self.fetched.borrow().get(&id).cloned())
    }
}
