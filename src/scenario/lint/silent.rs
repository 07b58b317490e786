//! Finds evaluations that fail in silence: all that the agent is told of them is an exit code.
//!
//! Speaks only where everything in the script is known to write nothing of what came. A program that
//! nobody silenced, a function, a trace: each may say it, and then nothing is found.

use super::lexer::{DEEPEST, Kind, Lexer, Token, step, unquoted};

/// Commands that write nothing where they succeed, and do not judge.
const QUIET: [&str; 34] = [
    ":", "break", "cd", "chmod", "chown", "continue", "cp", "declare", "exit", "export", "false",
    "install", "kill", "ln", "local", "mkdir", "mkfifo", "mv", "read", "readonly", "return", "rm",
    "rmdir", "set", "shift", "shopt", "sleep", "touch", "trap", "true", "truncate", "umask",
    "unset", "wait",
];
/// Of those the ones that hand on the status that was, or make one up.
const HAND_ON: [&str; 7] = [":", "break", "continue", "exit", "false", "return", "true"];
/// Of those the ones that clean up at the end.
const CLEAN_UP: [&str; 6] = ["cd", "kill", "rm", "rmdir", "trap", "wait"];
/// Programs of the machine. Others that an evaluation calls are taken for the product's.
const TOOLS: [&str; 56] = [
    "awk", "base64", "bash", "bun", "cargo", "cat", "cmp", "comm", "command", "curl", "cut",
    "date", "deno", "diff", "docker", "echo", "env", "exec", "eval", "find", "git", "go", "gradle",
    "head", "hexdump", "java", "jq", "ls", "make", "mvn", "node", "npm", "npx", "perl", "php",
    "pip", "pnpm", "printf", "psql", "python", "python3", "ruby", "sed", "sh", "sort", "source",
    "sqlite3", "stat", "sudo", "tail", "time", "timeout", "wc", "wget", "xxd", "yarn",
];
/// How deep substitutions in substitutions are looked into.
const NESTED: usize = 4;

/// Returns the line of `script`, from 0, of the check that decides and says nothing where it fails;
/// none where there is none, or anything in the script may say what came.
pub(super) fn silence(script: &str) -> Option<usize> {
    // Something is sent to where the agent hears it.
    if [">&2", "/dev/stderr", "/dev/tty"].iter().any(|place| script.contains(place)) {
        return None;
    }
    let tokens = Lexer::new(script).tokens().ok()?;
    let commands = commands(&tokens)?;
    let swallowed = swallowed(&commands, NESTED)?;
    if commands.iter().chain(&swallowed).any(Command::always_speaks) {
        return None;
    }
    let exits_on_error = commands.iter().any(Command::sets_errexit);
    let last = commands.iter().rposition(|command| !command.follows(exits_on_error))?;
    let decides = &commands[last];
    if decides.next == "|" || !decides.fails_in_silence() {
        return None;
    }
    let says_something = |(at, command): (usize, &Command)| {
        at != last && command.may_say_what_came() && !command.is_another_step(&swallowed)
    };
    (!commands.iter().enumerate().any(says_something)).then_some(decides.line)
}

/// One simple command.
#[derive(Debug, Clone, Default)]
struct Command {
    /// The program and its arguments, without redirections and variables that are set before it.
    words: Vec<String>,
    /// All of its words: there may be substitutions in each.
    all: Vec<String>,
    /// The line on which it begins, from 0.
    line: usize,
    /// What `if`, `while` and `!` make of its pipeline.
    head: Head,
    /// What follows it.
    next: &'static str,
    /// Where its output goes.
    streams: Streams,
}

/// What stands before a pipeline.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    negated: bool,
    condition: bool,
}

/// Which streams go elsewhere than to the agent.
#[derive(Debug, Clone, Copy, Default)]
struct Streams {
    stdout_gone: bool,
    stderr_gone: bool,
}

/// Divides tokens into simple commands; none where there is more to the script than those, `if`, loops
/// and groups.
fn commands(tokens: &[Token]) -> Option<Vec<Command>> {
    let mut found = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    let (mut line, mut leads, mut is_test) = (0, true, false);
    let mut head = Head::default();
    let end = Token { kind: Kind::Operator("\n"), line: 0 };
    for token in tokens.iter().chain([&end]) {
        match &token.kind {
            Kind::Word(word) => {
                if words.is_empty() {
                    (line, leads) = (token.line, true);
                }
                leads &= words.last().is_none_or(|word| is_keyword(word));
                is_test = (is_test || leads && word == "[[") && word != "]]";
                words.push(word);
            }
            Kind::Operator(operator) if is_test => words.push(operator),
            // A function, or a list of values; a choice.
            Kind::Operator("(") if !words.is_empty() => return None,
            Kind::Operator(";;") => return None,
            Kind::Operator(operator) => {
                found.extend(command(&words, line, &mut head, operator)?);
                words.clear();
                if *operator != "|" {
                    head = Head::default();
                }
            }
        }
    }
    Some(found)
}

