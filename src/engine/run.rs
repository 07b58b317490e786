//! One run: what its handlers work with.

use std::collections::{BTreeSet, HashSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::agent::CrashPoint;
use crate::clock::{Clock as _, Instant, SystemClock, Timestamp};
use crate::config::{Environment, python_in_place, python_names, python_start, redaction_of};
use crate::convergence::Totals;
use crate::delivery::{Links, Policy};
use crate::event::{BlobRef, RunEvent, Summary, Tier};
use crate::git::{GitError, Oid, Repo, Signature, Tree};
use crate::id::NodeId;
use crate::journal::{Record, RunsDir, make_private_dir, write_durably};
use crate::judge::{EvidenceDir, Fixtures, Judging, Place};
use crate::pipeline::{Next, Phase, Walk};
use crate::process::survivors::{self, Process, Search};
use crate::process::{Cancel, Limited, mark};
use crate::text::{Redaction, TreePath};
use crate::wall::confine::{Closed, hand_over};
use crate::wall::{KeptFiles, ManagedTree, TreeError, remove_tree, short_name};

use super::outputs::{disk, held_in_judge};
use super::repository::Repositories;
use super::state::Lock;
use super::{Failure, Frozen, Halt, Host, Recorder, RepoState, RunPaths, Walls};

/// What the caller wants of a run, beside what is frozen.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// The binary that carries the hidden subcommands of the agent's supervisor.
    pub factory: PathBuf,
    /// Whether to stop before the second turn of this process.
    pub once: bool,
    /// Where a test wants this process to die: after the event of this number.
    pub die_after: Option<u64>,
    /// Where a test wants the supervisor of the next turn to die.
    pub crash: Option<CrashPoint>,
    /// How much faster a test has the run wait than its clock goes; 1 else.
    pub haste: u32,
}

/// The parts of a run that works on commits, which a run in place has not.
pub struct Versioned {
    /// The person's repository.
    pub repo: Repo,
    /// Its state outside.
    pub state: RepoState,
    /// The places of this run.
    pub paths: RunPaths,
    /// The tree in which candidates are judged.
    pub judge: ManagedTree,
    /// The candidate whose files are in it, as far as this process knows.
    pub judge_holds: Option<Oid>,
    /// The commits that were listed last, the newest at the end.
    pub(super) listed: Vec<(Oid, Arc<Tree>)>,
    /// The repositories of its trees, as far as this process made them.
    pub(super) repositories: Repositories,
}

impl Versioned {
    /// Returns the files of a commit; those of the last few are kept, since a candidate is asked
    /// for at every node and may have many.
    ///
    /// # Errors
    /// git failed.
    pub fn files_of(&mut self, commit: &Oid) -> Result<Arc<Tree>, GitError> {
        /// The base, the candidate, the branch's tip, and the one before.
        const KEPT: usize = 4;
        let known = self.listed.iter().position(|(oid, _)| oid == commit);
        let entry = match known {
            Some(at) => self.listed.remove(at),
            None => (commit.clone(), Arc::new(self.repo.list(commit)?)),
        };
        let tree = entry.1.clone();
        self.listed.push(entry);
        let excess = self.listed.len().saturating_sub(KEPT);
        self.listed.drain(..excess);
        Ok(tree)
    }
}

/// A run in progress.
pub struct Run {
    /// The root of what is judged: the person's checkout, or the product's directory in it.
    pub root: PathBuf,
    /// What the process was started with.
    pub env: Environment,
    /// What was read at the start.
    pub frozen: Arc<Frozen>,
    /// Where events go.
    pub recorder: Recorder,
    /// Trips when a signal comes, or the time of the present node is up.
    pub cancel: Cancel,
    /// Trips when a signal comes.
    pub(super) signals: Cancel,
    /// Watches the time of the present node; none where it has no limit.
    pub(super) limited: Option<Limited>,
    /// What the caller wants.
    pub settings: RunSettings,
    /// None for a run in place.
    pub versioned: Option<Versioned>,
    /// What scenarios need to have running; none before the first judgement.
    pub(super) fixtures: Option<Arc<Fixtures>>,
    /// What is enforced.
    pub walls: Walls,
    /// How gates and scenarios are confined; none before the first judgement.
    pub(super) judging: Option<Arc<Judging>>,
    /// What of the judge tree no candidate's code may change for a verdict; none before it is set up, or where a person's
    /// tree is judged.
    pub(super) kept: Option<Arc<KeptFiles>>,
    /// Released when the run ends.
    pub(super) _lock: Option<Lock>,
    /// The turns that were taken before this process went on.
    pub(super) turns_before: u32,
    /// What other runs of the repository used within the last 24 hours, where a limit asks for it.
    pub(super) elsewhere: Totals,
    /// Blobs in which no evaluation of the holdout was found.
    pub(super) known_clean: HashSet<Oid>,
}

