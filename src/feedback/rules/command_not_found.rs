//! A program that the shell can't find.

use std::sync::LazyLock;

use regex::Regex;

use super::{Cause, End, Evidence, Rule, pattern};

/// Recognises what shells, make and env say of a program that is not there.
#[derive(Debug)]
pub(super) struct CommandNotFound;

static COMMANDS: LazyLock<[Regex; 4]> = LazyLock::new(|| {
    [
        pattern(r"(?:^|: )([^\s:]+): command not found$"),
        pattern(r"sh: (?:\d+|line \d+): ([^\s:]+): not found$"),
        pattern(r"env: [‘'`]?([^\s:’']+)[’']?: No such file or directory"),
        pattern(r"^make(?:\[\d+\])?: ([^\s:/]+): No such file or directory"),
    ]
});

impl Rule for CommandNotFound {
    fn id(&self) -> &'static str {
        "command-not-found"
    }

    fn heading(&self) -> &'static str {
        "Command not found"
    }

    fn find(&self, evidence: &Evidence<'_>) -> Option<Cause> {
        let detail = match evidence.first_group(&*COMMANDS) {
            Some(command) => format!("command {}", evidence.told(command)),
            None if evidence.end == End::Exit(127)
                && !evidence.text.contains("No such file or directory") =>
            {
                "exit code 127".to_owned()
            }
            None => return None,
        };
        Some(Cause::new(
            self,
            evidence,
            detail,
            "If the product is to provide the command, create it where the specs say and make it \
             executable; if it is a tool, use one that the environment has, since you can't \
             install any there.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, check_end};
    use super::*;

    #[test]
    fn shells_name_the_command() {
        check(&CommandNotFound, "bash: line 3: taskli: command not found\n", "command `taskli`");
        check(&CommandNotFound, "/bin/sh: 1: ruff: not found\n", "command `ruff`");
        check(&CommandNotFound, "sh: line 1: ruff: not found\n", "command `ruff`");
        check(
            &CommandNotFound,
            "/usr/bin/env: ‘python’: No such file or directory\n",
            "command `python`",
        );
        check(
            &CommandNotFound,
            "make: mypy: No such file or directory\nmake: *** [Makefile:5: typecheck] Error 127\n",
            "command `mypy`",
        );
    }

    #[test]
    fn the_exit_code_tells_where_the_text_does_not() {
        check_end(&CommandNotFound, End::Exit(127), "", "exit code 127");
        check_end(
            &CommandNotFound,
            End::Exit(127),
            "bash: line 1: ./run: No such file or directory",
            "",
        );
    }

    #[test]
    fn a_page_that_is_not_found_is_no_command() {
        check(&CommandNotFound, "GET /tasks: 404 not found\n", "");
    }
}
