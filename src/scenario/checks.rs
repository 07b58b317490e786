//! The registry of everything that is checked in the files that people write.

use super::Severity;

/// One check: what it is called, and what somebody who met it should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Names it for ever: `S001`.
    pub code: &'static str,
    /// What it finds, as a short phrase.
    pub title: &'static str,
    /// Why that matters, and what to do.
    pub explanation: &'static str,
    /// How bad it is.
    pub severity: Severity,
}

const fn error(code: &'static str, title: &'static str, explanation: &'static str) -> Check {
    Check { code, title, explanation, severity: Severity::Error }
}

const fn warning(code: &'static str, title: &'static str, explanation: &'static str) -> Check {
    Check { code, title, explanation, severity: Severity::Warning }
}

/// Every check, by code: `S0..` the shape of a scenario, `S03.` evaluations that can't fail or
/// fail without a word,
/// `C0..` the settings.
pub const CHECKS: &[Check] = &[
    warning(
        "S001",
        "no title",
        "A scenario is known by its title, `# Scenario: NAME`. Without one it is shown by the \
         name of its file.",
    ),
    error(
        "S002",
        "no evaluation that is run",
        "The judge runs the fences of `bash`, `sh` or no language under `## Evaluation Method`. \
         Without one there is nothing to judge by, so the scenario counts as unsatisfied.",
    ),
    error(
        "S003",
        "empty evaluation block",
        "bash exits with 0 on an empty script, so a block of white space and comments would \
         always pass. Write the command, or remove the block.",
    ),
    error(
        "S004",
        "fence that is not closed",
        "A fence without an end takes in the rest of the file, sections and all. Close it with \
         as many of the same character as it was opened with.",
    ),
    error(
        "S005",
        "evaluation in indented code only",
        "Code that is only indented is as often an accident as an intention, so the judge does \
         not run it. Put the command between ```bash and ```.",
    ),
    error(
        "S006",
        "section that occurs twice",
        "Two sections of one name leave open which of them counts. Join them, or rename one; two \
         scenarios are two files.",
    ),
    error("S007", "not UTF-8", "A scenario is read as UTF-8. Convert the file."),
    error("S008", "NUL character", "No shell script and no text holds a NUL. Remove it."),
    error(
        "S009",
        "front matter that can't be read",
        "The YAML between two lines of `---` at the head of the file must be a mapping of known \
         keys: tags, timeout, weight, critical, slow, serial, network, needs, retries, \
         visibility, env.",
    ),
    error(
        "S010",
        "unknown key in the front matter",
        "A key that is not known is likely a slip, and would else be without effect.",
    ),
    warning(
        "S011",
        "evaluation in a language that is not run",
        "Under `## Evaluation Method` fences of `bash`, `sh` or no language are run in one bash; \
         others are taken for illustration. To run another language call it from bash.",
    ),
    error("S012", "empty file", "There is nothing in the file to judge by."),
    error(
        "S013",
        "file too large",
        "A scenario is a page or two; more than 1 MiB of markdown is surely something else. Keep \
         data in files of its own.",
    ),
    warning(
        "S014",
        "no category",
        "`## Category` groups scenarios in reports and for `--category`. Name one.",
    ),
    warning(
        "S015",
        "no expectation",
        "`## Behavioral Expectation` says what the system should do, for those who read a \
         failure, and is what the agent hears of it unless the disclosure level is `score`.",
    ),
    warning(
        "S016",
        "heading that is nearly a section's name",
        "Sections that are not known are ignored. This one is close to a known name.",
    ),
    warning(
        "S017",
        "precondition whose command is not run",
        "An item that reads ``check: `command` `` is run before the evaluation, one command an \
         item. Anything else is for people.",
    ),
    warning(
        "S018",
        "evidence outside the tree",
        "Evidence is collected from the tree that is judged: paths are relative to its root.",
    ),
    error(
        "S019",
        "unknown fixture",
        "`needs` names fixtures of dark-factory.yaml, which knows none by that name. Add it under \
         `fixtures:`, or start what the evaluation needs within the evaluation.",
    ),
    error(
        "S020",
        "file that can't be read",
        "The entry is no regular file, its link leads nowhere, or permission is lacking. Its \
         scenario can't be judged.",
    ),
    warning(
        "S021",
        "pass criterion that is nearly checkable",
        "Items under `## Pass Criteria` in a known form are checked beside the exit code: `stdout \
         contains \"...\"`, `stderr is empty`, `stdout matches /re/`, `file PATH exists`, `json PATH \
         equals VALUE` and their like. This one begins like one of them and stays text for people.",
    ),
    warning(
        "S022",
        "pass criterion outside the tree",
        "Criteria look at the tree that is judged: paths are relative to its root, without `..`. \
         What lies elsewhere is for the evaluation to check.",
    ),
    warning(
        "S023",
        "more pass criteria than are checked",
        "At most 256 pass criteria of a scenario are checked. Check the rest in the evaluation, or \
         make several scenarios of it.",
    ),
    warning(
        "S024",
        "link to a directory",
        "A symbolic link to a directory is not followed, so no scenario below it is judged. Make it \
         a directory, or name its target with `scenarios.dir`.",
    ),
    error(
        "S025",
        "setting outside of the front matter",
        "Front matter is YAML between two lines of `---` at the head of the file, behind nothing but \
         blank lines and comments. Between other marks (`+++`, `----`, a fence), indented, below the \
         title or without marks, a setting such as `critical: true` would be passed over. Put it there; \
         what is no setting goes below the title.",
    ),
    warning(
        "S030",
        "evaluation ends in `|| true`",
        "The exit code of the last command decides. `|| true` makes it 0 whatever happened, so \
         the scenario passes for every product.",
    ),
    warning(
        "S031",
        "evaluation ends in a command that always succeeds",
        "The exit code of the last command decides, and `true`, `:` or `exit 0` is always 0. \
         Begin the script with `set -e`, or exit with another code where the check fails.",
    ),
    warning(
        "S032",
        "evaluation ends in `echo`",
        "The exit code of the last command decides, and that of `echo` is 0. Begin the script \
         with `set -e`, or chain with `&&`.",
    ),
    warning(
        "S033",
        "evaluation ends in a pipe that hides the status",
        "A pipeline's exit code is that of its last command, and `tee`, `cat`, `head` and the \
         like succeed whatever came before. Begin the script with `set -o pipefail`.",
    ),
    warning(
        "S034",
        "evaluation ends in the background",
        "A command that is sent to the background with `&` counts as succeeded at once. `wait` \
         for it by its process id.",
    ),
    warning(
        "S035",
        "here-document that is not ended",
        "bash takes the rest of the script for the text of a here-document whose end it does not \
         find, runs none of it, and only warns. The line that ends it holds the word and nothing \
         else; `<<-` allows tabs before it.",
    ),
    warning(
        "S036",
        "evaluation that fails in silence",
        "The agent hears of a failure what the evaluation wrote. `./todo list | grep -q \"Buy milk\"`, \
         `test \"$(./todo count)\" = 3` and their like write nothing, so that it is told an exit code and \
         has to guess what came. Keep the output, show it, then judge it: `out=$(./todo list); echo \
         \"$out\"; grep \"Buy milk\" <<<\"$out\"`; or say it where the check fails: `|| { echo \"the list: \
         $out\"; exit 1; }`.",
    ),
    error(
        "C001",
        "settings that can't be read",
        "dark-factory.yaml is YAML: a mapping of known keys to values of the expected kind. No \
         file and an empty file mean the same, the defaults.",
    ),
    error(
        "C002",
        "unknown key in the settings",
        "A key that is not known is likely a slip, and would else be without effect.",
    ),
    error(
        "C003",
        "value out of its range",
        "The value has the right kind and makes no sense; the message says what would.",
    ),
    error(
        "C004",
        "path or glob that can't be used",
        "Paths in the settings are relative to the directory of dark-factory.yaml and stay within \
         it; globs are those of gitignore, with `**` for any number of directories.",
    ),
    error(
        "C005",
        "name that is empty or used twice",
        "Gates, quality checks, prepare commands and fixtures are told apart by their names; a \
         fixture's is part of its variables, too.",
    ),
    error(
        "C006",
        "fixture whose needs can't be met",
        "A fixture needs other fixtures of the file, which are started before it and stopped after \
         it: they are there, live as long, and do not need it in turn.",
    ),
    warning(
        "C007",
        "gate of which nobody knows what defines it",
        "An agent that changes what a gate runs is told of, and the run converges with 5 at best. From \
         the command of this one nobody knows which files that is; its `definition` names them.",
    ),
];

/// Returns the check of this code, whatever its case; none when there is none.
pub fn check_of(code: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.code.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_explained() {
        for (index, check) in CHECKS.iter().enumerate() {
            assert!(
                !CHECKS[..index].iter().any(|other| other.code == check.code),
                "{}",
                check.code
            );
            assert!(check.explanation.ends_with('.'), "{}", check.code);
            assert!(!check.title.is_empty());
        }
        assert_eq!(check_of("s002").map(|check| check.code), Some("S002"));
    }
}
