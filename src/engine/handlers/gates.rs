//! Runs the gates, all of them even if one fails, and then the quality checks.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use crate::config::{Config, GateSettings};
use crate::engine::run::git;
use crate::engine::{Failure, Frozen, Halt, Handler, Run};
use crate::event::{Label, RunEvent};
use crate::git::Tree;
use crate::judge::{
    Changed, GateProgress, Targets, is_of_tests, makefile, run_gates, tells_the_same, weakened,
};
use crate::pipeline::{Node, NodeOutcome, Status};
use crate::text::TreePath;
use crate::verdict::{GateResult, GateStatus};

/// See the module.
pub(super) struct Gates;

impl Handler<Run> for Gates {
    fn kind(&self) -> &'static str {
        "gates"
    }

    fn handle(&self, node: &Node, run: &mut Run) -> Result<NodeOutcome, Halt> {
        let place = run.place()?;
        run.lay_judge_repository()?;
        let frozen = run.frozen.clone();
        flag_changed_definitions(node, run, &frozen)?;
        let targets =
            Targets { base: frozen.targets.clone(), candidate: read_targets(&place.root) };
        let mut log = open_log(&run.root)?;
        let all: Vec<&GateSettings> = frozen.gates.iter().chain(&frozen.config.quality).collect();
        for (index, gate) in all.iter().enumerate() {
            if run.summary().visit.gates.contains_key(&index) {
                continue;
            }
            let blocking = index < frozen.gates.len();
            run.recorder.record(Some(&node.id), RunEvent::GateStarted { gate: index })?;
            let results = run_gates(
                std::slice::from_ref(*gate),
                blocking.then_some(&targets),
                &place,
                &mut log,
                &run.cancel,
                &mut |_: GateProgress<'_>| {},
            )
            .map_err(|error| Failure::of("disk", "writing ci_output.log failed", error))?;
            run.check_cancel()?;
            for result in results {
                record(node, run, index, blocking, &result)?;
            }
        }
        let failed = run.summary().visit.gate_failed();
        Ok(NodeOutcome::of(if failed { Status::Fail } else { Status::Success }))
    }
}

fn record(
    node: &Node,
    run: &mut Run,
    index: usize,
    blocking: bool,
    result: &GateResult,
) -> Result<(), Halt> {
    if let GateStatus::CouldNotStart { why } = &result.status {
        let message = format!("the gate `{}` could not be started: {why}", result.name);
        return Err(Failure::plain("gate", message).into());
    }
    let event = RunEvent::GateFinished {
        gate: index,
        passed: result.passed(),
        blocking,
        ms: u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX),
        result: run.recorder.put_json(Label::Internal, result)?,
    };
    run.recorder.record(Some(&node.id), event)
}

/// What gates and a set-up command that failed wrote, in the product.
pub(super) const CI_OUTPUT: &str = "artifacts/factory/ci_output.log";

/// Opens the log that people follow while the gates run; it holds the last judgement's output.
pub(super) fn open_log(root: &Path) -> Result<File, Halt> {
    let path = root.join(CI_OUTPUT);
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| File::create(&path))
        .map_err(|error| {
            Failure::of("disk", format!("writing {} failed", path.display()), error).into()
        })
}

/// Returns the make targets of the tree in `root`; empty where it has no Makefile.
pub(crate) fn read_targets(root: &Path) -> BTreeSet<String> {
    Config::MAKEFILES
        .iter()
        .find_map(|name| std::fs::read(root.join(name)).ok())
        .map(|bytes| makefile::targets(&String::from_utf8_lossy(&bytes)))
        .unwrap_or_default()
}