fn is_keyword(word: &str) -> bool {
    let heads = ["!", "if", "elif", "while", "until", "then", "else", "do", "{", "time"];
    heads.contains(&word) || matches!(word, "fi" | "done" | "}")
}

/// Returns the command that `words` are, if they are one, with `head` as they leave it; none where they
/// begin what is not understood.
fn command(
    words: &[&str],
    line: usize,
    head: &mut Head,
    next: &'static str,
) -> Option<Option<Command>> {
    let keywords = words.iter().take_while(|word| is_keyword(word)).count();
    for word in &words[..keywords] {
        head.negated ^= *word == "!";
        head.condition |= matches!(*word, "if" | "elif" | "while" | "until");
    }
    let rest = &words[keywords..];
    match rest.first() {
        None => return Some(None),
        Some(&("case" | "select" | "function" | "coproc")) => return None,
        Some(_) => {}
    }
    let (plain, streams) = redirected(rest);
    let assigned = plain.iter().take_while(|word| assigns(word)).count();
    let words = match plain.first() {
        Some(&"for") => Vec::new(),
        _ => plain[assigned..].iter().map(|word| (*word).to_owned()).collect(),
    };
    let all = rest.iter().map(|word| (*word).to_owned()).collect();
    Some(Some(Command { words, all, line, head: *head, next, streams }))
}

/// Returns the words without redirections, and which streams these take away.
fn redirected<'a>(words: &[&'a str]) -> (Vec<&'a str>, Streams) {
    let (mut plain, mut streams) = (Vec::new(), Streams::default());
    // There `<` and `>` compare.
    if words.first() == Some(&"[[") {
        return (words.to_vec(), streams);
    }
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some(at) = unquoted(word, &['<', '>']) else {
            plain.push(*word);
            continue;
        };
        let (before, operator) = word.split_at(at);
        if operator[1..].starts_with('(') {
            plain.push(*word);
            continue;
        }
        if !matches!(before, "" | "0" | "1" | "2" | "&") {
            plain.push(before);
        }
        let target = operator.trim_start_matches(['<', '>', '|']);
        let target = if target.is_empty() { rest.next().unwrap_or(&"") } else { target };
        if operator.starts_with('<') {
            continue;
        }
        match (before, target) {
            ("2", "&1") => streams.stderr_gone = streams.stdout_gone,
            ("2", _) => streams.stderr_gone = true,
            ("&", _) => streams = Streams { stdout_gone: true, stderr_gone: true },
            (_, "/dev/stdout" | "&1") => {}
            _ => streams.stdout_gone = true,
        }
    }
    (plain, streams)
}