impl Run {
    /// Returns the fold of the events so far.
    pub fn summary(&self) -> &Summary {
        self.recorder.summary()
    }

    /// Returns the versioned parts.
    ///
    /// # Errors
    /// The run is one in place, whose graph has no node that asks for them.
    pub fn versioned(&mut self) -> Result<&mut Versioned, Halt> {
        self.versioned.as_mut().ok_or_else(|| {
            Failure::plain("graph", "a run in place has no candidate to set up").into()
        })
    }

    /// Returns where gates and scenarios run, the judge tree holding the candidate.
    ///
    /// # Errors
    /// The tree can't be set up.
    pub fn place(&mut self) -> Result<Place, Halt> {
        if self.versioned.is_none() {
            let python = python_in_place(&self.env, &self.root);
            let env = self.env.for_product(&self.frozen.config.env, python, None, None);
            return Ok(Place::open(&self.root, env).redacting(self.secrets_of_product()));
        }
        self.sync_judge()?;
        let names = self.frozen.config.env.clone();
        let env = self.env.clone();
        let at = self.frozen.at.clone();
        let seen = at.under(&self.judged_at()?);
        let is_moved = self.judge_is_moved();
        // What the agent adds is no part of what the product is called by.
        let base = self.files_of(&self.summary().started.base.clone())?;
        let files = base.keys().map(TreePath::as_path);
        let own = python_names(files.filter_map(|path| path.strip_prefix(at.as_str()).ok()));
        let paths = &self.versioned()?.paths;
        private_dir(&paths.judge_tmp)?;
        // Its own path may leave no room for the path of a socket.
        let tmp = if is_moved { PathBuf::from("/tmp") } else { short_name(&paths.judge_tmp) };
        let root = at.under(&paths.judge);
        let python =
            python_start(&paths.dir, &root, &seen, &own).map_err(disk("writing", &paths.dir))?;
        let vars = env.for_product(&names, python, Some(&paths.judge_home), Some(&tmp));
        let confined = self.judging(&vars)?;
        let kept = self.kept.clone();
        let place = Place { confined, seen, kept, ..Place::open(root, vars) };
        Ok(place.redacting(self.secrets_of_product()))
    }

    /// Returns what the agent may write, by the settings and the links of the base.
    ///
    /// # Errors
    /// The base can't be read, or a pattern can't be used.
    pub(super) fn policy(&mut self) -> Result<Policy, Halt> {
        let links = self.base_links()?;
        let policy = self.frozen.config.delivery_policy(links, &self.frozen.at);
        policy.map_err(|error| {
            Failure::of("settings", "the delivery policy can't be made", error).into()
        })
    }

    /// Returns the links of the commit that the run began from.
    ///
    /// # Errors
    /// The base can't be read.
    pub(super) fn base_links(&mut self) -> Result<Links, Halt> {
        let base = self.summary().started.base.clone();
        let tree = self.files_of(&base)?;
        let links = self.versioned()?.repo.read_links(&tree);
        links.map(Links::of).map_err(git("reading the links of the base"))
    }

    /// Returns what keeps the secrets among the product's variables out of texts.
    pub(super) fn secrets_of_product(&self) -> Redaction {
        redaction_of(&self.env, &self.frozen.config.env)
    }

    /// Returns the fixtures of the run, which live in `place`.
    ///
    /// # Errors
    /// They need each other in a circle.
    pub fn fixtures(&mut self, place: &Place) -> Result<Arc<Fixtures>, Halt> {
        if let Some(fixtures) = &self.fixtures {
            return Ok(fixtures.clone());
        }
        let logs = RunsDir::of(&self.root).run(&self.summary().run).join("fixtures");
        let settings = &self.frozen.config.fixtures;
        let fixtures = Fixtures::new(settings, place, &logs, &self.signals).map_err(|error| {
            Halt::from(Failure::of("settings", "the fixtures make no sense", error))
        })?;
        Ok(self.fixtures.insert(Arc::new(fixtures)).clone())
    }

