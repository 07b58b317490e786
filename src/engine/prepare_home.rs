//! The home of set-up commands: what of it is a candidate's own, over steps that are run and others whose work is kept.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::wall::confine::hand_over;
use crate::wall::remove_tree;

use super::Halt;
use super::outputs::{KEPT_HOME, Made, copy, disk, keys_of, read_json, write_json};
use super::run::private_dir;

/// The home of set-up commands, of which whatever is judged begins with a copy. It holds what the commands left there
/// for the present candidate and those alone: what another candidate's left would answer for this one.
pub(super) struct Home {
    at: PathBuf,
    owner: Option<(u32, u32)>,
    /// Says for which candidate, and which steps have begun there.
    file: PathBuf,
    held: Begun,
    /// Whether nothing of another candidate may be there.
    is_fresh: bool,
    is_same_candidate: bool,
    /// What the last step before the next one left there, where that was kept.
    kept: Option<PathBuf>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Begun {
    candidate: String,
    keys: Vec<String>,
}

impl Home {
    /// Begins with what of the home `at` is the candidate's, as the run's directory says.
    pub(super) fn begin(
        [run_dir, at]: [&Path; 2],
        candidate: &str,
        made: &[Made],
        owner: Option<(u32, u32)>,
        is_fresh: bool,
    ) -> Result<Self, Halt> {
        let file = run_dir.join("prepare-home.json");
        // Without it nobody knows what is there.
        let before: Begun = read_json(&file);
        let is_own = keys_of(made).starts_with(&before.keys);
        let mut home = Self {
            at: at.to_owned(),
            owner,
            file,
            is_same_candidate: before.candidate == candidate,
            held: Begun { candidate: candidate.to_owned(), keys: before.keys },
            is_fresh,
            kept: None,
        };
        if !is_own || home.held.keys.is_empty() {
            home.clear()?;
        }
        Ok(home)
    }

    /// Takes what stands with the kept outputs of a step, instead of a run of it.
    pub(super) fn take(&mut self, made: &Made) {
        self.kept = Some(made.dir.join(KEPT_HOME)).filter(|kept| kept.is_dir());
    }

    /// Makes the home ready for the last of the steps `made`, which is run in it now, and no second time for another
    /// candidate.
    pub(super) fn begin_step(&mut self, made: &[Made]) -> Result<(), Halt> {
        let before = &made[..made.len().saturating_sub(1)];
        if self.held.keys.len() > before.len() && !self.is_same_candidate {
            self.clear()?;
        }
        self.settle(before)?;
        self.hold(made)
    }

    /// Sets the home to what the steps `made` left, where it holds less.
    pub(super) fn settle(&mut self, made: &[Made]) -> Result<(), Halt> {
        let kept = self.kept.take();
        if self.held.keys.len() >= made.len() {
            return Ok(());
        }
        if let Some(kept) = kept {
            self.clear()?;
            fill(&kept, &self.at)?;
            self.hand_over()?;
        }
        self.hold(made)
    }

    fn hold(&mut self, made: &[Made]) -> Result<(), Halt> {
        self.held.keys = keys_of(made);
        write_json(&self.file, &self.held)
    }

    fn clear(&mut self) -> Result<(), Halt> {
        self.hold(&[])?;
        if self.is_fresh {
            remove_tree(&self.at).map_err(disk("removing", &self.at))?;
        }
        private_dir(&self.at)?;
        self.is_same_candidate = true;
        self.hand_over()
    }

    fn hand_over(&self) -> Result<(), Halt> {
        let handed = self.owner.map_or(Ok(()), |owner| hand_over(&self.at, owner));
        handed.map_err(disk("handing over", &self.at))
    }
}

/// Copies what `to` has not, directory by directory; a link is never followed.
fn fill(from: &Path, to: &Path) -> Result<(), Halt> {
    for entry in std::fs::read_dir(from).map_err(disk("reading", from))? {
        let name = entry.map_err(disk("reading", from))?.file_name();
        let (source, target) = (from.join(&name), to.join(&name));
        let is_dir = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
        if target.symlink_metadata().is_err() {
            copy(&source, &target)?;
        } else if is_dir(&source) && is_dir(&target) {
            fill(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PrepareSettings;
    use crate::engine::outputs::keep_outputs;
    use crate::engine::outputs::tests::{made, step};

    /// What a home has after a candidate's steps, each of which is run, and leaves its key and the candidate there, but
    /// where it is kept.
    fn home_after(dir: &Path, candidate: &str, keys: &[&str], is_fresh: bool) -> String {
        let (at, made) = (dir.join("home"), made(keys, &dir.join("cache")));
        let mut home = Home::begin([dir, &at], candidate, &made, None, is_fresh).unwrap();
        for (index, one) in made.iter().enumerate() {
            if one.dir.is_dir() {
                home.take(one);
            } else {
                home.begin_step(&made[..=index]).unwrap();
                let log = at.join("log");
                let before = std::fs::read_to_string(&log).unwrap_or_default();
                std::fs::write(&log, format!("{before}{}{candidate} ", one.key)).unwrap();
            }
        }
        home.settle(&made).unwrap();
        std::fs::read_to_string(at.join("log")).unwrap_or_default()
    }

    #[test]
    fn a_home_has_what_the_candidates_own_steps_left_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let after = |candidate, keys: &[&str]| home_after(dir, candidate, keys, true);
        assert_eq!(after("a", &["1", "2"]), "1a 2a ");
        // The same candidate goes on in its own.
        assert_eq!(after("a", &["1", "2"]), "1a 2a 1a 2a ");
        assert_eq!(after("b", &["1", "2"]), "1b 2b ");
        assert_eq!(after("c", &["1", "3"]), "1c 3c ");
        let without_outputs = PrepareSettings { outputs: Vec::new(), ..step() };
        let keep = |key: &str| {
            let made = &made(&[key], &dir.join("cache"))[0];
            keep_outputs(&without_outputs, dir, made, Some(&dir.join("home"))).unwrap();
        };
        assert_eq!(after("d", &["1"]), "1d ");
        keep("1");
        assert_eq!(after("d", &["1", "3"]), "1d 3d ");
        // Nothing is run, and nothing copied.
        assert_eq!(after("e", &["1"]), "1d ");
        assert_eq!(after("f", &["1", "3", "4"]), "1d 3f 4f ");
        keep("4");
        assert_eq!(after("g", &["1", "5"]), "1d 5g ");
        assert_eq!(after("h", &["1", "3", "4", "6"]), "1d 3f 4f 6h ");
        // What is asked for is that all stays.
        assert_eq!(home_after(dir, "i", &["7"], false), "1d 3f 4f 6h 7i ");
        std::fs::write(dir.join("prepare-home.json"), "{damaged").unwrap();
        assert_eq!(after("i", &["7"]), "7i ");
        // Without a step nobody left anything.
        assert_eq!(after("j", &[]), "");
    }
}
