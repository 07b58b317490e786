//! What a Makefile promises: its explicit targets, read from its text alone. Files that it includes
//! are not read, conditions are not evaluated (both branches count), names that are made of
//! variables are not known.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::{Config, GateSettings, Span};

/// The make targets before and after the agent's work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Those of the base commit.
    pub base: BTreeSet<String>,
    /// Those of the tree under judgement.
    pub candidate: BTreeSet<String>,
}

/// Returns the text of the Makefile in the directory `root`, the one that make prefers; none where
/// there is none that can be read.
pub fn makefile_in(root: &Path) -> Option<String> {
    Config::MAKEFILES.iter().find_map(|name| {
        let bytes = std::fs::read(root.join(name)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    })
}

/// Returns the explicit targets: no pattern rules, no names that begin with a dot, none that hold
/// a variable.
pub fn targets(makefile: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut in_define = false;
    for line in logical_lines(makefile) {
        let first = line.split_whitespace().next().unwrap_or("");
        if in_define {
            in_define = first != "endef";
        } else if first == "define" {
            in_define = true;
        } else if !line.starts_with('\t') {
            found.extend(targets_of(&line));
        }
    }
    found
}

/// Returns the gates of a product: those of its settings, else those of its Makefile, whose text is `makefile`.
pub fn gates_of(config: &Config, makefile: &str) -> Vec<GateSettings> {
    config.gates.clone().unwrap_or_else(|| default_gates(makefile))
}

/// Returns the gates of a product that declares none: `make lint`, `make typecheck` and `make test`,
/// those whose target the Makefile has, in this order.
pub fn default_gates(makefile: &str) -> Vec<GateSettings> {
    let targets = targets(makefile);
    ["lint", "typecheck", "test"]
        .into_iter()
        .filter(|target| targets.contains(*target))
        .map(|target| GateSettings {
            network: false,
            name: target.to_owned(),
            run: format!("make {target}"),
            // All names, since make prefers another one that is added.
            definition: Config::MAKEFILES.map(str::to_owned).to_vec(),
            timeout: Span::minutes::<30>(),
        })
        .collect()
}

/// Returns the first target of a gate that reads `make [flags] TARGET...` that the base had and
/// the candidate has not: a directory named `test` would else make `make test` pass.
///
/// Commands joined by `&&`, `||`, `;`, `|` and line ends are looked at one by one. A make in
/// another directory or with another Makefile (`-C`, `-f`) is not known.
pub fn gone_target(
    gate: &GateSettings,
    base: &BTreeSet<String>,
    candidate: &BTreeSet<String>,
) -> Option<String> {
    gate.run
        .split(['\n', ';', '&', '|'])
        .flat_map(make_targets)
        .find(|target| base.contains(*target) && !candidate.contains(*target))
        .map(str::to_owned)
}

/// Returns the targets that one simple command asks make for.
fn make_targets(command: &str) -> Vec<&str> {
    let mut words = command.split_whitespace().skip_while(|word| is_assignment(word));
    if !matches!(words.next(), Some("make" | "gmake")) {
        return Vec::new();
    }
    let mut targets = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "-o" | "-W" | "-I" | "--old-file" | "--what-if" | "--include-dir" => {
                words.next();
            }
            _ if elsewhere(word) => return Vec::new(),
            _ if word.starts_with('-') || is_assignment(word) || is_number(word) => {}
            _ => targets.push(word.trim_matches(['"', '\''])),
        }
    }
    targets
}

/// Returns whether a flag sends make to another directory or file.
fn elsewhere(flag: &str) -> bool {
    ["--directory", "--file", "--makefile"].iter().any(|long| flag.starts_with(long))
        || (flag.starts_with('-') && !flag.starts_with("--") && flag.contains(['C', 'f']))
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Returns whether the word can only be the number of `-j 4` or `-l 2.5`.
fn is_number(word: &str) -> bool {
    word.parse::<f64>().is_ok()
}

/// Joins lines that a backslash continues, and cuts comments off.
fn logical_lines(makefile: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut joined = String::new();
    for line in makefile.lines() {
        if let Some(begun) = line.strip_suffix('\\') {
            joined.push_str(begun);
            joined.push(' ');
            continue;
        }
        joined.push_str(line);
        let line = std::mem::take(&mut joined);
        lines.push(if line.starts_with('\t') { line } else { without_comment(&line).to_owned() });
    }
    lines.push(joined);
    lines
}

fn without_comment(line: &str) -> &str {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            '#' if !escaped => return &line[..at],
            _ => escaped = c == '\\' && !escaped,
        }
    }
    line
}