/// Returns whether a word sets a variable.
fn assigns(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let name = name.strip_suffix('+').unwrap_or(name);
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Returns the commands whose output goes into other commands, variables and files, those in
/// substitutions included; none where a substitution is not understood.
fn swallowed(commands: &[Command], depth: usize) -> Option<Vec<Command>> {
    let gone = |one: &&Command| one.next == "|" || one.streams.stdout_gone;
    let mut found: Vec<Command> = commands.iter().filter(gone).cloned().collect();
    for word in commands.iter().flat_map(|command| &command.all) {
        for inner in substitutions(word)? {
            let tokens = Lexer::new(inner).tokens().ok()?;
            let within = self::commands(&tokens)?;
            found.extend(swallowed(&within, depth.checked_sub(1)?)?);
            found.extend(within);
        }
    }
    Some(found)
}

/// Returns the texts of the substitutions in a word, `$(..)`, `<(..)` and those in backticks; none where
/// one is not ended.
fn substitutions(word: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let (mut at, mut quoted) = (0, false);
    while let Some(c) = word[at..].chars().next() {
        let rest = &word[at..];
        at += match c {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '\'' if !quoted => rest[1..].find('\'')? + 2,
            '`' => {
                let length = rest[1..].find('`')?;
                found.push(&rest[1..=length]);
                length + 2
            }
            _ if rest.starts_with("$((") => 3,
            '$' | '<' | '>' if rest[1..].starts_with('(') => {
                let length = step(rest, DEEPEST)?;
                found.push(rest.get(2..length - 1)?);
                length
            }
            c => {
                quoted ^= c == '"';
                c.len_utf8()
            }
        };
    }
    Some(found)
}

impl Command {
    fn program(&self) -> &str {
        self.words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word))
    }

    /// Returns whether one of the flags before `--` is or holds one of `letters`, or begins with one of
    /// `long`.
    fn has_flag(&self, letters: &[char], long: &[&str]) -> bool {
        let words = self.words.iter().skip(1).take_while(|word| *word != "--");
        let mut flags = words.filter(|word| word.starts_with('-'));
        flags.any(|flag| match flag.strip_prefix("--") {
            Some(name) => long.iter().any(|known| name.starts_with(known)),
            None => flag.contains(letters),
        })
    }

    /// Returns whether it says something of what goes on wherever its output goes: it keeps a copy, traces,
    /// or shows how far it is.
    fn always_speaks(&self) -> bool {
        match self.program() {
            "tee" => true,
            "set" => {
                self.has_flag(&['x', 'v'], &[])
                    || self.words.iter().any(|word| word == "xtrace" || word == "verbose")
            }
            "curl" => !self.streams.stderr_gone && !self.has_flag(&['s'], &["silent"]),
            "wget" => !self.streams.stderr_gone && !self.has_flag(&['q'], &["quiet"]),
            _ => false,
        }
    }

    fn sets_errexit(&self) -> bool {
        self.program() == "set"
            && (self.has_flag(&['e'], &[]) || self.words.iter().any(|word| word == "errexit"))
    }

    /// Returns whether it comes after the check that decides: hands its status on, or, where that ends the
    /// script, cleans up.
    fn follows(&self, exits_on_error: bool) -> bool {
        let kept = self.words.is_empty() && !self.all.iter().any(|word| word.contains(['`', '(']));
        kept || HAND_ON.contains(&self.program())
            || exits_on_error && CLEAN_UP.contains(&self.program()) && self.is_quiet()
    }

    /// Returns whether nothing is written where it succeeds.
    fn is_quiet(&self) -> bool {
        match self.program() {
            // Only of an action that is a plain text it is known what it writes.
            "trap" => self.words.get(1).is_some_and(|action| {
                let action = action.trim_matches(['\'', '"']).trim_start();
                ["rm ", "kill ", "-"].iter().any(|known| action.starts_with(known))
            }),
            // Says that there is no such process.
            "kill" => !self.words.iter().any(|word| word == "-0"),
            program => QUIET.contains(&program),
        }
    }

    /// Returns whether it is a check that writes nothing where it does not hold.
    fn fails_in_silence(&self) -> bool {
        let Streams { stdout_gone, stderr_gone } = self.streams;
        if stdout_gone && stderr_gone {
            return !self.words.is_empty() && !self.is_quiet();
        }
        match self.program() {
            "test" | "[" | "[[" => true,
            "grep" | "egrep" | "fgrep" | "rg" => {
                // What it finds is what should not be there, where that is what fails.
                let finds = self.head.negated || self.head.condition || self.next == "&&";
                let counts = self.has_flag(&['c', 'L'], &["count", "files-without"]);
                stdout_gone || self.is_told_to_be_quiet() || !finds && !counts
            }
            "cmp" => self.is_told_to_be_quiet(),
            "diff" | "jq" => stdout_gone,
            _ => false,
        }
    }

    /// Returns whether `grep` or `cmp` is told to write nothing.
    fn is_told_to_be_quiet(&self) -> bool {
        let words = self.words.iter().skip(1).take_while(|word| *word != "--");
        match self.program() {
            "cmp" => self.has_flag(&['s'], &["silent", "quiet"]),
            _ => words.into_iter().any(|word| match word.strip_prefix("--") {
                Some(name) => name == "quiet" || name == "silent",
                // What follows `e` and `f` in a word is a pattern and a file.
                None => word.strip_prefix('-').is_some_and(|flags| {
                    flags.split(['e', 'f']).next().is_some_and(|flags| flags.contains('q'))
                }),
            }),
        }
    }

    /// Returns whether it may write what the check looks at.
    fn may_say_what_came(&self) -> bool {
        if self.words.is_empty() || self.next == "|" || self.streams.stdout_gone || self.is_quiet()
        {
            return false;
        }
        match self.program() {
            "test" | "[" | "[[" => false,
            "grep" | "egrep" | "fgrep" | "rg" | "cmp" => !self.is_told_to_be_quiet(),
            _ => true,
        }
    }

    /// Returns whether it is another step of the product whose answer is swallowed: `./todo add x` before
    /// `./todo list | grep -q x`.
    fn is_another_step(&self, swallowed: &[Self]) -> bool {
        let mut same =
            swallowed.iter().filter(|one| one.words.first() == self.words.first()).peekable();
        !TOOLS.contains(&self.program())
            && same.peek().is_some()
            && same.all(|one| one.verb() != self.verb())
    }

    /// Returns the first argument that is no flag.
    fn verb(&self) -> &str {
        let mut arguments = self.words.iter().skip(1).filter(|word| !word.starts_with('-'));
        arguments.next().map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Checks that the script fails in silence by its line `expected`.
    #[track_caller]
    fn silent(script: &str, expected: &str) {
        let found = silence(script).map(|line| script.lines().nth(line).unwrap());
        assert_eq!(found, Some(expected), "{script}");
    }

    #[track_caller]
    fn speaks(script: &str) {
        assert_eq!(silence(script), None, "{script}");
    }

    #[test]
    fn a_search_whose_input_nobody_sees_is_silent() {
        let line = "./todo list | grep -q \"Buy milk\"";
        silent(&format!("./todo add \"Buy milk\"\n{line}\n"), line);
        silent(&format!("set -euo pipefail\n./todo add \"Buy milk\"\n{line}"), line);
        silent(
            "todo add x && todo list | grep --quiet x",
            "todo add x && todo list | grep --quiet x",
        );
        silent("./todo list | grep \"Buy milk\"", "./todo list | grep \"Buy milk\"");
        silent("./todo list |\n  grep -Fxq 'a b'", "  grep -Fxq 'a b'");
        silent(
            "./todo list 2>&1 | grep -qi error || exit 1",
            "./todo list 2>&1 | grep -qi error || exit 1",
        );
        silent(
            "python3 -m todo list | sort | grep -c . >/dev/null",
            "python3 -m todo list | sort | grep -c . >/dev/null",
        );
        silent(
            "curl -fsS localhost:8000/ | grep -q hello",
            "curl -fsS localhost:8000/ | grep -q hello",
        );
        silent("./todo list >out.txt\ngrep -q milk out.txt\n# done", "grep -q milk out.txt");
        silent("! ./todo list | grep -q milk", "! ./todo list | grep -q milk");
        silent("out=$(./todo list)\necho \"$out\" | grep -q milk", "echo \"$out\" | grep -q milk");
        silent(
            "out=$(./todo list); grep -q milk <<<\"$out\"",
            "out=$(./todo list); grep -q milk <<<\"$out\"",
        );
        silent(
            "cat >in.txt <<EOF\na echo b\nEOF\n./todo load <in.txt | grep -q b",
            "./todo load <in.txt | grep -q b",
        );
        silent(
            "for x in a b; do\n  ./todo list | grep -q \"$x\" || exit 1\ndone",
            "  ./todo list | grep -q \"$x\" || exit 1",
        );
    }

    #[test]
    fn a_comparison_that_says_nothing_is_silent() {
        silent("test \"$(./todo count)\" = 3", "test \"$(./todo count)\" = 3");
        silent(
            "./todo add a\n[ \"$(./todo list | wc -l)\" -eq 1 ]",
            "[ \"$(./todo list | wc -l)\" -eq 1 ]",
        );
        silent(
            "[[ $(./todo list) == *milk* && -s tasks.json ]]",
            "[[ $(./todo list) == *milk* && -s tasks.json ]]",
        );
        silent(
            "x=`./todo count`; [[ \"$x\" =~ ^(3|4)$ ]]",
            "x=`./todo count`; [[ \"$x\" =~ ^(3|4)$ ]]",
        );
        silent("./todo export >a.csv\ncmp -s a.csv expected.csv", "cmp -s a.csv expected.csv");
        silent(
            "diff -q <(./todo list) expected >/dev/null",
            "diff -q <(./todo list) expected >/dev/null",
        );
        silent(
            "./todo list --json | jq -e '.[0]' >/dev/null",
            "./todo list --json | jq -e '.[0]' >/dev/null",
        );
        silent("./todo check >/dev/null 2>&1", "./todo check >/dev/null 2>&1");
        silent("! ./todo frobnicate &>/dev/null", "! ./todo frobnicate &>/dev/null");
        silent("./todo bad >/dev/null 2>&1\ncode=$?\n[ $code -eq 2 ]", "[ $code -eq 2 ]");
        silent("test -x ./todo", "test -x ./todo");
        let script = "set -e\ntmp=$(mktemp -d)\ntrap 'rm -rf \"$tmp\"' EXIT\n./todo save \"$tmp/a\" >/dev/null\ntest -s \"$tmp/a\"\nrm -r \"$tmp\"";
        silent(script, "test -s \"$tmp/a\"");
        silent(
            "if ! ./todo list | grep -q milk; then\n  exit 1\nfi",
            "if ! ./todo list | grep -q milk; then",
        );
        silent("grep -q milk tasks.txt\ncode=$?\nexit $code", "grep -q milk tasks.txt");
    }

    #[test]
    fn who_shows_what_came_is_left_alone() {
        for script in [
            "out=$(./todo list); echo \"$out\"; grep \"Buy milk\" <<<\"$out\"",
            "out=$(./todo list)\nprintf '%s\\n' \"$out\"\ntest \"$out\" = milk",
            "./todo list | tee out.txt | grep -q milk",
            "./todo list >out.txt\ncat out.txt\ngrep -q milk out.txt",
            "./todo list\n./todo list | grep -q milk",
            "./todo list --all\n./todo list | grep -q milk",
            "set -x\n./todo list | grep -q milk",
            "set -euxo pipefail\ntest \"$(./todo count)\" = 3",
            "set -o xtrace; test \"$(./todo count)\" = 3",
            "./todo list | grep -q milk || { echo 'no milk'; exit 1; }",
            "./todo list | grep -q milk || { ./todo list; exit 1; }",
            "./todo list | grep -q milk || fail 'no milk'",
            "./todo list | grep -q milk || { ./todo list >&2; exit 1; }",
            "if ! ./todo list | grep -q milk; then echo no; exit 1; fi",
            "if ./todo list | grep milk; then exit 1; fi",
            "! ./todo list | grep milk",
            "./todo list | grep milk && exit 1",
            "./todo list | grep -c milk",
            "./todo list >/dev/stderr; test -s tasks",
            "./todo list | tee /dev/stderr | grep -q milk",
        ] {
            speaks(script);
        }
    }

    #[test]
    fn what_may_say_something_is_left_alone() {
        for script in [
            "make test",
            "./todo check",
            "./todo check >/dev/null",
            "./todo check 2>/dev/null",
            "! ./todo frobnicate",
            "python3 check.py",
            "python3 - <<'EOF'\nimport todo\nassert todo.count() == 3\nEOF",
            "python3 make.py\ntest -s out.txt",
            "curl -f localhost:8000/",
            "curl localhost:8000/ | grep -q hello",
            "curl -fsS -X POST localhost:8000/\ntest -s db.sqlite",
            "./todo export out.csv\ntest -s out.csv",
            "make build\n./todo list | grep -q milk",
            "./other import\n./todo list | grep -q milk",
            "diff <(./todo list) expected",
            "diff -q <(./todo list) expected",
            "cmp a b",
            "./todo list | jq -e '.[0].done'",
            "./todo list | awk '/milk/ { found = 1 } END { exit !found }'",
            "check() { ./todo list | grep -q \"$1\"; }\ncheck milk",
            ". ./lib.sh\n./todo list | grep -q milk",
            "eval \"$checks\"\n./todo list | grep -q milk",
            "trap 'cat log' EXIT\n./todo list | grep -q milk",
            "./server &\nsleep 1\n./client | grep -q ok",
            "case $(./todo list) in *milk*) exit 0;; esac; exit 1",
            "./server >log 2>&1 & pid=$!\n./client | grep -q ok\nkill -0 $pid",
            "(( $(./todo count) == 3 ))",
            "(cd x && ./todo list) | grep -q milk || { ./todo list; exit 1; }",
            "",
            "true",
            "./todo list | grep -q 'open",
        ] {
            speaks(script);
        }
    }

    #[test]
    fn what_nests_without_end_is_left_alone() {
        let deep = format!("test {}x{}", "$(echo ".repeat(20), ")".repeat(20));
        speaks(&deep);
        for part in ["$(", "\"$(", "`", "if ", "{ ", "( ", "! "] {
            speaks(&part.repeat(50_000));
        }
    }

    proptest! {
        #[test]
        fn any_script_is_read_without_a_panic(parts in prop::collection::vec(prop::sample::select(vec![
            "grep -q a", "test ", "[[ ", " ]]", "! ", "if ", "then ", "fi", "$(", ")", "<(", "`", "'", "\"", "\\",
            "\n", ";", ";;", "|", "||", "&&", "&", "<<E", "E\n", "<<<", ">", "2>&1", ">&", "/dev/null", "x=", "é",
            "$((", "set -e", "for a in ", "do ", "done", "trap ", "cmp -s ",
        ]), 0..30)) {
            let _ = silence(&parts.concat());
        }
    }
}
