//! Where the commands about runs look: the product, its runs, the repository's state.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::exit::{Exit, Failure};
use super::reports::quoted;
use super::run_scenarios::product_root;
use crate::config::Environment;
use crate::engine::{Held, RepoState};
use crate::event::{Audience, Envelope, Label, Summary};
use crate::git::{GitError, Repo};
use crate::id::RunId;
use crate::journal::{RunsDir, StoreError, read_summary};
use crate::report::Blobs;
use crate::report::published::RunReport;
use crate::text::Subtree;

/// The product that a command is about.
pub(super) struct Here<'a> {
    pub(super) root: PathBuf,
    pub(super) runs: RunsDir,
    pub(super) env: &'a Environment,
}

/// A run that a command is about.
pub(super) struct Found {
    pub(super) id: RunId,
    pub(super) dir: PathBuf,
    pub(super) summary: Summary,
    pub(super) events: Vec<Envelope>,
}

impl<'a> Here<'a> {
    /// Finds the product, see [`product_root`].
    pub(super) fn find(workdir: Option<&Path>, env: &'a Environment) -> anyhow::Result<Self> {
        let root = product_root(workdir, env)?;
        Ok(Self { runs: RunsDir::of(&root), root, env })
    }

    /// Returns the id of the run that `wanted` names, the newest where nothing is named.
    pub(super) fn id(&self, wanted: Option<&str>) -> anyhow::Result<RunId> {
        self.runs.find(wanted).map_err(failure)
    }

    /// Reads the run that `wanted` names, the newest where nothing is named; `brief` as in
    /// [`read_summary`].
    pub(super) fn read(&self, wanted: Option<&str>, brief: bool) -> anyhow::Result<Found> {
        let id = self.id(wanted)?;
        let dir = self.runs.run(&id);
        let (summary, events) = read_summary(&dir, brief).map_err(failure)?;
        Ok(Found { id, dir, summary, events })
    }

    /// Makes the report of a run, without details.
    pub(super) fn report(
        &self,
        run: &Found,
        holder: Option<&Held>,
        audience: Label,
    ) -> anyhow::Result<RunReport> {
        let active = holder.is_some_and(|held| held.run == run.id.as_str());
        let newest = self.runs.newest()?.as_ref() == Some(&run.id);
        let blobs = Blobs::of(&run.dir, Audience(audience));
        let mut report = RunReport::of(&run.summary, active, newest, &blobs)?;
        // A hint, read without git since a status has to be quick; `factory apply` itself asks.
        if let Some(branch) = &report.base_branch {
            let tip = self.git_entry().join("refs/heads").join(branch);
            if let Ok(commit) = std::fs::read_to_string(tip) {
                report.set_base_now(commit.trim_end());
            }
        }
        name_product(&mut report, &self.root, self.env);
        Ok(report)
    }

    /// Returns who is at work in the repository; none where nobody is.
    pub(super) fn holder(&self) -> anyhow::Result<Option<Held>> {
        // git itself is asked only where the answer is not plain: a status has to be quick.
        let git = self.git_entry();
        let common_dir = match git.symlink_metadata() {
            Ok(found) if found.is_dir() => git,
            Ok(_) => self.repo()?.common_dir().to_owned(),
            Err(_) => self.root.join("artifacts/factory"),
        };
        RepoState::of(Path::new(""), &self.root, &common_dir, &Subtree::default())
            .holder()
            .context("can't tell whether a run is active")
    }

    /// Returns where `.git` stands in the product's directory or above it, or would stand where there is none.
    fn git_entry(&self) -> PathBuf {
        let mut places = self.root.ancestors().map(|dir| dir.join(".git"));
        places.find(|place| place.symlink_metadata().is_ok()).unwrap_or(self.root.join(".git"))
    }

    /// Returns the repository.
    pub(super) fn repo(&self) -> anyhow::Result<Repo> {
        Repo::discover(&self.root, self.env.for_tools()).map_err(|error| {
            let exit = match error {
                GitError::NotARepository { .. } | GitError::NoCheckout { .. } => Exit::Usage,
                _ => Exit::Broken,
            };
            Failure::of(exit, error).into()
        })
    }

    /// Returns the repository's state outside of it, and the repository; none for a directory
    /// that is in none.
    pub(super) fn state(&self) -> anyhow::Result<(RepoState, Option<Repo>)> {
        let repo = match Repo::discover(&self.root, self.env.for_tools()) {
            Ok(repo) => Some(repo),
            Err(GitError::NotARepository { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let common_dir = match &repo {
            Some(repo) => repo.common_dir().to_owned(),
            None => self.root.join("artifacts/factory"),
        };
        let at = repo.as_ref().map(|repo| repo.subtree(&self.root)).transpose()?;
        let (at, state_dir) = (at.unwrap_or_default(), self.env.state_dir()?);
        Ok((RepoState::of(&state_dir, &self.root, &common_dir, &at), repo))
    }
}

/// Lets the commands of a report name its product, where they would be about another one of the repository from here.
pub(super) fn name_product(report: &mut RunReport, root: &Path, env: &Environment) {
    let is_here = product_root(None, env).is_ok_and(|here| here == root);
    if report.product.is_empty() || is_here {
        return;
    }
    let here = env.current_dir().canonicalize().unwrap_or_else(|_| env.current_dir().to_owned());
    let dir = root.strip_prefix(here).unwrap_or(root).display().to_string();
    for step in &mut report.next {
        step.command.push_str(&format!(" --workdir {}", quoted(&dir)));
    }
}

/// Gives a failure of the journal its exit code: a run that is not there was asked for in vain.
pub(super) fn failure(error: StoreError) -> anyhow::Error {
    let exit = match error {
        StoreError::NoRun { .. } | StoreError::NoRuns { .. } => Exit::Usage,
        _ => Exit::Broken,
    };
    Failure::of(exit, error).into()
}
