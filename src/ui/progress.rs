//! Progress on stderr: bars on a terminal, lines of JSON with `--json`, nothing otherwise.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use porcelain::event::Reporter;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Draws what verbs report.
pub struct Screen {
    quiet: bool,
    bars: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Screen {
    /// A screen; `quiet` keeps remarks and warnings back too.
    pub fn new(quiet: bool, bars: bool) -> Screen {
        Screen { quiet, bars: bars && !quiet && std::io::stderr().is_terminal(), bar: Mutex::default() }
    }

    /// Writes lines without tearing the bar.
    fn above_bar(&self, write: impl FnOnce()) {
        match self.bar().as_ref() {
            _ if self.quiet => {}
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter for Screen {
    fn begin(&self, what: &str, bytes_total: Option<u64>) {
        if !self.bars {
            return;
        }
        let bar = match bytes_total {
            Some(total) => ProgressBar::new(total).with_style(style(
                "{msg} {bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}",
            )),
            None => ProgressBar::new_spinner()
                .with_style(style("{spinner} {msg} {decimal_bytes} {decimal_bytes_per_sec}")),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        bar.set_message(objects::name::printable(what));
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.bar() = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        if self.bars
            && let Some(bar) = self.bar().as_ref()
        {
            bar.inc(bytes);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }

    fn note(&self, message: &str) {
        self.above_bar(|| super::note(message));
    }

    fn warn(&self, message: &str) {
        self.above_bar(|| super::warn(message));
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are well-formed")
}
