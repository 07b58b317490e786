//! The repositories in the loop's trees: the base and the candidate as two commits, for gates, scenarios and agents
//! that ask git. They are the factory's own making and hold nothing of the exam. Each use has a copy of its own, but
//! where trees lie where they are seen: there one is laid before set-up, gates, scenarios and each turn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::event::Tier;
use crate::git::{Apart, Made, Mode, Oid, Tag, Tree};
use crate::text::TreePath;
use crate::wall::confine::hand_over;
use crate::wall::{copy_tree, remove_tree};

use super::run::{git, oid};
use super::{Failure, Halt, Run};

/// A repository that is kept beside a tree, to be copied into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// Its git directory, without objects.
    pub(super) git: PathBuf,
    /// Its objects, which every copy reads.
    pub(super) objects: PathBuf,
}

impl Kept {
    /// Names that of a tree, in a run's directory.
    fn of(dir: &Path, tree: &str) -> Self {
        let dir = dir.join(format!("{tree}-git"));
        Self { git: dir.join("git"), objects: dir.join("objects") }
    }

    /// Puts a copy at `place`, where whatever was there goes.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn lay(&self, place: &Path, owner: Option<(u32, u32)>) -> Result<(), Halt> {
        let failed = |error| {
            Failure::of("disk", format!("making the repository {} failed", place.display()), error)
        };
        remove_tree(place).map_err(failed)?;
        copy_tree(&self.git, place).map_err(failed)?;
        if let Some(owner) = owner {
            hand_over(place, owner).map_err(failed)?;
        }
        Ok(())
    }
}

/// What this process knows of the repositories that it made.
#[derive(Debug, Default)]
pub(super) struct Repositories {
    tags: Option<Vec<Tag>>,
    /// By their git directories.
    made: BTreeMap<PathBuf, Made>,
}

impl Run {
    /// Returns the repository of the judge tree.
    pub(super) fn judge_repository(&mut self) -> Result<Kept, Halt> {
        Ok(Kept::of(&self.versioned()?.paths.dir, "judge"))
    }

    /// Returns the repository of the agent's workspace.
    pub(super) fn workspace_repository(&mut self) -> Result<Kept, Halt> {
        Ok(Kept::of(&self.versioned()?.paths.dir, "workspace"))
    }

    /// Makes the repository of the judge tree, which holds `candidate`: `holdout` is in none of its commits.
    pub(super) fn make_judge_repository(
        &mut self,
        candidate: &Oid,
        holdout: &BTreeSet<Vec<u8>>,
    ) -> Result<(), Halt> {
        let (kept, tree) = (self.judge_repository()?, self.versioned()?.paths.judge.clone());
        let mut files = Tree::clone(&*self.files_of(candidate.as_str())?);
        let base = self.summary().started.base.clone();
        let mut base_files = Tree::clone(&*self.files_of(&base)?);
        for files in [&mut files, &mut base_files] {
            files.retain(|path, _| !holdout.contains(path.as_bytes()));
        }
        self.make(&kept, &tree, &base_files, (candidate, &files))
    }

    /// Makes the repository of the agent's workspace, which holds `files` of `tip`. Of the base it has what stands
    /// beside the scenarios and holds no evaluation word for word. Returns how many files were searched for that.
    pub(super) fn make_workspace_repository(
        &mut self,
        tip: &str,
        files: &Tree,
        is_exam: &dyn Fn(&TreePath) -> bool,
    ) -> Result<usize, Halt> {
        let (kept, tree) =
            (self.workspace_repository()?, self.versioned()?.paths.workspace.clone());
        let base = self.summary().started.base.clone();
        let mut base_files = Tree::clone(&*self.files_of(&base)?);
        base_files.retain(|path, _| !is_exam(path));
        self.leave_out_copies(&mut base_files)?;
        // A link's target is read as a file's text is.
        let searched = base_files.values().filter(|entry| entry.mode != Mode::Submodule).count();
        self.make(&kept, &tree, &base_files, (&oid(tip)?, files))?;
        Ok(searched)
    }

    fn make(
        &mut self,
        kept: &Kept,
        tree: &Path,
        base_files: &Tree,
        candidate: (&Oid, &Tree),
    ) -> Result<(), Halt> {
        let started = &self.summary().started;
        let branch = started.base_branch.clone().unwrap_or_else(|| "main".to_owned());
        let base = oid(&started.base)?;
        let scenarios = self.frozen.at.path(self.frozen.config.scenarios.dir.trim_matches('/'));
        let versioned = self.versioned()?;
        let (repo, known) = (&versioned.repo, &mut versioned.repositories);
        let tags = match known.tags.take() {
            Some(tags) => tags,
            None => repo.tags_of(&base).map_err(git("reading the base's tags"))?,
        };
        let apart = Apart {
            git_dir: &kept.git,
            objects: &kept.objects,
            base: (&base, base_files),
            candidate,
            branch: &branch,
            tags: &tags,
            exclude: &format!("/{scenarios}/\n"),
            work_tree: tree,
        };
        let made = repo.make_apart(&apart, known.made.remove(&kept.git));
        let made = made.map_err(git("making the repository of a tree"))?;
        known.made.insert(kept.git.clone(), made);
        known.tags = Some(tags);
        Ok(())
    }

    /// Puts the repository into the judge tree, where it can't be seen there without lying there.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn lay_judge_repository(&mut self) -> Result<(), Halt> {
        if self.versioned.is_none() || self.judge_is_moved() {
            return Ok(());
        }
        let (kept, user) = (self.judge_repository()?, self.walls.judge_user());
        let place = self.versioned()?.paths.judge.join(".git");
        kept.lay(&place, user)
    }

    /// Returns whether what is judged sees its tree elsewhere than it lies.
    pub(super) fn judge_is_moved(&self) -> bool {
        self.walls.judge == Tier::Sandbox && self.walls.has_namespaces()
    }

    /// Takes out of a tree what holds a holdout evaluation word for word, a copy of the exam, and returns what that
    /// was. Each blob is searched once in a run.
    pub(super) fn leave_out_copies(&mut self, tree: &mut Tree) -> Result<Vec<String>, Halt> {
        let frozen = self.frozen.clone();
        let holdout = frozen.holdout();
        if holdout.is_empty() {
            return Ok(Vec::new());
        }
        let files: Vec<(TreePath, Oid)> = tree
            .iter()
            .filter(|(_, entry)| entry.mode.is_file())
            .filter(|(_, entry)| !self.known_clean.contains(&entry.oid))
            .map(|(path, entry)| (path.clone(), entry.oid.clone()))
            .collect();
        let mut found = Vec::new();
        let mut clean = Vec::new();
        self.versioned()?
            .repo
            .read_blobs(files.iter().map(|(_, oid)| oid.clone()), &mut |index, bytes| {
                match holdout.find(bytes) {
                    Some(_) => found.push(files[index].0.clone()),
                    None => clean.push(files[index].1.clone()),
                }
                Ok(())
            })
            .map_err(git("searching the workspace for the holdout"))?;
        self.known_clean.extend(clean);
        for path in &found {
            tree.remove(path);
        }
        Ok(found.iter().map(ToString::to_string).collect())
    }
}
