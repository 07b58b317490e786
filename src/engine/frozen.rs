//! What a run reads once, at its start: scenarios, specs, settings, gates and prompt. Later edits
//! are for the next run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::{Config, GateSettings, PrepareSettings};
use crate::convergence::PriceTable;
use crate::feedback::{Mask, Point};
use crate::id::ScenarioId;
use crate::report::Names;
use crate::scenario::{Entry, Holdout, ScenarioSet, Visibility, canary};
use crate::text::{Subtree, TreePath};

/// Everything that is frozen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frozen {
    /// Where in its repository the product lies, to which all paths here are relative.
    #[serde(default, skip_serializing_if = "Subtree::is_top")]
    pub at: Subtree,
    /// The settings, flags applied.
    pub config: Config,
    /// The scenarios.
    pub set: ScenarioSet,
    /// The gates in order: the configured ones, or the base's defaults.
    pub gates: Vec<GateSettings>,
    /// The prompt's template.
    pub prompt: String,
    /// The file that it came from, as people see it.
    pub prompt_name: String,
    /// The base's make targets.
    pub targets: BTreeSet<String>,
    /// The specs: path and text, sorted by path.
    pub specs: Vec<(String, String)>,
    /// What earlier runs on this branch came to, oldest first.
    pub earlier: Vec<Point>,
    /// What the canaries of this run are made from; empty in runs of earlier versions, and where no agent
    /// could read them.
    #[serde(default)]
    pub canary: String,
    /// What models cost, the settings' prices among them; those that come with this version in runs of
    /// earlier versions.
    #[serde(default = "PriceTable::built_in")]
    pub prices: PriceTable,
}

/// Something that could not be frozen.
#[derive(Debug, thiserror::Error)]
pub enum FrozenError {
    /// A file that is there can't be read.
    #[error("reading {file} failed")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A glob of the settings.
    #[error("`{glob}` under `specs` is no glob")]
    Glob {
        /// The glob.
        glob: String,
        /// Why.
        source: globset::Error,
    },
}

impl Frozen {
    /// Returns the names by which reports call gates and scenarios.
    pub fn names(&self) -> Names {
        Names {
            gates: self.gates.iter().map(|gate| gate.name.clone()).collect(),
            quality: self.config.quality.iter().map(|check| check.name.clone()).collect(),
            prepare: self.config.prepare.iter().map(|step| step.name.clone()).collect(),
            scenarios: self
                .set
                .entries
                .iter()
                .map(|entry| (entry.id.clone(), entry.name.clone()))
                .collect(),
        }
    }

    /// Returns the mask that keeps the holdout's text out of everything the agent reads.
    pub fn mask(&self) -> Mask {
        let specs: Vec<&str> = self.specs.iter().map(|(_, text)| text.as_str()).collect();
        let kept = self.set.entries.iter().filter(|_| !self.canary.is_empty());
        Mask::new(&self.set, &specs).and(kept.map(|entry| canary(&self.canary, &entry.id)))
    }

    /// Returns what is searched for wherever the agent could have the exam from.
    pub fn holdout(&self) -> Holdout {
        Holdout::of(&self.set).with_canaries(&self.set, &self.canary)
    }

    /// Returns the entries by id.
    pub fn entries(&self) -> BTreeMap<&ScenarioId, &Entry> {
        self.set.entries.iter().map(|entry| (&entry.id, entry)).collect()
    }

    /// Returns the paths that the set-up commands make, which the factory puts into the trees.
    pub fn outputs(&self) -> Vec<TreePath> {
        let outputs = self.config.prepare.iter().flat_map(|step| &step.outputs);
        outputs.filter_map(|output| self.path(output.trim_end_matches('/'))).collect()
    }

    /// Returns the globs of the files that define gates, from the root of the repository.
    pub fn gate_definitions(&self) -> Vec<String> {
        let globs = self.gates.iter().flat_map(|gate| &gate.definition);
        globs.map(|glob| self.at.glob(glob)).collect()
    }

    /// Returns the scenarios' directory, from the root of the repository.
    pub fn exam_dir(&self) -> String {
        self.at.path(&self.config.scenarios.dir)
    }

    /// Returns the set-up commands, whose inputs and outputs are named from the root of the repository.
    pub fn prepare(&self) -> Vec<PrepareSettings> {
        let mut steps = self.config.prepare.clone();
        for step in &mut steps {
            step.inputs.iter_mut().for_each(|glob| *glob = self.at.glob(glob));
            step.outputs.iter_mut().for_each(|output| *output = self.at.path(output));
        }
        steps
    }

