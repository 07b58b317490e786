//! Finds evaluations that can't fail: a scenario that passes for every product judges nothing. And those
//! that fail in silence, of which nobody learns what came.
//!
//! Reads just enough of bash to see what a script's last command is. Where it does not
//! understand, it says nothing: a finding here is worth a look, and silence is no proof.

mod lexer;
mod silent;

use super::parse::diagnostic;
use super::{CriterionCheck, Diagnostic, Scenario, Subject, Visibility};
use crate::text::line_span;
use lexer::{DEEPEST, Kind, Lexer, OpenDocument, Token, unquoted};

/// Returns the warnings about the evaluation of `scenario`, which was read from `source`, the
/// text of `file`; empty when nothing was found.
pub fn check(file: &str, source: &str, scenario: &Scenario) -> Vec<Diagnostic> {
    let script = scenario.script();
    let found = weakness(&script).or_else(|| {
        let line = silent::silence(&script).filter(|_| !is_shown(scenario))?;
        Some(Finding { line, why: Why::Silent })
    });
    let Some(found) = found else { return Vec::new() };
    let lines: Vec<usize> = scenario
        .evaluation
        .iter()
        .flat_map(|block| (block.line..).take(block.code.lines().count()))
        .collect();
    let span = lines.get(found.line).map(|line| line_span(source, *line));
    let (code, message, help) = match found.why {
        Why::OrTrue => (
            "S030",
            "this makes every outcome a pass".to_owned(),
            "remove `|| true` from the last command",
        ),
        Why::Succeeds(word) => (
            "S031",
            format!("the last command is `{word}`, so the evaluation can't fail"),
            "begin with `set -e`, or end with the command that judges",
        ),
        Why::Prints(word) => (
            "S032",
            format!("the last command is `{word}`, so the evaluation can't fail"),
            "begin with `set -e`, chain with `&&`, or `exit 1` where the check fails",
        ),
        Why::Pipe(word) => (
            "S033",
            format!("the exit code is that of `{word}`, not of what is piped into it"),
            "begin with `set -o pipefail`",
        ),
        Why::Document(ref end) => (
            "S035",
            format!("no line is `{end}` alone, so the rest of the script is text and is not run"),
            "end it with the word alone on a line; only `<<-` allows tabs before it",
        ),
        Why::Background => (
            "S034",
            "the last command is sent to the background, so the evaluation can't fail".to_owned(),
            "end with the command that judges",
        ),
        Why::Silent => (
            "S036",
            "where this fails nothing is written: the agent is told `exit code 1` and not what came"
                .to_owned(),
            "show what came before you judge it: `out=$(./todo list); echo \"$out\"; grep \"Buy milk\" <<<\"$out\"`",
        ),
    };
    vec![diagnostic(code, file, source, span, message, help)]
}

/// Returns whether the agent can see what came all the same: it reads the scenario and can run it, or what
/// is written is judged, and so there is something.
fn is_shown(scenario: &Scenario) -> bool {
    let looks_at_output = scenario.criteria.iter().any(|criterion| match &criterion.check {
        Some(CriterionCheck::Text { of, .. }) => !matches!(of, Subject::File(_)),
        Some(CriterionCheck::Json { file, .. }) => file.is_none(),
        Some(CriterionCheck::ExitZero | CriterionCheck::Exists { .. }) | None => false,
    });
    looks_at_output || scenario.front.visibility == Visibility::Public
}

/// Why a script always exits with 0, does not run to its end, or says nothing.
#[derive(Debug, PartialEq, Eq)]
enum Why {
    OrTrue,
    Succeeds(String),
    Prints(String),
    Pipe(String),
    Background,
    /// It fails without a word.
    Silent,
    /// A here-document that this word should end.
    Document(String),
}

#[derive(Debug)]
struct Finding {
    /// The line of the script, from 0.
    line: usize,
    why: Why,
}

/// Programs that succeed whatever is piped into them.
const SWALLOWERS: [&str; 9] = ["tee", "cat", "head", "tail", "sed", "sort", "uniq", "wc", "column"];

fn weakness(script: &str) -> Option<Finding> {
    match Lexer::new(script).tokens() {
        Ok(tokens) => cannot_fail(&tokens),
        Err(open) => {
            open.map(|OpenDocument { end, line }| Finding { line, why: Why::Document(end) })
        }
    }
}