/// Returns the targets of one rule; none when the line is none.
fn targets_of(line: &str) -> Vec<String> {
    let Some((names, rest)) = split_at_colon(line) else { return Vec::new() };
    let rest = rest.trim_start_matches(':');
    if names.contains('=') || rest.starts_with('=') || is_variable_of_target(rest) {
        return Vec::new();
    }
    names
        .trim_end()
        .trim_end_matches('&')
        .split_whitespace()
        .filter(|name| !name.contains(['%', '$', '(', ')']))
        .filter(|name| !name.starts_with('.') || name.contains('/'))
        .map(str::to_owned)
        .collect()
}

/// Splits at the first colon outside `$(..)` and `${..}`.
fn split_at_colon(line: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, c) in line.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => return Some((&line[..at], &line[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Returns whether what follows `target:` sets a variable for the target, which makes no rule:
/// `test: CFLAGS += -g`.
fn is_variable_of_target(rest: &str) -> bool {
    let rest = rest.split(';').next().unwrap_or("");
    let Some((name, _)) = rest.split_once('=') else { return false };
    let name = name.trim_end_matches([':', '?', '+', '!']);
    if name.contains(['$', '(', '{']) {
        return false;
    }
    let mut words =
        name.split_whitespace().filter(|word| !matches!(*word, "export" | "override" | "private"));
    words.next().is_some() && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(makefile: &str, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(targets(makefile), expected, "{makefile}");
    }

    #[test]
    fn rules_are_found() {
        check("test:\n\tcargo test\nlint: fmt\n", &["lint", "test"]);
        check("a b c: d\n", &["a", "b", "c"]);
        check("all:: one\nall:: two\n", &["all"]);
        check("a b &: c\n", &["a", "b"]);
        check("out/x.o : x.c ; cc $<\n", &["out/x.o"]);
        check("test : ; @true X=1\n", &["test"]);
        check("$(OBJ): x\ntest: $(A:b=c)\n", &["test"]);
        check("test \\\n  lint: x\n", &["lint", "test"]);
        check("test: # run: all\n", &["test"]);
        check("ifeq (a,b)\ntest:\nelse\nlint:\nendif\n", &["lint", "test"]);
        check("test:\r\n\tcargo test\r\n", &["test"]);
    }

    #[test]
    fn what_is_no_rule_is_not() {
        for no_rule in [
            "A := b\n",
            "A ::= b\n",
            "A :::= b\n",
            "A = b:c\n",
            "A ?= http://x\n",
            "export A = b:c\n",
            ".PHONY: test\n",
            ".DEFAULT_GOAL := test\n",
            "%.o: %.c\n",
            "\techo test: x\n",
            "# test: x\n",
            "define X\ntest:\nendef\n",
            "test: CFLAGS += -g\n",
            "test: export A := b\n",
            "include x.mk\n",
            "A = b \\\n  c: d\n",
            "",
        ] {
            check(no_rule, &[]);
        }
    }

    #[test]
    fn default_gates_are_those_that_the_makefile_has() {
        let gates = default_gates("test:\nlint:\nhelp:\n");
        let runs: Vec<&str> = gates.iter().map(|gate| gate.run.as_str()).collect();
        assert_eq!(runs, ["make lint", "make test"]);
        assert!(gates[0].definition.contains(&"Makefile".to_owned()));
        assert!(default_gates("").is_empty());
    }

    fn check_gone(run: &str, gone: Option<&str>) {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let gate = GateSettings { run: run.to_owned(), ..default_gates("test:").remove(0) };
        let found = gone_target(&gate, &names(&["lint", "test"]), &names(&["lint"]));
        assert_eq!(found.as_deref(), gone, "{run}");
    }

    #[test]
    fn a_target_that_the_candidate_lost_is_found() {
        for run in [
            "make test",
            "make -j4 lint test",
            "make -j 4 -k test",
            "CI=1 make V=1 test",
            "cd . && make test",
            "make lint; make test",
        ] {
            check_gone(run, Some("test"));
        }
    }

    #[test]
    fn what_never_was_or_still_is_or_lies_elsewhere_is_not_gone() {
        for run in ["make lint", "make never", "make", "cargo test", "make -C sub test"] {
            check_gone(run, None);
        }
        check_gone("make -f other.mk test", None);
        check_gone("make --directory=sub test", None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_read(text in "[a:=#\\\\\t\n $().%&;]{0,60}") {
            targets(&text);
            default_gates(&text);
        }
    }
}
