//! Makes the set of a run from the files of a directory.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Diagnostic, Entry, Parsed, ScenarioSet, lint, parse};
use crate::id::ScenarioId;
use crate::text::{TreePath, visible};

/// A file that has been read, and has no id yet.
#[derive(Debug)]
pub(crate) struct FileRead {
    /// Its path in the directory.
    pub(crate) path: Vec<u8>,
    /// The path as people see it, alone and with the directory.
    shown: String,
    file: String,
    parsed: Parsed,
    warnings: Vec<Diagnostic>,
}

/// Reads the scenarios among `files`, pairs of a path relative to the directory `dir` and what
/// the file holds: those whose names end in `.md`, whatever the case, in the order of their
/// paths' bytes. `dir` is the directory as people see it: `scenarios`. See [`of_one_id`] for what has
/// to be looked at then.
pub fn from_files(dir: &str, files: Vec<(Vec<u8>, Vec<u8>)>) -> ScenarioSet {
    let scenarios = files.into_iter().filter(|(path, _)| is_markdown(path));
    set_of(scenarios.map(|(path, bytes)| read_file(dir, path, &bytes)).collect())
}

/// Reads one file of the directory `dir`, as people see it, at `path` in it.
pub(crate) fn read_file(dir: &str, path: Vec<u8>, bytes: &[u8]) -> FileRead {
    let shown = show(&path);
    let file = match dir.trim_end_matches('/') {
        "" | "." => shown.clone(),
        dir => format!("{dir}/{shown}"),
    };
    let mut parsed = parse(&file, bytes);
    let mut warnings = std::mem::take(&mut parsed.warnings);
    if let (Ok(scenario), Ok(source)) = (&parsed.scenario, std::str::from_utf8(bytes)) {
        warnings.extend(lint(&file, source, scenario));
        warnings.sort_by_key(|found| (found.line, found.column));
    }
    FileRead { path, shown, file, parsed, warnings }
}

/// Makes the set of files that have been read, in the order of their paths' bytes.
pub(crate) fn set_of(mut files: Vec<FileRead>) -> ScenarioSet {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut set = ScenarioSet::default();
    for FileRead { path, shown, file, parsed, warnings } in files {
        let id = ScenarioId::for_file(&path);
        set.diagnostics.extend(warnings);
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

/// Returns the first id that several files of a set have, and these files; none where each has its own.
///
/// To tell them apart by a number or a mark would give the one the other's id once a file comes or goes,
/// and with it its history: a person has to rename one.
pub fn of_one_id(set: &ScenarioSet) -> Option<(&ScenarioId, Vec<&str>)> {
    let mut files: BTreeMap<&ScenarioId, Vec<&str>> = BTreeMap::new();
    for entry in &set.entries {
        files.entry(&entry.id).or_default().push(&entry.file);
    }
    files.into_iter().find(|(_, files)| files.len() > 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "# Scenario: Good\n## Category\nx\n## Expectation\nx\n## Evaluation\n```\ntest 1\n```\n";

    fn check(paths: &[&[u8]], expected: &[(&str, &str)]) -> ScenarioSet {
        let files = paths.iter().map(|path| (path.to_vec(), GOOD.as_bytes().to_vec())).collect();
        let set = from_files("scenarios", files);
        let found: Vec<_> =
            set.entries.iter().map(|entry| (entry.id.as_str(), entry.file.as_str())).collect();
        assert_eq!(found, expected);
        set
    }

    #[test]
    fn files_come_in_the_order_of_their_bytes() {
        check(
            &[b"b.md", b"a/z.md", b"C.MD", b"notes.txt", b".md"],
            &[("c", "scenarios/C.MD"), ("a-z", "scenarios/a/z.md"), ("b", "scenarios/b.md")],
        );
    }

    #[test]
    fn files_of_one_id_are_found_and_keep_it() {
        let set = check(
            &[b"A.md", b"a.md", b"b.md"],
            &[("a", "scenarios/A.md"), ("a", "scenarios/a.md"), ("b", "scenarios/b.md")],
        );
        let (id, files) = of_one_id(&set).unwrap();
        assert_eq!((id.as_str(), files), ("a", vec!["scenarios/A.md", "scenarios/a.md"]));
        let set = check(&[b"b.md"], &[("b", "scenarios/b.md")]);
        assert_eq!(of_one_id(&set), None);
    }

    #[test]
    fn a_name_that_is_no_text_is_shown_escaped() {
        let id = ScenarioId::for_file(b"\xff\n.md");
        check(&[b"\xff\n.md"], &[(id.as_str(), "scenarios/\\xff\\n.md")]);
    }

    #[test]
    fn a_file_without_a_title_is_known_by_its_name() {
        let files = vec![(b"sub/log in.md".to_vec(), b"nothing".to_vec())];
        let set = from_files("./", files);
        assert_eq!(set.entries[0].name, "log in");
        assert_eq!(set.entries[0].file, "sub/log in.md");
        assert!(set.entries[0].scenario.is_err());
    }

    #[test]
    fn an_evaluation_that_can_not_fail_is_warned_of() {
        let text = GOOD.replace("test 1", "test 1 || true");
        let set = from_files("s", vec![(b"a.md".to_vec(), text.into_bytes())]);
        assert_eq!(set.diagnostics[0].code, "S030");
        assert!(set.entries[0].scenario.is_ok());
    }
}
