//! `pkg id grant`, `grants`, `ungrant`.

use super::{Context, To, show};
use crate::ui;
use objects::grants::Permission;
use objects::pattern::NamePattern;
use porcelain::identity::{self, GoodUntil, Options, Terms};
use porcelain::{Error, clock};

/// Let another identity act for some of your names
///
/// The other identity may change its keys without you. Patterns: `acme/web` is that name, `acme/*` any one
/// label, `acme/**` all beneath, `**` every name.
#[derive(clap::Args)]
pub struct Grant {
    /// Who: all of `id:…`, or a name that this machine knows
    who: String,
    /// For which names
    #[arg(required = true)]
    names: Vec<NamePattern>,
    /// Until when: 1h, 90d, 2027-01-31
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// From when on (default: now)
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// What may be done: release, yank
    #[arg(long, value_name = "ACTIONS", value_delimiter = ',', default_value = "release,yank")]
    actions: Vec<Permission>,
    /// How often it may be handed on
    #[arg(long, value_name = "N", default_value_t = 0)]
    depth: u32,
    /// For these names, nobody counts whom later grants name
    #[arg(long)]
    terminating: bool,
    /// Which of your identities grants
    #[arg(long = "as", value_name = "NAME", env = "PKG_IDENTITY")]
    identity: Option<String>,
    #[command(flatten)]
    to: To,
}

impl Grant {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let session = &context.session;
        let own = identity::choose(session, self.identity.as_deref())?;
        let who = identity::find(session, &self.who)?;
        let time =
            |text: &Option<String>| text.as_ref().map(|text| clock::parse(text, session.now())).transpose();
        let terms = Terms {
            names: self.names.clone(),
            permissions: self.actions.iter().copied().collect(),
            depth: self.depth,
            terminating: self.terminating,
            from: time(&self.from)?,
            until: time(&self.until)?,
        };
        let options = Options { to: self.to.to.clone(), ..Options::default() };
        let changed = identity::grant(session, &own, who, &terms, &options)?;
        show(context, &changed, None);
        if let Some(grant) = changed.grant {
            context.note(format!("the grant is {}", grant.short(16)));
        }
        Ok(())
    }
}

/// List what an identity grants
#[derive(clap::Args)]
pub struct Grants {
    /// Whose (default: yours)
    who: Option<String>,
    /// Sign them anew, unchanged: for after a change of the role admin
    #[arg(long)]
    renew: bool,
    #[command(flatten)]
    to: To,
}

impl Grants {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        if self.renew {
            let own = identity::choose(&context.session, self.who.as_deref())?;
            let changed = identity::renew_grants(&context.session, &own, &self.to.to)?;
            show(context, &changed, None);
            return Ok(());
        }
        let id = super::look::which(context, self.who.as_deref())?;
        let all = identity::grants_of(&context.session, id)?;
        if context.json {
            ui::json(&all);
            return Ok(());
        }
        for line in &all {
            ui::line(format!("{}  {:<7}  {}", line.grant.short(16), line.state, line.says));
        }
        Ok(())
    }
}

/// End grants; what was done under them counts up to what this machine knows
#[derive(clap::Args)]
pub struct Ungrant {
    /// The grant's first digits, or all grants to this identity
    which: String,
    /// The last good entry of a package, if the receiver's key was stolen; `none` if no entry is good
    #[arg(long, value_name = "PACKAGE=NUMBER")]
    good_until: Vec<GoodUntil>,
    /// Which of your identities granted
    #[arg(long = "as", value_name = "NAME", env = "PKG_IDENTITY")]
    identity: Option<String>,
    #[command(flatten)]
    to: To,
}

impl Ungrant {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let own = identity::choose(&context.session, self.identity.as_deref())?;
        let good_until = self.good_until.clone();
        let options = Options { to: self.to.to.clone(), good_until, ..Options::default() };
        let changed = identity::ungrant(&context.session, &own, &self.which, &options)?;
        show(context, &changed, None);
        Ok(())
    }
}