    /// Returns where the evidence of the present judgement goes.
    pub fn evidence(&self) -> EvidenceDir {
        let run = RunsDir::of(&self.root).run(&self.summary().run);
        let path = run.join("evidence").join(self.summary().iteration().to_string());
        let shown = path.strip_prefix(&self.root).unwrap_or(&path).display().to_string();
        EvidenceDir { path, shown }
    }

    /// Returns whether each candidate is judged without what was made for another one.
    pub(super) fn is_fresh(&self) -> bool {
        self.walls.judge == Tier::Sandbox && self.frozen.config.isolation.fresh
    }

    /// Sets the judge tree to the candidate, once a candidate; returns what there is to be told
    /// about files that could not be had.
    ///
    /// # Errors
    /// The tree can't be set up.
    pub fn sync_judge(&mut self) -> Result<Vec<String>, Halt> {
        let candidate = oid(&self.summary().candidate.0)?;
        let holdout = holdout_files(&self.frozen);
        let is_fresh = self.is_fresh();
        let versioned = self.versioned()?;
        if versioned.judge_holds.as_ref() == Some(&candidate) {
            return Ok(Vec::new());
        }
        self.end_leftovers()?;
        let versioned = self.versioned()?;
        for dir in [&versioned.paths.judge_home, &versioned.paths.judge_tmp] {
            private_dir(dir)?;
        }
        let tree = versioned.files_of(&candidate).map_err(git("reading the candidate"))?;
        let mut tree = Arc::unwrap_or_clone(tree);
        tree.retain(|path, _| !holdout.contains(path.as_bytes()));
        // What the code of an earlier candidate left in build output is no part of this one.
        let holds = versioned.paths.dir.join("judge.candidate");
        let is_other = std::fs::read_to_string(&holds).ok().as_deref() != Some(candidate.as_str());
        let report = if is_other && is_fresh {
            remove_file(&held_in_judge(&versioned.paths.dir))?;
            let tmp = &versioned.paths.judge_tmp;
            remove_tree(tmp).map_err(disk("removing", tmp))?;
            private_dir(tmp)?;
            versioned.judge.sync_fresh(&versioned.repo, &tree)
        } else {
            versioned.judge.sync(&versioned.repo, &tree)
        };
        let report = report.map_err(tree_failure("the judge tree"))?;
        let judge_dir = versioned.paths.judge.clone();
        self.make_product_dir(&judge_dir, self.walls.judge_user())?;
        self.make_judge_repository(&candidate, &holdout)?;
        let versioned = self.versioned()?;
        write_durably(&holds, candidate.as_str().as_bytes()).map_err(|error| {
            Failure::of("disk", format!("writing {} failed", holds.display()), error)
        })?;
        versioned.judge_holds = Some(candidate);
        self.keep_exam(&tree)?;
        Ok(report.notices)
    }

    /// Keeps the scenarios' directory and everything else that no agent may change as the judge tree has it now, before
    /// anything of the candidate's is run there.
    fn keep_exam(&mut self, tree: &Tree) -> Result<(), Halt> {
        let (policy, owner) = (self.policy()?, self.walls.judge_user());
        let paths = tree.keys().filter(|path| policy.is_protected(path)).cloned();
        let (dir, outputs) = (self.frozen.exam_dir(), self.frozen.outputs());
        let of_run = &self.versioned()?.paths;
        let (judge, place) = (&of_run.judge, of_run.dir.join("exam"));
        let whole = Closed::of(judge, judge, &dir)
            .and_then(|closed| TreePath::parse(closed.path.as_encoded_bytes()).ok());
        // A directory outside of the tree is no part of it.
        let Ok(named) = TreePath::parse(dir) else { return Ok(()) };
        let kept = KeptFiles::keep(judge, &place, paths, (named, whole), outputs, owner);
        self.kept = Some(Arc::new(kept.map_err(disk("keeping the exam in", &place))?));
        Ok(())
    }

