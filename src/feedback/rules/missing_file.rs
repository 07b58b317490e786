//! A file or directory that is not there.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{Cause, Evidence, Rule, pattern};

/// Recognises a missing file or directory, and a missing make rule.
#[derive(Debug)]
pub(super) struct MissingFile;

static FILES: LazyLock<[Regex; 6]> = LazyLock::new(|| {
    [
        pattern(r"\[Errno 2\] No such file or directory: '([^'\n]+)'"),
        pattern(r"can't open file '([^'\n]+)': \[Errno 2\]"),
        pattern(r"ENOENT: no such file or directory, \w+ '([^'\n]+)'"),
        pattern(r"No rule to make target '([^'\n]+)'"),
        pattern(r"\b(?:open|stat|chdir) ([^\s:]+): no such file or directory"),
        pattern(r"(?:^|[:\s])[‘'`]?([^\s:'‘’`]+)[’']?: No such file or directory"),
    ]
});

static SOMEWHERE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"(?:No such file or directory|FileNotFoundError|NotFound, message: "No such file)"#)
});

/// What is a missing command's, and `command_not_found` knows.
static COMMANDS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(?:\S*env|make(?:\[\d+\])?): [‘'`]?[^\s:/’']+[’']?: No such file or directory")
});

impl Rule for MissingFile {
    fn id(&self) -> &'static str {
        "missing-file"
    }

    fn heading(&self) -> &'static str {
        "Missing file"
    }

    fn find(&self, evidence: &Evidence<'_>) -> Option<Cause> {
        let commands: Vec<_> =
            COMMANDS.find_iter(evidence.text).map(|found| found.range()).collect();
        let is_file = |captures: &Captures<'_>| {
            captures.get(0).is_some_and(|all| {
                !commands.iter().any(|one| one.start < all.end() && all.start() < one.end)
            })
        };
        let file = FILES.iter().find_map(|pattern| {
            evidence.matches(pattern).find(is_file).and_then(|captures| captures.get(1))
        });
        let detail = match file {
            Some(file) => format!("file {}", evidence.told(file)),
            None if evidence.matches(&SOMEWHERE).any(|found| is_file(&found)) => {
                "a file that is not named".to_owned()
            }
            None => return None,
        };
        Some(Cause::new(
            self,
            evidence,
            detail,
            "Deliver the file at that path, or create it (and its directory) before it is used; \
             check whether the path is relative to the right directory, and whether `.gitignore` \
             keeps it from being delivered.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn python_names_the_file() {
        check(
            &MissingFile,
            "FileNotFoundError: [Errno 2] No such file or directory: './data/tasks.json'\n",
            "file `./data/tasks.json`",
        );
        check(
            &MissingFile,
            "python3: can't open file './cli.py': [Errno 2] No such file or directory\n",
            "file `./cli.py`",
        );
    }

    #[test]
    fn the_shell_and_its_tools_name_the_file() {
        check(&MissingFile, "bash: line 1: ./run: No such file or directory\n", "file `./run`");
        check(&MissingFile, "cat: out.txt: No such file or directory\n", "file `out.txt`");
        check(&MissingFile, "ls: cannot access 'dist': No such file or directory\n", "file `dist`");
        check(
            &MissingFile,
            "make: *** No rule to make target 'typecheck'.  Stop.\n",
            "file `typecheck`",
        );
    }

    #[test]
    fn a_missing_command_is_no_missing_file() {
        check(&MissingFile, "make: mypy: No such file or directory\n", "");
        check(&MissingFile, "/usr/bin/env: ‘python’: No such file or directory\n", "");
    }

    #[test]
    fn node_rust_and_go_are_understood() {
        check(
            &MissingFile,
            "Error: ENOENT: no such file or directory, open 'tasks.json'\n",
            "file `tasks.json`",
        );
        check(
            &MissingFile,
            "called `Result::unwrap()` on an `Err` value: Os { code: 2, kind: NotFound, message: \
             \"No such file or directory\" }\n",
            "a file that is not named",
        );
        check(
            &MissingFile,
            "2026/01/01 open tasks.json: no such file or directory\n",
            "file `tasks.json`",
        );
    }
}