fn cannot_fail(tokens: &[Token]) -> Option<Finding> {
    let options = options(tokens);
    if options.fails {
        return None;
    }
    let mut statements = statements(tokens)?;
    // Nothing is run after a plain `exit 0`.
    if let Some(end) = statements.iter().position(|statement| is_exit_0(statement)) {
        statements.truncate(end + 1);
    }
    let (last, before) = statements.split_last()?;
    // From `set -e` on every command before the last one can fail the script.
    let mut errexit = false;
    for statement in before {
        if errexit && !is_preparation(statement.tokens) {
            return None;
        }
        errexit |= self::options(statement.tokens).errexit;
    }
    always_succeeds(last, options.pipefail)
}

fn is_exit_0(statement: &Statement<'_>) -> bool {
    let words: Vec<&str> = statement.tokens.iter().filter_map(Token::word).collect();
    !statement.background && statement.tokens.len() == 2 && words == ["exit", "0"]
}

/// What the script says about exit codes.
#[derive(Default)]
struct Options {
    errexit: bool,
    pipefail: bool,
    /// Whether it may fail by itself, wherever its last command leads: it exits with another code,
    /// or waits for what may never come.
    fails: bool,
}

fn options(tokens: &[Token]) -> Options {
    let mut options = Options::default();
    let mut in_set = false;
    // What is in parentheses exits alone. The `)` of a case has no `(`.
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        let word = match &token.kind {
            Kind::Word(word) => word.as_str(),
            Kind::Operator(operator) => {
                match *operator {
                    "(" => depth += 1,
                    ")" => depth = depth.saturating_sub(1),
                    _ => {}
                }
                in_set = false;
                continue;
            }
        };
        let next = tokens.get(index + 1).and_then(Token::word);
        match word {
            "set" => in_set = true,
            "errexit" if in_set => options.errexit = true,
            "pipefail" if in_set => options.pipefail = true,
            flags if in_set && flags.starts_with('-') => options.errexit |= flags.contains('e'),
            // Nobody knows what it sets.
            flags if in_set && flags.starts_with(['$', '"']) => options.fails = true,
            "exit" => options.fails |= depth == 0 && next != Some("0"),
            "trap" | "exec" | "source" | "." | "eval" | "until" => options.fails = true,
            "while" => options.fails |= matches!(next, Some("!" | "true" | ":")),
            word => options.fails |= word.contains(":?"),
        }
    }
    options
}

/// A command with all that is chained to it, up to `;`, a line's end or `&`.
struct Statement<'a> {
    tokens: &'a [Token],
    background: bool,
}

/// Divides tokens at the ends of statements; compound commands stay whole. None when they are not
/// understood.
fn statements(tokens: &[Token]) -> Option<Vec<Statement<'_>>> {
    let parts = split(tokens, &[";", "\n", "&"])?;
    Some(
        parts
            .into_iter()
            .filter(|(part, _)| !part.is_empty())
            .map(|(tokens, end)| Statement { tokens, background: end == Some("&") })
            .collect(),
    )
}

/// Divides tokens at the operators `at` outside of compound commands. Each part comes with the
/// operator that ends it. None when the compound commands do not add up.
fn split<'a>(
    tokens: &'a [Token],
    at: &[&'static str],
) -> Option<Vec<(&'a [Token], Option<&'static str>)>> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut depth = 0_usize;
    let mut cases = 0_usize;
    let mut leading = true;
    for (index, token) in tokens.iter().enumerate() {
        if depth > DEEPEST {
            return None;
        }
        match &token.kind {
            Kind::Word(word) if leading => {
                match word.as_str() {
                    "case" => cases += 1,
                    "esac" => cases = cases.checked_sub(1)?,
                    // Its name follows, and then its body.
                    "function" => {}
                    "if" | "for" | "while" | "until" | "select" | "{" if cases == 0 => depth += 1,
                    "fi" | "done" | "}" if cases == 0 => depth = depth.checked_sub(1)?,
                    _ => {}
                }
                leading = is_keyword(word);
            }
            Kind::Word(_) => {
                leading = index > 0 && tokens[index - 1].word() == Some("function");
            }
            Kind::Operator(operator) => {
                leading = true;
                match *operator {
                    _ if cases > 0 => {}
                    "(" => depth += 1,
                    ")" => depth = depth.checked_sub(1)?,
                    _ if depth == 0 && at.contains(operator) => {
                        parts.push((&tokens[start..index], Some(*operator)));
                        start = index + 1;
                    }
                    _ => {}
                }
            }
        }
    }
    if depth != 0 || cases != 0 {
        return None;
    }
    parts.push((&tokens[start..], None));
    Some(parts)
}

/// Returns whether a command follows the word, not its arguments.
fn is_keyword(word: &str) -> bool {
    matches!(word, "if" | "then" | "else" | "elif" | "while" | "until" | "do" | "{" | "!" | "time")
}