    /// Makes the product's directory in a tree: everything that a commit has of it may be kept from the tree.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn make_product_dir(
        &self,
        tree: &Path,
        owner: Option<(u32, u32)>,
    ) -> Result<(), Halt> {
        let dir = self.frozen.at.under(tree);
        if dir.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(&dir)
            .and_then(|()| owner.map_or(Ok(()), |owner| hand_over(&dir, owner)))
            .map_err(|error| {
                Failure::of("disk", format!("making {} failed", dir.display()), error).into()
            })
    }

    /// Ends what an earlier judgement left running: a server that a scenario started, or everything
    /// of a factory that was killed. It would answer for the candidate that is judged next.
    ///
    /// # Errors
    /// Something outlived SIGKILL.
    pub(super) fn end_leftovers(&self) -> Result<(), Halt> {
        const BOUND: Duration = Duration::from_secs(20);
        let Some(versioned) = &self.versioned else { return Ok(()) };
        let home = versioned.paths.judge_home.as_os_str().as_bytes();
        let search = Search { variable: "HOME", value: home, own_descendants: false };
        // A fixture that lives for the whole run is stopped by who started it.
        let spared = |one: &Process| survivors::inherits(one, mark::FIXTURE);
        match survivors::sweep_but(search, spared, BOUND).left {
            0 => Ok(()),
            left => Err(Failure::plain(
                "judge",
                format!("{left} processes of an earlier judgement outlived SIGKILL; nothing can be judged beside them"),
            )
            .into()),
        }
    }

    /// Puts the run's branch where the events say that it is.
    ///
    /// # Errors
    /// Somebody else moved the branch, or git failed.
    pub fn sync_branch(&mut self, before: &str) -> Result<(), Halt> {
        let (branch, tip) = (self.summary().started.branch.clone(), self.summary().tip.clone());
        let name = format!("refs/heads/{branch}");
        let repo = &self.versioned()?.repo;
        let current = repo.resolve(&name).map_err(git("reading the run's branch"))?;
        if current.as_ref().map(Oid::as_str) == Some(tip.as_str()) {
            return Ok(());
        }
        let expected = if before.is_empty() { None } else { Some(oid(before)?) };
        repo.update_ref(&name, &oid(&tip)?, expected.as_ref(), "dark-factory")
            .map_err(git("moving the run's branch"))
    }

    /// Returns the parent of the last commit on the run's branch by the journal; empty where that
    /// is the base itself, whose branch did not exist before.
    ///
    /// # Errors
    /// git failed.
    pub fn parent_of_tip(&mut self) -> Result<String, Halt> {
        let (base, tip) = (self.summary().started.base.clone(), self.summary().tip.clone());
        if base == tip {
            return Ok(String::new());
        }
        let parent = self
            .versioned()?
            .repo
            .resolve(&format!("{tip}^"))
            .map_err(git("reading the run's branch"))?;
        Ok(parent.map(|oid| oid.as_str().to_owned()).unwrap_or_default())
    }

    /// Returns a blob's text, decoded leniently.
    ///
    /// # Errors
    /// The blob can't be read.
    pub fn text(&self, blob: &BlobRef) -> Result<String, Halt> {
        Ok(String::from_utf8_lossy(&self.recorder.get(blob)?).into_owned())
    }

    /// Returns the absolute paths that mean nothing to a reader of feedback: the trees' and homes'.
    pub fn tree_roots(&self) -> Vec<String> {
        let mut roots = vec![self.root.display().to_string()];
        if let Some(versioned) = &self.versioned {
            let paths = &versioned.paths;
            let all = [&paths.judge, &paths.judge_home, &paths.judge_tmp, &paths.workspace];
            roots.extend(all.map(|path| path.display().to_string()));
            let at = &self.frozen.at;
            if !at.is_top() {
                let trees = [&paths.judge, &paths.workspace].map(|tree| at.under(tree));
                let all = trees.iter().map(PathBuf::as_path).chain([versioned.repo.root()]);
                roots.extend(all.map(|path| path.display().to_string()));
            }
        }
        roots
    }

    /// Returns the trailers of a commit that is made now, `more` after the iteration. The last one
    /// holds the journal as it is, line for line: one which is rewritten later is found out.
    pub fn trailers(&self, iteration: u32, more: &str) -> String {
        let more = format!("Factory-Iteration: {iteration}\n{more}");
        Record::trailers(&self.summary().run, &more, self.recorder.head())
    }

    /// Returns whom the factory's commits are by.
    pub fn author() -> Signature {
        Signature { name: "dark-factory".to_owned(), email: "dark-factory@localhost".to_owned() }
    }

    /// Returns the files of a commit.
    ///
    /// # Errors
    /// git failed.
    pub fn files_of(&mut self, commit: &str) -> Result<Arc<Tree>, Halt> {
        let oid = oid(commit)?;
        self.versioned()?.files_of(&oid).map_err(git("reading a commit"))
    }
}