    /// Returns a path of the product as one of the repository; none for one that is none.
    pub fn path(&self, path: &str) -> Option<TreePath> {
        TreePath::parse(self.at.path(path)).ok()
    }

    /// Returns the scenarios' directory in the repository.
    pub fn scenarios_dir(&self) -> Option<TreePath> {
        self.path(self.config.scenarios.dir.trim_end_matches('/'))
    }

    /// Returns whether the file at `path` of the repository is a scenario that the agent may read.
    pub fn is_public_scenario(&self, path: &TreePath) -> bool {
        self.set.entries.iter().any(|entry| {
            entry.visibility() == Visibility::Public
                && self.at.path(&entry.file).as_bytes() == path.as_bytes()
        })
    }
}

/// Returns the globs under `specs` as one set.
///
/// # Errors
/// One of them is none.
pub(super) fn glob_set(globs: &[String]) -> Result<globset::GlobSet, FrozenError> {
    let mut builder = globset::GlobSetBuilder::new();
    for glob in globs {
        let parsed = globset::GlobBuilder::new(glob)
            .literal_separator(true)
            .build()
            .map_err(|source| FrozenError::Glob { glob: glob.clone(), source })?;
        builder.add(parsed);
    }
    builder.build().map_err(|source| FrozenError::Glob { glob: globs.join(", "), source })
}

/// Returns the globs that match none of the specs that were read.
///
/// # Errors
/// One of them is none.
pub fn without_a_spec<'g>(
    globs: &'g [String],
    specs: &[(String, String)],
) -> Result<Vec<&'g str>, FrozenError> {
    let mut empty = Vec::new();
    for glob in globs {
        let set = glob_set(std::slice::from_ref(glob))?;
        if !specs.iter().any(|(file, _)| set.is_match(file)) {
            empty.push(glob.as_str());
        }
    }
    Ok(empty)
}

/// Reads the files under `root` that the globs name, in the order of their paths.
///
/// # Errors
/// A glob is none, or a file can't be read. A file that is no UTF-8 is read leniently.
pub fn read_specs(root: &Path, globs: &[String]) -> Result<Vec<(String, String)>, FrozenError> {
    let set = glob_set(globs)?;
    let mut specs = Vec::new();
    // Only below the directories that the globs begin with: a product may have 50,000 files.
    let mut starts: BTreeSet<String> = BTreeSet::new();
    for glob in globs {
        let fixed: Vec<&str> =
            glob.split('/').take_while(|part| !part.contains(['*', '?', '[', '{'])).collect();
        starts.insert(fixed.join("/"));
    }
    let mut open: Vec<std::path::PathBuf> = starts.iter().map(|start| root.join(start)).collect();
    while let Some(path) = open.pop() {
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        if metadata.is_dir() {
            if path.file_name().is_some_and(|name| name == ".git") {
                continue;
            }
            let read = |source| FrozenError::Read { file: relative.clone(), source };
            for entry in std::fs::read_dir(&path).map_err(read)? {
                let read = |source| FrozenError::Read { file: relative.clone(), source };
                open.push(entry.map_err(read)?.path());
            }
        } else if metadata.is_file() && set.is_match(&relative) {
            let bytes = std::fs::read(&path)
                .map_err(|source| FrozenError::Read { file: relative.clone(), source })?;
            specs.push((relative, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    specs.sort();
    specs.dedup();
    Ok(specs)
}

/// Reads what the feedback files in `artifacts/factory` say of earlier iterations, oldest first.
pub(super) fn read_earlier(root: &Path) -> Vec<Point> {
    let Ok(entries) = std::fs::read_dir(root.join("artifacts/factory")) else { return Vec::new() };
    let mut points: Vec<Point> = entries
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|n| n.starts_with("feedback_iter_") && n.ends_with(".md"))
        })
        .filter_map(|entry| {
            crate::feedback::read_point(&std::fs::read_to_string(entry.path()).ok()?)
        })
        .collect();
    points.sort_by_key(|point| point.iteration);
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_found_by_their_globs_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["specs/b.md", "specs/sub/a.md", "specs/c.txt", "docs/d.md", "SPEC.md"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        let globs = ["specs/**/*.md".to_owned(), "SPEC.md".to_owned()];
        let specs = read_specs(dir.path(), &globs).unwrap();
        let files: Vec<&str> = specs.iter().map(|(file, _)| file.as_str()).collect();
        assert_eq!(files, ["SPEC.md", "specs/b.md", "specs/sub/a.md"]);
        assert!(without_a_spec(&globs, &specs).unwrap().is_empty());
        let globs = [globs[0].clone(), "spec/*.md".to_owned()];
        assert_eq!(without_a_spec(&globs, &specs).unwrap(), ["spec/*.md"]);
    }
}
