//! A file that may not be read, written or executed.

use std::sync::LazyLock;

use regex::Regex;

use super::{Cause, End, Evidence, Rule, pattern};

/// Recognises refused access.
#[derive(Debug)]
pub(super) struct PermissionDenied;

static PATHS: LazyLock<[Regex; 4]> = LazyLock::new(|| {
    [
        pattern(r"PermissionError: \[Errno 13\] Permission denied: '([^'\n]+)'"),
        pattern(r"(?:EACCES: permission denied|EPERM: operation not permitted), \w+ '([^'\n]+)'"),
        pattern(r"\b(?:open|mkdir|exec) ([^\s:]+): permission denied"),
        pattern(r"(?:^|[:\s])[‘'`]?([^\s:'‘’`]+)[’']?: Permission denied"),
    ]
});

static SOMEWHERE: LazyLock<Regex> = LazyLock::new(|| pattern("[Pp]ermission denied"));

impl Rule for PermissionDenied {
    fn id(&self) -> &'static str {
        "permission-denied"
    }

    fn heading(&self) -> &'static str {
        "Permission denied"
    }

    fn find(&self, evidence: &Evidence<'_>) -> Option<Cause> {
        let detail = match evidence.first_group(&*PATHS) {
            Some(path) => format!("path {}", evidence.told(path)),
            None if evidence.matches(&SOMEWHERE).next().is_some() => {
                "a path that is not named".to_owned()
            }
            None if evidence.end == End::Exit(126) => "exit code 126".to_owned(),
            None => return None,
        };
        Some(Cause::new(
            self,
            evidence,
            detail,
            "Set the executable bit of a script that is run directly; write only below the \
             working directory, the home directory or the directory for temporary files; don't \
             bind to ports below 1024.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, check_end};
    use super::*;

    #[test]
    fn the_path_is_named() {
        check(&PermissionDenied, "bash: line 1: ./run: Permission denied\n", "path `./run`");
        check(
            &PermissionDenied,
            "PermissionError: [Errno 13] Permission denied: '/etc/taskli'\n",
            "path `/etc/taskli`",
        );
        check(
            &PermissionDenied,
            "Error: EACCES: permission denied, mkdir '/data'\n",
            "path `/data`",
        );
        check(&PermissionDenied, "open /var/db: permission denied\n", "path `/var/db`");
    }

    #[test]
    fn the_exit_code_tells_where_the_text_does_not() {
        check_end(&PermissionDenied, End::Exit(126), "", "exit code 126");
        check(&PermissionDenied, "all permissions were granted", "");
    }
}