/// Records which files that define gates differ from the base's.
fn flag_changed_definitions(node: &Node, run: &mut Run, frozen: &Frozen) -> Result<(), Halt> {
    if run.versioned.is_none() || run.summary().visit.flagged.is_some() {
        return Ok(());
    }
    let (base, candidate) = (run.summary().started.base.clone(), run.summary().candidate.0.clone());
    if base == candidate {
        return Ok(());
    }
    let (base, candidate) = (run.files_of(&base)?, run.files_of(&candidate)?);
    let repo = &run.versioned()?.repo;
    let read = |tree: &Tree, path: &TreePath| {
        let entry = tree.get(path).filter(|entry| entry.mode.is_file());
        let bytes = entry.map(|entry| repo.read_blob(&entry.oid)).transpose();
        bytes.map_err(git("reading what gates check"))
    };
    let mut changed = BTreeSet::new();
    for path in changed_definitions(&frozen.gate_definitions(), &base, &candidate) {
        let same = match (read(&base, &path)?, read(&candidate, &path)?) {
            (Some(before), Some(after)) => tells_the_same(&path.to_string(), &before, &after),
            _ => false,
        };
        changed.extend((!same).then(|| path.to_string()));
    }
    // What a gate runs defines it as well.
    let mut tests = Vec::new();
    for path in changed_tests(&base, &candidate).filter(|_| !frozen.gates.is_empty()) {
        let text = |bytes: Option<Vec<u8>>| {
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let (before, after) = (text(read(&base, path)?), text(read(&candidate, path)?));
        tests.push(Changed { path: path.to_string(), before, after });
    }
    changed.extend(weakened(&tests).into_iter().map(str::to_owned));
    if changed.is_empty() {
        return Ok(());
    }
    let event = RunEvent::GatesFlagged {
        files: changed.len(),
        paths: run.recorder.put_json(Label::Internal, &changed)?,
    };
    run.recorder.record(Some(&node.id), event)
}

/// Returns the files of tests that differ between two trees, each once, sorted by tree.
fn changed_tests<'t>(base: &'t Tree, candidate: &'t Tree) -> impl Iterator<Item = &'t TreePath> {
    let new = candidate.keys().filter(|path| !base.contains_key(*path));
    base.keys()
        .chain(new)
        .filter(|path| is_of_tests(path.as_path()) && base.get(*path) != candidate.get(*path))
}

/// Returns the paths that the globs name and that differ between two trees, sorted.
fn changed_definitions(globs: &[String], base: &Tree, candidate: &Tree) -> Vec<TreePath> {
    let mut set = globset::GlobSetBuilder::new();
    for glob in globs {
        // The settings were checked when they were read; a glob that is none names nothing.
        if let Ok(glob) = globset::GlobBuilder::new(glob).literal_separator(true).build() {
            set.add(glob);
        }
    }
    let Ok(set) = set.build() else { return Vec::new() };
    let paths: BTreeSet<&TreePath> = base.keys().chain(candidate.keys()).collect();
    paths
        .into_iter()
        .filter(|path| set.is_match(path.as_path()) && base.get(*path) != candidate.get(*path))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{Mode, Oid, TreeEntry};

    fn tree(files: &[(&str, char)]) -> Tree {
        files
            .iter()
            .map(|(path, digit)| {
                let oid = Oid::parse(&digit.to_string().repeat(40)).unwrap();
                (TreePath::parse(*path).unwrap(), TreeEntry { mode: Mode::File, oid })
            })
            .collect()
    }

    #[test]
    fn changed_new_and_removed_definitions_are_found() {
        let base =
            tree(&[("Makefile", 'a'), ("lint/a.toml", 'a'), ("lint/b.toml", 'a'), ("x", 'a')]);
        let candidate =
            tree(&[("Makefile", 'b'), ("lint/a.toml", 'a'), ("lint/c.toml", 'a'), ("x", 'b')]);
        assert_eq!(
            changed_definitions(&["Makefile", "lint/*.toml"].map(str::to_owned), &base, &candidate),
            ["Makefile", "lint/b.toml", "lint/c.toml"].map(|path| TreePath::parse(path).unwrap())
        );
    }
}
