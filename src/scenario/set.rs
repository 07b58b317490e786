//! Makes the set of a run from the files of a directory.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Entry, ScenarioSet, parse};
use crate::id::ScenarioId;
use crate::text::{TreePath, visible};

/// Reads the scenarios among `files`, pairs of a path relative to the directory `dir` and what
/// the file holds: those whose names end in `.md`, whatever the case, in the order of their
/// paths' bytes. `dir` is the directory as people see it: `scenarios`.
pub fn from_files(dir: &str, files: Vec<(Vec<u8>, Vec<u8>)>) -> ScenarioSet {
    let mut files: Vec<_> = files.into_iter().filter(|(path, _)| is_markdown(path)).collect();
    files.sort();
    let mut set = ScenarioSet::default();
    let mut taken = BTreeSet::new();
    for (path, bytes) in files {
        let shown = show(&path);
        let file = match dir.trim_end_matches('/') {
            "" | "." => shown.clone(),
            dir => format!("{dir}/{shown}"),
        };
        let mut id = ScenarioId::for_file(&String::from_utf8_lossy(&path));
        while !taken.insert(id.clone()) {
            id = id.distinguished(&path);
        }
        let parsed = parse(&file, &bytes);
        set.diagnostics.extend(parsed.warnings);
        let name = parsed.name.unwrap_or_else(|| stem(&shown).to_owned());
        set.entries.push(Entry {
            id,
            name,
            file,
            category: parsed.category,
            scenario: parsed.scenario,
        });
    }
    set
}

fn is_markdown(path: &[u8]) -> bool {
    path.len() > 3 && path[path.len() - 3..].eq_ignore_ascii_case(b".md")
}

fn show(path: &[u8]) -> String {
    match TreePath::parse(path) {
        Ok(path) => path.to_string(),
        Err(_) => visible(&String::from_utf8_lossy(path)),
    }
}

fn stem(shown: &str) -> &str {
    Path::new(shown).file_stem().and_then(|stem| stem.to_str()).unwrap_or(shown)
}