impl Host for Run {
    fn record(&mut self, node: Option<&NodeId>, event: RunEvent) -> Result<(), Halt> {
        self.recorder.record(node, event)
    }

    fn walk(&self) -> &Walk {
        &self.summary().walk
    }

    fn wait(&self, delay: Duration) -> Result<(), Halt> {
        let since = Instant::now();
        while !since.left(delay).is_zero() {
            self.check_cancel()?;
            std::thread::sleep(since.left(delay).min(Duration::from_millis(50)));
        }
        Ok(())
    }

    fn limit(&mut self, limit: Option<Duration>) -> Result<(), Halt> {
        self.limited = match limit {
            Some(limit) => Some(Limited::begin(&self.signals, limit).map_err(|error| {
                Failure::of("system", "watching the time of a node failed", error)
            })?),
            None => None,
        };
        self.cancel =
            self.limited.as_ref().map_or(&self.signals, |limited| limited.cancel()).clone();
        Ok(())
    }

    fn limit_was_reached(&self) -> bool {
        self.limited.as_ref().is_some_and(Limited::is_reached)
    }

    fn before(&mut self, next: &Next) -> Result<(), Halt> {
        self.check_cancel()?;
        let taken = self.summary().turns_taken();
        let leads_on = match next {
            Next::Take { from, .. } => self.summary().walk.positions.iter().any(|position| {
                position.node == *from
                    && matches!(&position.phase, Phase::Finished { outcome, .. }
                        if outcome.preferred_label.as_deref() == Some("continue"))
            }),
            _ => false,
        };
        if self.settings.once && leads_on && taken > self.turns_before {
            return Err(Halt::Paused);
        }
        Ok(())
    }
}

impl Run {
    /// Waits until `at`.
    ///
    /// # Errors
    /// A signal came.
    pub(super) fn wait_until(&self, at: Timestamp) -> Result<(), Halt> {
        // Step by step: a machine that slept finds the moment passed.
        let (begun, since) = (SystemClock.now(), Instant::now());
        loop {
            let now = begun.plus(since.elapsed() * self.settings.haste).max(SystemClock.now());
            let left = at.since(now);
            if left.is_zero() {
                return Ok(());
            }
            self.wait((left / self.settings.haste).min(Duration::from_secs(1)))?;
        }
    }

    /// Returns an error once a signal has come.
    ///
    /// # Errors
    /// It has.
    pub fn check_cancel(&self) -> Result<(), Halt> {
        match self.cancel.tripped() {
            Some(signal) => Err(Halt::Interrupted(signal)),
            None => Ok(()),
        }
    }
}

/// Returns the paths of the scenarios that no agent may read, as the tree has them.
pub(super) fn holdout_files(frozen: &Frozen) -> BTreeSet<Vec<u8>> {
    frozen
        .set
        .entries
        .iter()
        .filter(|entry| entry.visibility() == crate::scenario::Visibility::Holdout)
        .map(|entry| frozen.at.path(&entry.file).into_bytes())
        .collect()
}

/// Reads an object id that the factory itself wrote.
pub(super) fn oid(text: &str) -> Result<Oid, Halt> {
    Oid::parse(text)
        .map_err(|error| Failure::of("journal", "the journal names no commit", error).into())
}

/// Makes the failure of something that git did not do.
pub(super) fn git(doing: &'static str) -> impl FnOnce(GitError) -> Halt {
    move |error| Failure::of("git", format!("{doing} failed"), error).into()
}

/// Makes the failure of a tree that could not be set up or read.
pub(super) fn tree_failure(which: &'static str) -> impl FnOnce(TreeError) -> Halt {
    move |error| Failure::of("tree", format!("setting up {which} failed"), error).into()
}

fn remove_file(path: &Path) -> Result<(), Halt> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::of("disk", format!("removing {} failed", path.display()), error).into())
        }
        _ => Ok(()),
    }
}

/// Makes a directory for this user alone.
pub(super) fn private_dir(path: &Path) -> Result<(), Halt> {
    make_private_dir(path).map_err(|error| {
        Failure::of("disk", format!("making {} failed", path.display()), error).into()
    })
}
