//! A kept login within a turn: lent before the agent starts, taken back once it is dead.

use std::path::PathBuf;
use std::time::Duration;

use crate::agent::{
    Backend, LentLogin, LoginError, TurnPaths, own_login, secret_files, secrets_in,
};
use crate::config::AgentSettings;
use crate::event::Activity;

use super::{Failure, Halt, Run};

/// How often a login that another run has is asked for again.
const PAUSE: Duration = Duration::from_millis(200);

impl Run {
    /// Puts the login that is kept for the agent into its home; none where another is used, or none is
    /// needed. Waits while another run has it.
    ///
    /// # Errors
    /// It can't be had, or a signal came.
    pub(super) fn lend_login(
        &mut self,
        backend: &dyn Backend,
        settings: &AgentSettings,
        paths: &TurnPaths,
        token: &str,
    ) -> Result<Option<LentLogin>, Halt> {
        let Some(kept) = own_login(backend, settings, &self.env) else { return Ok(None) };
        let mut told = false;
        loop {
            if let Some(held) = kept.hold().map_err(failed)? {
                self.recorder.learn_secrets(secrets_in(&kept.files()));
                return Ok(Some(held.lend(&paths.home, &paths.record, token).map_err(failed)?));
            }
            if !told {
                let text = format!("waits for the login `{}`, which another run has", kept.name);
                self.recorder.show_activity(&[Activity::Noted { text }]);
                told = true;
            }
            self.check_cancel()?;
            std::thread::sleep(PAUSE);
        }
    }

    /// Takes the login back, with what the agent has renewed, and keeps what is secret in `files` by now out
    /// of the record; called once nothing of the turn is alive.
    ///
    /// # Errors
    /// The disk said no.
    pub(super) fn take_back_login(
        &mut self,
        login: Option<LentLogin>,
        files: &[PathBuf],
    ) -> Result<(), Halt> {
        self.recorder.learn_secrets(secrets_in(files));
        if let Some(login) = login {
            let secrets = login.take_back().map_err(failed)?;
            self.recorder.learn_secrets(secrets);
        }
        Ok(())
    }

    /// Returns the files whose secrets are kept out of what is stored of the agent.
    pub(super) fn secret_files(
        &self,
        settings: &AgentSettings,
        paths: &TurnPaths,
        login: Option<&LentLogin>,
    ) -> Vec<PathBuf> {
        let mut files = secret_files(settings, &self.env);
        // An agent that is another user has copies of what it would else be linked to.
        let copies = settings.home.iter().map(|entry| entry.strip_prefix("~/").unwrap_or(entry));
        files.extend(copies.map(|entry| paths.home.join(entry)));
        files.extend(login.into_iter().flat_map(LentLogin::files));
        files
    }
}

fn failed(error: LoginError) -> Halt {
    Failure::of("agent", "the login that is kept for the agent can't be had", error).into()
}
