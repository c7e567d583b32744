//! One run of a verb: where the user's things are, what time it is, what is allowed.
//!
//! Promises: this is the only place that reads the environment, the clock and the user's settings.
//! Leaves to others: everything that is done with them.
//!
//! ```text
//! $PKG_HOME/  store/            a bare repository: what was fetched and what environments borrow
//!             keys/             secret keys, 0600
//!             identities.toml   which identity each key belongs to
//!             state.db          pins, heads, last known time
//!             config.toml       settings
//! ```

use crate::config::Config;
use crate::error::Error;
use crate::rebuild;
use objects::disk;
use objects::repository::Repository;
use objects::time::Timestamp;
use plumbing::trust::keyring::{Keyring, Passphrase};
use plumbing::trust::{Policy, State};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// Asks for the passphrase of a key, by its name.
type Ask = Box<dyn Fn(&str) -> Option<Passphrase> + Send + Sync>;

/// Tells the user something that no verb was asked for.
type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// What the user's things are needed for.
pub struct Session {
    home: PathBuf,
    config: Config,
    policy: Policy,
    now: Timestamp,
    jobs: usize,
    store: OnceLock<Arc<Repository>>,
    state: OnceLock<State>,
    ask: Ask,
    tell: Tell,
}

/// How a session is opened. `None` means: as the environment and the settings say.
#[derive(Default)]
pub struct Options {
    /// Where the user's things are.
    pub home: Option<PathBuf>,
    /// Threads for computing.
    pub jobs: Option<usize>,
    /// What to believe of old statements.
    pub freshness: Option<plumbing::trust::Freshness>,
}

impl Session {
    /// Opens a session. Nothing is made on disk before it is needed.
    ///
    /// # Errors
    /// If there is no home folder, or the settings are malformed.
    pub fn open(options: Options) -> Result<Session, Error> {
        let home = options.home.map_or_else(default_home, Ok)?;
        let config = Config::read(&home.join("config.toml"))?;
        let mut policy = config.policy()?;
        if let Some(freshness) = options.freshness {
            policy.freshness = freshness;
        }
        let jobs = options.jobs.or(config.jobs).unwrap_or_else(objects::parallel::default_jobs);
        Ok(Session {
            home,
            config,
            policy,
            now: clock(),
            jobs: jobs.clamp(1, 256),
            store: OnceLock::new(),
            state: OnceLock::new(),
            ask: Box::new(|_| None),
            tell: Box::new(|_| ()),
        })
    }

    /// Says how to ask for a passphrase: given the name of a key, None if nobody can be asked.
    pub fn ask_with(&mut self, ask: impl Fn(&str) -> Option<Passphrase> + Send + Sync + 'static) {
        self.ask = Box::new(ask);
    }

    /// Says how to tell the user what happened without being asked for.
    pub fn tell_with(&mut self, tell: impl Fn(&str) + Send + Sync + 'static) {
        self.tell = Box::new(tell);
    }

    /// Asks for the passphrase of `key`.
    pub fn ask(&self, key: &str) -> Option<Passphrase> {
        (self.ask)(key)
    }

    /// Where the user's things are.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The user's settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is believed.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// When the session began; every check uses this one time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Threads for computing.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// The user's store, made when it is first needed.
    ///
    /// # Errors
    /// If it cannot be opened or made.
    pub fn store(&self) -> Result<&Arc<Repository>, Error> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        disk::make_folder(&self.home)?;
        let store = Arc::new(Repository::open_or_init(&self.home.join("store"))?);
        Ok(self.store.get_or_init(|| store))
    }

    /// Pins, heads and the last known time. If they are lost, what the store knows of them is rebuilt, and
    /// the user told of the rest.
    ///
    /// # Errors
    /// If the database cannot be opened.
    pub fn state(&self) -> Result<&State, Error> {
        if let Some(state) = self.state.get() {
            return Ok(state);
        }
        disk::make_folder(&self.home)?;
        if rebuild::is_lost(&self.home)
            && let Some(rebuilt) = rebuild::rebuild(&self.home, self.store()?)?
        {
            (self.tell)(&rebuilt.message());
        }
        let state = State::open(&rebuild::path(&self.home)).map_err(damaged)?;
        Ok(self.state.get_or_init(|| state))
    }

    /// Waits until no other process of this user signs, then holds them off: a log has one newest
    /// entry, wherever it is published (REL-024).
    ///
    /// # Errors
    /// If the lock file refuses.
    pub fn lock_signing(&self) -> Result<File, Error> {
        disk::make_folder(&self.home)?;
        Ok(disk::lock_file(&self.home.join("signing.lock"))?)
    }

    /// The user's secret keys.
    ///
    /// # Errors
    /// If their folder is readable or writable by others.
    pub fn keyring(&self) -> Result<Keyring, Error> {
        disk::make_folder(&self.home)?;
        Ok(Keyring::open(&self.home.join("keys"))?)
    }
}

/// Says what to do about a state that is damaged.
fn damaged(error: plumbing::trust::DatabaseError) -> Error {
    match error.code() {
        "E-FORMAT" => Error::Refused {
            code: "E-FORMAT",
            what: plumbing::chain(&error),
            hint: "`pkg fsck --repair` outside of any repository sets it aside and rebuilds what can be"
                .into(),
        },
        _ => error.into(),
    }
}

/// The time now, for what outlives a run: a server that goes on for weeks.
pub(crate) fn clock() -> Timestamp {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Timestamp::new(seconds).unwrap_or(Timestamp::EPOCH)
}

fn default_home() -> Result<PathBuf, Error> {
    use etcetera::BaseStrategy;
    if let Some(home) = std::env::var_os("PKG_HOME").filter(|home| !home.is_empty()) {
        return Ok(std::path::absolute(PathBuf::from(home)).unwrap_or_default());
    }
    let base = etcetera::choose_base_strategy()
        .map_err(|_| Error::usage("there is no home folder", "set PKG_HOME to a folder that pkg may use"))?;
    Ok(base.data_dir().join("pkg"))
}