fn always_succeeds(statement: &Statement<'_>, pipefail: bool) -> Option<Finding> {
    let line = statement.tokens.first()?.line;
    if statement.background {
        return Some(Finding { line, why: Why::Background });
    }
    let parts = split(statement.tokens, &["&&", "||"])?;
    let before = parts.len().checked_sub(2).and_then(|index| parts[index].1);
    if before == Some("&&") {
        return None;
    }
    let pipeline = split(parts.last()?.0, &["|"])?;
    let command = pipeline.last()?.0;
    let line = command.first()?.line;
    let why = match succeeds(command) {
        Some(Why::Succeeds(word)) if before == Some("||") && (word == "true" || word == ":") => {
            Why::OrTrue
        }
        Some(_) if pipeline.len() > 1 && pipefail => return None,
        Some(why) => why,
        None if pipeline.len() > 1 && before.is_none() && !pipefail => {
            let first = command.first()?.word()?;
            let swallows = SWALLOWERS.contains(&first) && !may_fail(first, command);
            swallows.then(|| Why::Pipe(first.to_owned()))?
        }
        None => return None,
    };
    Some(Finding { line, why })
}

/// Returns whether a program that swallows what is piped into it may fail all the same: `sort -c`
/// checks, `sed` can quit with a code, and a file that is named may be absent.
fn may_fail(program: &str, command: &[Token]) -> bool {
    let mut arguments = command.iter().skip(1).filter_map(Token::word);
    match program {
        "sort" => arguments.any(|word| matches!(word, "-c" | "-C") || word.starts_with("--check")),
        "sed" => arguments.any(|word| word.contains(['q', 'Q'])),
        "cat" => arguments.any(|word| !word.starts_with(['-', '>', '<', '2', '&'])),
        _ => false,
    }
}

/// Returns why a single command always succeeds; none when it may fail.
fn succeeds(command: &[Token]) -> Option<Why> {
    let words: Vec<&str> = command.iter().map_while(Token::word).collect();
    if opens_a_file(&words) {
        return None;
    }
    match *words.first()? {
        word @ ("true" | ":" | "sleep" | "set" | "export" | "unset") => {
            Some(Why::Succeeds(word.to_owned()))
        }
        // With a process it is that one's exit code.
        "wait" if words.len() == 1 => Some(Why::Succeeds("wait".to_owned())),
        "exit" if words.get(1) == Some(&"0") => Some(Why::Succeeds("exit 0".to_owned())),
        word @ ("echo" | "printf") => Some(Why::Prints(word.to_owned())),
        "cat" if words.len() > 1 && words[1..].iter().all(|word| word.starts_with("<<")) => {
            Some(Why::Prints("cat".to_owned()))
        }
        "{" if command.last().and_then(Token::word) == Some("}") => {
            let statements = statements(&command[1..command.len() - 1])?;
            always_succeeds(statements.last()?, false).map(|found| found.why)
        }
        "if" => branches(command)?
            .into_iter()
            .map(|branch| {
                let statements = statements(branch)?;
                always_succeeds(statements.last()?, true).map(|found| found.why)
            })
            .reduce(|one, other| one.and(other))?,
        word if words.len() == command.len() && words.len() == 1 && assigns(word) => {
            Some(Why::Succeeds(word.to_owned()))
        }
        _ => None,
    }
}

/// Returns whether a redirection may fail: to or from anything but a descriptor or a usual device.
fn opens_a_file(words: &[&str]) -> bool {
    words.iter().enumerate().any(|(index, word)| {
        let Some(at) = unquoted(word, &['<', '>']) else { return false };
        let target = word[at..].trim_start_matches(['<', '>', '|']);
        if word[at..].starts_with("<<") || target.starts_with(['(', '&']) {
            return false;
        }
        let target = if target.is_empty() { words.get(index + 1).unwrap_or(&"") } else { &target };
        !matches!(*target, "/dev/null" | "/dev/stdout" | "/dev/stderr" | "/dev/tty")
    })
}

/// Returns whether a word assigns a value that no command makes.
fn assigns(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, value)| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !name.is_empty()
            && name.chars().all(is_name)
            && !value.contains("$(")
            && !value.contains('`')
    })
}

