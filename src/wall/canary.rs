//! A last look before an agent starts: does a file that it is given hold the exam?
//!
//! The workspace never has the scenarios' directory; a copy of an evaluation elsewhere (in
//! `docs/`, in a test) would give it away all the same. File names and what links say are not
//! searched.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::id::ScenarioId;
use crate::scenario::{Holdout, squeezed};
use crate::text::TreePath;

/// A file that holds the evaluation of a holdout scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The file.
    pub path: TreePath,
    /// The scenario; the first of the set where it holds several.
    pub scenario: ScenarioId,
}

/// Searches every regular file below `root`, and returns those that hold the evaluation of a
/// holdout scenario, sorted by path. No link is followed. `skip` names directories and files that
/// are not looked at.
///
/// # Errors
/// A file or directory can't be read; the error names it.
pub fn leaks(
    holdout: &Holdout,
    root: &Path,
    skip: &dyn Fn(&TreePath) -> bool,
) -> io::Result<Vec<Leak>> {
    let mut leaks = Vec::new();
    if !holdout.is_empty() {
        search(holdout, root, None, skip, &mut leaks)?;
    }
    leaks.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(leaks)
}

fn search(
    holdout: &Holdout,
    root: &Path,
    directory: Option<&TreePath>,
    skip: &dyn Fn(&TreePath) -> bool,
    leaks: &mut Vec<Leak>,
) -> io::Result<()> {
    let place = directory.map_or_else(|| root.to_owned(), |directory| directory.under(root));
    for entry in fs::read_dir(&place).map_err(|e| named(&place, &e))? {
        let entry = entry.map_err(|e| named(&place, &e))?;
        let name = entry.file_name();
        let path = match directory {
            Some(directory) => directory.child(name.as_bytes()),
            None => TreePath::parse(name.as_bytes()),
        }
        .map_err(io::Error::other)?;
        if skip(&path) {
            continue;
        }
        let kind = entry.file_type().map_err(|e| named(&entry.path(), &e))?;
        if kind.is_dir() {
            search(holdout, root, Some(&path), skip, leaks)?;
        } else if kind.is_file() {
            let file = File::open(entry.path());
            let found = file.and_then(|file| in_file(holdout, file));
            if let Some(scenario) = found.map_err(|e| named(&entry.path(), &e))? {
                leaks.push(Leak { path, scenario });
            }
        }
    }
    Ok(())
}

/// Searches a file of any size in pieces that overlap by the longest text.
fn in_file(holdout: &Holdout, mut file: File) -> io::Result<Option<ScenarioId>> {
    const PIECE: u64 = 1 << 20;
    let mut window = Vec::new();
    let mut piece = Vec::new();
    loop {
        piece.clear();
        if file.by_ref().take(PIECE).read_to_end(&mut piece)? == 0 {
            return Ok(None);
        }
        let keep = window.len().saturating_sub(holdout.longest());
        window.drain(..keep);
        window.extend(squeezed(&piece));
        if let Some(found) = holdout.find_squeezed(&window) {
            return Ok(Some(found.clone()));
        }
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("can't search `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{CodeBlock, Entry, FrontMatter, Scenario, ScenarioSet};

    const EXAM: &str = "test \"$(python3 -m tally add 2 40)\" = 'forty-two, and nothing else'\n";

    fn holdout() -> Holdout {
        let scenario = Scenario {
            preconditions: Vec::new(),
            expectation: String::new(),
            evaluation: vec![CodeBlock { code: EXAM.to_owned(), line: 1 }],
            pass_criteria: String::new(),
            criteria: Vec::new(),
            evidence: Vec::new(),
            front: FrontMatter::default(),
        };
        let entry = Entry {
            id: ScenarioId::for_file("exam"),
            name: String::new(),
            file: String::new(),
            category: String::new(),
            scenario: Ok(Box::new(scenario)),
        };
        Holdout::of(&ScenarioSet { entries: vec![entry], diagnostics: Vec::new() })
    }

    fn check(name: &str, content: &str, found: bool) {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
        let skip = |path: &TreePath| path.as_bytes() == b"scenarios";
        let leaks = leaks(&holdout(), root.path(), &skip).unwrap();
        let expected: Vec<_> = found.then(|| TreePath::parse(name).unwrap()).into_iter().collect();
        assert_eq!(leaks.into_iter().map(|leak| leak.path).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_copy_of_the_exam_is_found_wherever_it_lies() {
        check("docs/deep/exam.md", &format!("as we test:\n\n    {EXAM}"), true);
        check("docs/deep/exam.md", "as we test: we do not say", false);
    }

    #[test]
    fn a_copy_across_two_pieces_of_a_large_file_is_found() {
        for before in (1 << 20) - EXAM.len()..=1 << 20 {
            if before % 7 == 0 {
                check("log", &format!("{}{EXAM}", "x".repeat(before)), true);
            }
        }
    }

    #[test]
    fn what_is_skipped_is_not_searched() {
        check("scenarios/exam.md", EXAM, false);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("gone");
        let error = leaks(&holdout(), &missing, &|_| false).unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
