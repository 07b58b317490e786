//! What a run leaves for machines: its report, its branch as a bundle, and the outputs of a step. They are written
//! after every iteration, so that a job which is ended with no time left has paid for nothing in vain, and
//! again at the end.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::config::Environment;
use crate::event::{Audience, Envelope, Label, RunEvent, Summary};
use crate::git::{Oid, Repo};
use crate::journal::{RunsDir, read_summary};
use crate::report::github::{outputs, write_job_files};
use crate::report::{Blobs, Details, Reporter, RunReport, Scene, write_atomically};

use super::exit::{Exit, OrExit as _};

/// The files that a run leaves.
#[derive(Debug, Clone)]
pub(super) struct Leaving {
    /// The root of what is judged.
    pub(super) root: PathBuf,
    /// What the process was started with.
    pub(super) env: Environment,
    /// Where the report goes, absolute; none where nobody wants it.
    pub(super) report: Option<PathBuf>,
    /// Where the bundle goes, likewise.
    pub(super) bundle: Option<PathBuf>,
    /// Whether this is a step of GitHub Actions.
    pub(super) in_job: bool,
    /// Whether something has happened that the files don't tell.
    pub(super) is_due: bool,
}

impl Leaving {
    /// Returns the report of a run with what single scenarios came to, where somebody wants that; `active` says
    /// that a process works on it.
    ///
    /// # Errors
    /// What it tells of can't be read.
    pub(super) fn report(&self, summary: &Summary, active: bool) -> anyhow::Result<RunReport> {
        Ok(RunReport::of(summary, active, true, &self.blobs(summary))?)
    }

    /// Adds the details to a report, where somebody reads them.
    ///
    /// # Errors
    /// What they tell of can't be read; the rest of the report stands.
    pub(super) fn add_details(
        &self,
        report: &mut RunReport,
        summary: &Summary,
    ) -> anyhow::Result<()> {
        if !self.in_job && self.report.is_none() {
            return Ok(());
        }
        let dir = RunsDir::of(&self.root).run(&summary.run);
        read_summary(&dir, false)
            .and_then(|(_, events)| {
                report.add_details(summary, &Details::of(&events), &self.blobs(summary))
            })
            .context("the report of the run lacks its details")
    }

    fn blobs(&self, summary: &Summary) -> Blobs {
        let dir = RunsDir::of(&self.root).run(&summary.run);
        Blobs::of(&dir, Audience(Label::Internal))
    }

    /// Writes the bundle, the report, which offers nothing that the bundle does not hold, and the outputs of the
    /// step, of which the last count.
    ///
    /// # Errors
    /// One of them can't be written; the others are.
    pub(super) fn write(&self, summary: &Summary, report: &RunReport) -> anyhow::Result<()> {
        let bundled = match &self.bundle {
            // git refuses a bundle that holds nothing new.
            Some(path) if summary.tip != summary.started.base => self
                .write_bundle(path, summary)
                .with_context(|| format!("can't write the bundle `{}`", path.display())),
            _ => Ok(()),
        };
        let reported = match &self.report {
            Some(path) => report
                .to_json()
                .map_err(anyhow::Error::from)
                .and_then(|json| write_atomically(path, &json).or_exit(Exit::Broken)),
            None => Ok(()),
        };
        let told = match self.in_job {
            true => write_job_files(&self.env, &outputs(report), None).or_exit(Exit::Broken),
            false => Ok(()),
        };
        bundled.and(reported).and(told)
    }

    /// Makes the directories that the files go to: what can't be left is said before anything is paid for.
    ///
    /// # Errors
    /// One can't be made.
    pub(super) fn make_room(&self) -> anyhow::Result<()> {
        for path in [&self.report, &self.bundle].into_iter().flatten() {
            let dir = path.parent().unwrap_or(path);
            std::fs::create_dir_all(dir)
                .with_context(|| {
                    format!("can't make `{}`, where {} is to go", dir.display(), path.display())
                })
                .or_exit(Exit::Broken)?;
        }
        Ok(())
    }

    fn write_bundle(&self, path: &Path, summary: &Summary) -> anyhow::Result<()> {
        let base = Oid::parse(&summary.started.base).or_exit(Exit::Broken)?;
        let branch = format!("refs/heads/{}", summary.started.branch);
        let repo = Repo::discover(&self.root, self.env.for_tools()).or_exit(Exit::Broken)?;
        // In a directory of its own: git leaves a lock beside a bundle in whose making it is killed.
        let dir = path.parent().unwrap_or(path);
        let stage = tempfile::Builder::new().prefix(".bundle-").tempdir_in(dir);
        let stage = stage.or_exit(Exit::Broken)?;
        let made = stage.path().join("bundle");
        repo.bundle(&made, &[&branch], &[base]).or_exit(Exit::Broken)?;
        std::fs::rename(&made, path).or_exit(Exit::Broken)
    }
}

impl Reporter for Leaving {
    fn event(&mut self, scene: &Scene<'_>, envelope: &Envelope) {
        let tells = matches!(
            envelope.event,
            RunEvent::CandidateJudged { .. }
                | RunEvent::DecisionMade { .. }
                | RunEvent::AgentFinished { .. }
                | RunEvent::DeliveryAccepted { .. }
                | RunEvent::DeliveryUnchanged { .. }
                | RunEvent::DeliveryRefused { .. }
        );
        self.is_due |= tells;
        // By then the branch is where the events say.
        if !self.is_due || !matches!(envelope.event, RunEvent::NodeFinished { .. }) {
            return;
        }
        self.is_due = false;
        // What can't be written now is written at the end, which says why it can't.
        let _ = self.report(scene.summary, true).and_then(|mut report| {
            let detailed = self.add_details(&mut report, scene.summary);
            self.write(scene.summary, &report).and(detailed)
        });
    }
}