/// Returns what each branch of an `if` runs; none when its parts are not understood.
fn branches(command: &[Token]) -> Option<Vec<&[Token]>> {
    let mut out = Vec::new();
    let mut depth = 0_usize;
    let mut start = None;
    for (index, token) in command.iter().enumerate() {
        let leads = index == 0
            || match &command[index - 1].kind {
                Kind::Operator(_) => true,
                Kind::Word(word) => is_keyword(word),
            };
        let Some(word) = token.word().filter(|_| leads) else { continue };
        match word {
            "case" => return None,
            "if" | "for" | "while" | "until" | "{" => depth += 1,
            "then" | "else" | "elif" if depth == 1 => {
                if let Some(start) = start.take() {
                    out.push(&command[start..index]);
                }
                if word != "elif" {
                    start = Some(index + 1);
                }
            }
            "fi" | "done" | "}" => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    out.push(&command[start.take()?..index]);
                }
            }
            _ => {}
        }
    }
    (depth == 0).then_some(out)
}

/// Returns whether a statement only prepares, so that it is not what judges.
fn is_preparation(tokens: &[Token]) -> bool {
    let Some(first) = tokens.first().and_then(Token::word) else { return false };
    let simple = tokens.iter().all(|token| token.word().is_some());
    let assigns = tokens.len() == 1 && assigns(first);
    simple
        && (assigns || matches!(first, "set" | "cd" | "export" | "echo" | "printf" | "true" | ":"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::parse;

    fn source(script: &str) -> String {
        format!("# Scenario: a\n## Evaluation\n`````bash\n{script}\n`````\n")
    }

    /// Checks the code found in a script, and the line that it points at.
    fn check(script: &str, code: &str, line: &str) {
        let source = source(script);
        let scenario = parse("s.md", source.as_bytes()).scenario.unwrap();
        let found = super::check("s.md", &source, &scenario);
        let found: Vec<_> = found
            .iter()
            .filter(|d| d.code != "S036")
            .map(|d| (d.code.as_str(), d.span.clone().map_or("", |span| &source[span])))
            .collect();
        assert_eq!(found, [(code, line)], "{script}");
    }

    fn clean(script: &str) {
        let source = source(script);
        let scenario = parse("s.md", source.as_bytes()).scenario.unwrap();
        let mut found = super::check("s.md", &source, &scenario);
        // What fails in silence can fail.
        found.retain(|d| d.code != "S036");
        assert_eq!(found, [], "{script}");
    }

    #[test]
    fn or_true_at_the_end_passes_always() {
        check("make test || true", "S030", "make test || true");
        check("a\nb || :\n# done\n", "S030", "b || :");
        check("set -euo pipefail\ncd x\nmake test || true", "S030", "make test || true");
        check("a \\\n  || true", "S030", "|| true");
        clean("a || true\nb");
        clean("set -e\na\nb || true");
        clean("a || exit 1\nkill $pid || true");
        clean("a || b");
    }

    #[test]
    fn a_last_command_that_succeeds_passes_always() {
        check("make test; true", "S031", "make test; true");
        check("make test\nexit 0", "S031", "exit 0");
        clean("set -e\nmake test\nexit 0");
        clean("if ! make test; then exit 1; fi\nexit 0");
        clean("make test && exit 0");
        clean("make test; exit");
    }

    #[test]
    fn a_last_command_that_prints_passes_always() {
        check("make test\necho done", "S032", "echo done");
        check("make test; echo \"code $?\"", "S032", "make test; echo \"code $?\"");
        check("make test || echo 'it failed'", "S032", "make test || echo 'it failed'");
        check(
            "if a; then echo yes; else echo no; fi",
            "S032",
            "if a; then echo yes; else echo no; fi",
        );
        clean("make test && echo done");
        clean("if a; then echo yes; else echo no; false; fi");
        clean("if a; then echo yes; else echo no; exit 1; fi");
        clean("test \"$(echo a)\" = a");
        clean("echo a | grep -q a");
        clean("a || { echo no; exit 1; }\necho yes");
    }

    #[test]
    fn a_pipe_that_hides_the_status_passes_always() {
        check("make test | tee log", "S033", "make test | tee log");
        check("make test 2>&1 |& cat", "S033", "make test 2>&1 |& cat");
        clean("set -o pipefail\nmake test | tee log");
        clean("make test | tee log\ngrep ok log");
        clean("make test | grep -q ok");
    }

    #[test]
    fn a_last_command_in_the_background_passes_always() {
        check("a\nserver --port 1 &", "S034", "server --port 1 &");
        clean("server &\ncurl x");
        clean("a >/dev/null 2>&1");
        clean("a &>log");
    }

    #[test]
    fn quotes_documents_and_compounds_are_not_mistaken() {
        clean("python - <<'EOF'\nx = 1 || true\nprint(1)\nEOF");
        check("cat <<EOF\n'\nEOF\necho \"a; b\"", "S032", "echo \"a; b\"");
        check("cat <<-EOF >x\n\tb\n\tEOF\ntrue", "S031", "true");
        clean("for x in a b; do echo $x; done");
        clean("case $x in a) echo;; *) exit 3;; esac");
        clean("case $x in a) true;; esac");
        clean("grep -q 'a || true' file");
        clean("x=${y:-$(echo '}')}; test $x");
        clean("[[ $a == 'b' ]]");
        clean("cat <<< word | grep w");
        clean("f() { echo a; }\nf | grep a");
        clean("echo 'open");
    }

    #[test]
    fn a_line_that_ends_in_an_operator_goes_on() {
        clean("make test &&\n  echo done");
        clean("grep a log |\n  grep -q b");
        check("make test ||\n  true", "S030", "true");
        check("make test |\n\n  tee log", "S033", "tee log");
    }

    #[test]
    fn what_can_fail_by_itself_is_left_alone() {
        clean("until curl -s x; do sleep 1; done\necho up");
        clean("while ! curl -s x; do sleep 1; done\necho up");
        clean("fail() { echo \"$1\"; exit 1; }\nmake test || fail no\necho yes");
        clean("set $options\nmake test\ntrue");
        clean("eval \"$checks\"\ntrue");
        clean("make test\nwait $pid");
        clean("set -e\nx=`make test`\ntrue");
        clean("make list | sort -c");
        clean("make list | sed '/bad/q3'");
        check("( make test || exit 1 )\necho done", "S032", "echo done");
        check("f() { make test || return 1; }\nf\necho done", "S032", "echo done");
        check("make test\nset -e\ntrue", "S031", "true");
        check("make test\nexit 0\ngrep ok log", "S031", "exit 0");
    }

    #[test]
    fn a_redirection_can_fail() {
        clean("echo x > out/probe");
        clean("echo x >/dev/tcp/localhost/8080");
        clean(": < out.txt");
        clean("make test; printf 'a > b'>log");
        check("make test; echo 'a > b' >&2", "S032", "make test; echo 'a > b' >&2");
        check("make test; echo a >/dev/null 2>&1", "S032", "make test; echo a >/dev/null 2>&1");
    }

    #[test]
    fn more_commands_that_always_succeed_are_known() {
        check("server &\nsleep 5", "S031", "sleep 5");
        check("server &\nwait", "S031", "wait");
        check("make test; code=$?", "S031", "make test; code=$?");
        check("make test || { echo no; true; }", "S030", "make test || { echo no; true; }");
        check("cat <<EOF\nx\nEOF", "S032", "cat <<EOF");
        check("function f { a; b; }\nf; echo x", "S032", "f; echo x");
        clean("x=$(make test)");
    }

    #[test]
    fn a_document_without_an_end_swallows_the_rest() {
        check("cat <<EOF\nx\n  EOF\nmake test", "S035", "cat <<EOF");
        check("a\nb <<-'END' | c\nx\n END\n", "S035", "b <<-'END' | c");
        check("a <<EOF", "S035", "a <<EOF");
        clean("cat <<EOF>out\nx\nEOF\nmake test");
        clean("cat << EOF | grep x\nx\nEOF");
        clean("echo \"a <<EOF\" | grep a");
        clean("(( x << 2 ))\nmake test");
        clean("x=$((1 << y)); test $x");
    }

    #[test]
    fn a_finding_in_the_second_block_points_into_it() {
        let source = "## Evaluation\n```\na\n```\ntext\n```\nb\necho c\n```\n";
        let scenario = parse("s.md", source.as_bytes()).scenario.unwrap();
        let found = super::check("s.md", source, &scenario);
        assert_eq!((found[0].line, found[0].column), (8, 1));
    }

    #[test]
    fn what_nests_without_end_is_left_alone() {
        for part in ["$(", "\"$(", "${", "if ", "{ ", "( "] {
            assert!(weakness(&part.repeat(100_000)).is_none());
        }
        let ifs = format!("{}true{}", "if a; then ".repeat(9_999), "; fi".repeat(9_999));
        assert!(weakness(&ifs).is_none());
    }

    proptest! {
        #[test]
        fn any_script_is_read_without_a_panic(parts in prop::collection::vec(prop::sample::select(vec![
            "if ", "then ", "else ", "fi", "case ", "esac", "{ ", "}", "(", ")", "$(", "${", "'", "\"", "`",
            "\\", "\n", ";", ";;", "|", "||", "&&", "&", "<<E", "<<-", "E\n", "<<<", ">", ">&", "echo ", "true",
            "exit ", "0", " ", "#", "é", "\t", "set -e", "do ", "done", "for ", "!",
        ]), 0..30)) {
            let _ = weakness(&parts.concat());
        }
    }
}
