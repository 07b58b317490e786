//! What defines a gate: the files that its command reads its orders from, by the command's text alone. Who may change
//! them decides what the gate checks.

use std::collections::BTreeSet;
use std::path::Path;

use super::weakened::is_of_tests;
use crate::config::{Config, GateSettings};

/// What a command's programs read their orders from, as globs from the directory that they are started in; taken from
/// the programs' own documentation. What a Makefile includes is read from its text.
const PROGRAMS: &[(&[&str], &[&str])] = &[
    (
        &["npm", "pnpm", "yarn", "bun", "npx", "bunx"],
        &["package.json", ".npmrc", ".yarnrc.yml", ".pnpmfile.cjs", "bunfig.toml"],
    ),
    (
        &["cargo"],
        &[
            "Cargo.toml",
            ".cargo/config",
            ".cargo/config.toml",
            "clippy.toml",
            ".clippy.toml",
            "rustfmt.toml",
            ".rustfmt.toml",
            ".config/nextest.toml",
        ],
    ),
    (&["tox"], &["tox.ini", "tox.toml", "setup.cfg", "pyproject.toml"]),
    (&["nox"], &["noxfile.py"]),
    (&["just"], &["justfile", "Justfile", ".justfile"]),
    (
        &["gradle", "gradlew"],
        &["build.gradle*", "settings.gradle*", "gradle.properties", "gradlew", "gradle/**"],
    ),
    (&["mvn", "mvnw"], &["pom.xml", "mvnw", ".mvn/**"]),
    (
        &["pytest", "py.test"],
        &["pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml", "conftest.py"],
    ),
    (&["ruff"], &["ruff.toml", ".ruff.toml", "pyproject.toml"]),
    (&["mypy"], &["mypy.ini", ".mypy.ini", "setup.cfg", "pyproject.toml"]),
    (&["pyright"], &["pyrightconfig.json", "pyproject.toml"]),
    (&["flake8"], &[".flake8", "setup.cfg", "tox.ini"]),
    (&["pylint"], &[".pylintrc", "pylintrc", "setup.cfg", "pyproject.toml"]),
    (
        &["black", "isort", "coverage", "hatch", "pdm", "poetry"],
        &["pyproject.toml", "setup.cfg", ".coveragerc", ".isort.cfg", "hatch.toml"],
    ),
    (&["eslint"], &["eslint.config.*", ".eslintrc*", ".eslintignore", "package.json"]),
    (&["tsc"], &["tsconfig*.json"]),
    (&["jest"], &["jest.config.*", "package.json"]),
    (&["vitest"], &["vitest.config.*", "vite.config.*", "vitest.workspace.*"]),
    (&["mocha"], &[".mocharc*", "package.json"]),
    (&["biome"], &["biome.json", "biome.jsonc"]),
    (&["prettier"], &[".prettierrc*", "prettier.config.*", ".prettierignore", "package.json"]),
    (&["golangci-lint"], &[".golangci.*"]),
    (&["ctest", "cmake"], &["CMakeLists.txt", "CMakePresets.json"]),
    (&["meson", "ninja"], &["meson.build", "meson.options", "meson_options.txt"]),
    (&["rake"], &["Rakefile", "rakefile", "Rakefile.rb"]),
    (&["rspec"], &[".rspec"]),
    (&["rubocop"], &[".rubocop.yml"]),
    (&["phpunit"], &["phpunit.xml", "phpunit.xml.dist"]),
    (&["composer"], &["composer.json"]),
    (&["task"], &["Taskfile.yml", "Taskfile.yaml", "Taskfile.dist.yml"]),
    (&["mise"], &["mise.toml", ".mise.toml", ".config/mise.toml"]),
    (&["pre-commit", "prek"], &[".pre-commit-config.yaml"]),
    (&["bazel", "bazelisk"], &[".bazelrc", "MODULE.bazel", "WORKSPACE", "BUILD", "BUILD.bazel"]),
];

/// Programs that start what their arguments name.
const STARTERS: &[&str] = &[
    "env", "time", "nice", "timeout", "exec", "command", "npx", "bunx", "sudo", "xvfb-run", "run",
    "uv", "uvx", "poetry", "pdm", "hatch", "pipenv", "rye", "bundle", "dlx", "stdbuf",
];

/// Programs whose first file is what they run.
const INTERPRETERS: &[&str] = &[
    "bash", "sh", "dash", "zsh", "python", "python3", "node", "deno", "ruby", "perl", "php",
    "source", ".", "tsx",
];

/// Words of the shell, and programs that read no orders from a file.
const PLAIN: &[&str] = &[
    "test", "[", "[[", "true", "false", ":", "!", "if", "then", "else", "elif", "fi", "for",
    "while", "until", "do", "done", "case", "esac", "{", "}", "(", ")", "grep", "egrep", "fgrep",
    "diff", "cmp", "cat", "echo", "printf", "ls", "find", "sort", "uniq", "wc", "head", "tail",
    "sed", "awk", "tr", "cut", "tee", "xargs", "mkdir", "rm", "cp", "mv", "touch", "sleep", "set",
    "export", "cd", "git", "jq", "go", "kill", "wait", "unittest", "exit",
];

/// How deep Makefiles may include each other.
const DEPTH: usize = 8;

/// What is known of a gate's definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definition {
    /// Globs of the files, from the product's root, sorted.
    pub globs: Vec<String>,
    /// A program of the command of which nobody knows what it reads; none where all are known.
    pub unknown: Option<String>,
}

impl Definition {
    /// Says of the gate `name` that nobody knows what defines it; none where it is known.
    pub fn told(&self, name: &str) -> Option<String> {
        let unknown = self.unknown.as_deref()?;
        Some(format!("what the gate `{name}` checks can't be known from `{unknown}`"))
    }
}

/// Returns what defines a gate, beside what its settings say; `read` returns a file of the product as the run begins
/// with it, none where there is none.
pub fn definition_of(gate: &GateSettings, read: &dyn Fn(&str) -> Option<String>) -> Definition {
    let mut found = Found { globs: BTreeSet::new(), unknown: None, read };
    let run = ["2>&1", "1>&2", ">&2", ">&1", "&>"]
        .iter()
        .fold(gate.run.clone(), |run, one| run.replace(one, " "));
    // The directory, and those from before each parenthesis that is open.
    let (mut dir, mut around) = (String::new(), Vec::new());
    for command in run.split(['\n', ';', '&', '|']) {
        let words: Vec<&str> = command
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'', '(', ')', '`']))
            .collect();
        around.extend(command.matches('(').map(|_| dir.clone()));
        match words.iter().position(|word| !word.is_empty()).map(|first| &words[first..]) {
            Some(["cd", to, ..]) => dir = join(&dir, to),
            Some(words) => found.command(&dir, words),
            None => {}
        }
        for _ in command.matches(')') {
            dir = around.pop().unwrap_or(dir);
        }
    }
    let unknown = found.unknown.filter(|_| gate.definition.is_empty());
    Definition { globs: found.globs.into_iter().collect(), unknown }
}

struct Found<'a> {
    globs: BTreeSet<String>,
    unknown: Option<String>,
    read: &'a dyn Fn(&str) -> Option<String>,
}

impl Found<'_> {
    fn command(&mut self, dir: &str, words: &[&str]) {
        let is_set = |word: &str| {
            word.split_once('=')
                .is_some_and(|(name, _)| !name.is_empty() && !name.contains(['-', '/', '.']))
        };
        let start = words.iter().position(|word| {
            !word.is_empty()
                && !is_set(word)
                && !["!", "if", "then", "else", "elif", "while", "until", "do", "{", "time"]
                    .contains(word)
        });
        let Some([program, args @ ..]) = start.map(|start| &words[start..]) else { return };
        let name = program.rsplit('/').next().unwrap_or(program);
        if name == "make" || name == "gmake" {
            return self.make(dir, args);
        }
        if program.contains('/') && !program.starts_with('/') {
            // A program of the product's own.
            self.file(dir, program);
        }
        let known = PROGRAMS.iter().find(|(names, _)| names.contains(&name));
        for file in known.map_or(&[][..], |(_, files)| files) {
            self.globs.insert(join(dir, file));
        }
        if STARTERS.contains(&name) {
            let rest = args.iter().position(|arg| {
                !arg.starts_with('-') && !is_set(arg) && arg.parse::<f64>().is_err()
            });
            return self.command(dir, rest.map_or(&[][..], |rest| &args[rest..]));
        }
        if INTERPRETERS.contains(&name) {
            return self.interpreter(dir, name.ends_with("sh"), args);
        }
        if known.is_none() && !PLAIN.contains(&name) && !program.contains('/') {
            self.unknown.get_or_insert_with(|| name.to_owned());
        }
    }

    fn interpreter(&mut self, dir: &str, is_shell: bool, args: &[&str]) {
        match args {
            ["-m", module, rest @ ..] => {
                let words: Vec<&str> =
                    std::iter::once(*module).chain(rest.iter().copied()).collect();
                self.command(dir, &words);
            }
            // A look at how something is written.
            ["-n" | "-l" | "--check", ..] => {}
            // A text that stands in the command: of a shell it is one itself.
            [flag, rest @ ..] if flag.starts_with('-') && flag.ends_with('c') && is_shell => {
                self.command(dir, rest);
            }
            ["-c", ..] => {}
            [flag, rest @ ..] if flag.starts_with('-') => self.interpreter(dir, is_shell, rest),
            [file, ..] => self.file(dir, file),
            [] => {}
        }
    }

    /// Takes a file that is run for what defines the gate where it looks like a check, and no part of what is checked.
    fn file(&mut self, dir: &str, file: &str) {
        let path = join(dir, file);
        if checks_something(Path::new(&path)) && (self.read)(&path).is_some() {
            self.globs.insert(path);
        }
    }

    fn make(&mut self, dir: &str, args: &[&str]) {
        let (mut dir, mut files) = (dir.to_owned(), Vec::new());
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let value = |long: &str, short: &str| {
                arg.strip_prefix(long).and_then(|rest| rest.strip_prefix('=')).or_else(|| {
                    arg.strip_prefix(short)
                        .filter(|rest| !rest.is_empty() && !arg.starts_with("--"))
                })
            };
            if let Some(to) = value("--directory", "-C") {
                dir = join(&dir, to);
            } else if let Some(file) = value("--file", "-f").or_else(|| value("--makefile", "-f")) {
                files.push(file.to_owned());
            } else if ["-C", "--directory"].contains(arg) {
                dir = join(&dir, args.next().copied().unwrap_or_default());
            } else if ["-f", "--file", "--makefile"].contains(arg) {
                files.extend(args.next().map(|file| (*file).to_owned()));
            }
        }
        if files.is_empty() {
            // All names, since make prefers another one that is added.
            files = Config::MAKEFILES.map(str::to_owned).to_vec();
        }
        for file in files {
            self.makefile(&dir, &file, 0);
        }
    }

    fn makefile(&mut self, dir: &str, file: &str, depth: usize) {
        let path = join(dir, file);
        let is_new = self.globs.insert(path.clone());
        let Some(text) = (self.read)(&path).filter(|_| is_new && depth < DEPTH) else { return };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if line.starts_with('\t')
                || !matches!(words.next(), Some("include" | "-include" | "sinclude"))
            {
                continue;
            }
            for word in words.take_while(|word| !word.starts_with('#')) {
                match word.contains('$') {
                    true => _ = self.unknown.get_or_insert_with(|| format!("include {word}")),
                    // make looks for it from the directory that it runs in.
                    false => self.makefile(dir, word, depth + 1),
                }
            }
        }
    }
}

/// Returns whether a file that a gate runs is there for checks, by its name or a directory that it lies in: the product
/// may be run by a gate as well.
fn checks_something(path: &Path) -> bool {
    const DIRECTORIES: [&str; 9] =
        ["scripts", "script", "tools", "ci", ".ci", "hack", "dev", "qa", "build"];
    const WORDS: [&str; 12] = [
        "test", "check", "lint", "ci", "verify", "gate", "style", "format", "fmt", "type",
        "validate", "audit",
    ];
    let above = path.parent().into_iter().flat_map(Path::iter).filter_map(|part| part.to_str());
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let mut words = stem.split(|c: char| !c.is_ascii_alphanumeric());
    let is_check = |word: &str| WORDS.contains(&word.to_ascii_lowercase().trim_end_matches('s'));
    is_of_tests(path)
        || words.any(is_check)
        || above.into_iter().any(|part| DIRECTORIES.contains(&part))
}

/// Joins a path to a directory of the product's, both without `.` and `..` where that can be.
fn join(dir: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in dir.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Returns whether two versions of a definition tell its programs the same: of `package.json` what a product depends on
/// and is called by tells them nothing.
pub fn tells_the_same(path: &str, before: &[u8], after: &[u8]) -> bool {
    const OTHER: [&str; 20] = [
        "name",
        "version",
        "description",
        "keywords",
        "homepage",
        "bugs",
        "license",
        "author",
        "contributors",
        "funding",
        "repository",
        "dependencies",
        "devDependencies",
        "peerDependencies",
        "optionalDependencies",
        "bundleDependencies",
        "files",
        "main",
        "types",
        "private",
    ];
    let orders = |bytes: &[u8]| {
        let mut package: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(bytes).ok()?;
        package.retain(|key, _| !OTHER.contains(&key.as_str()));
        Some(package)
    };
    let is_package = path == "package.json" || path.ends_with("/package.json");
    before == after || (is_package && orders(before).is_some() && orders(before) == orders(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;

    fn check(run: &str, files: &[(&str, &str)], globs: &[&str], unknown: Option<&str>) {
        let read = |path: &str| {
            files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
        };
        let (name, definition) = ("a".to_owned(), Vec::new());
        let gate = GateSettings {
            name,
            run: run.into(),
            definition,
            network: false,
            timeout: Span::seconds(1),
        };
        let found = definition_of(&gate, &read);
        let expected: BTreeSet<String> = globs.iter().map(|&glob| glob.to_owned()).collect();
        assert_eq!(found.globs, expected.into_iter().collect::<Vec<_>>(), "{run}");
        assert_eq!(found.unknown.as_deref(), unknown, "{run}");
    }

    const MAKE: [&str; 3] = Config::MAKEFILES;

    #[test]
    fn make_reads_makefiles_and_what_they_include() {
        check("make test", &[], &MAKE, None);
        check("CI=1 gmake -j4 lint && make test", &[], &MAKE, None);
        let files = [
            ("Makefile", "include rules.mk more/*.mk # no.mk\n\tinclude no.mk\n-include a.mk\n"),
            ("rules.mk", "sinclude deep.mk\ninclude rules.mk\n"),
        ];
        check(
            "make",
            &files,
            &[&MAKE[..], &["rules.mk", "more/*.mk", "a.mk", "deep.mk"]].concat(),
            None,
        );
        check("make", &[("Makefile", "include $(DIR)/x.mk\n")], &MAKE, Some("include $(DIR)/x.mk"));
        check(
            "make -C sub -f build/Own.mk x",
            &[("sub/build/Own.mk", "include near.mk")],
            &["sub/build/Own.mk", "sub/near.mk"],
            None,
        );
        check("make --directory=sub --file=Own.mk", &[], &["sub/Own.mk"], None);
        check("cd sub && make -fOwn.mk", &[], &["sub/Own.mk"], None);
    }

    #[test]
    fn programs_have_files_of_their_own_and_scripts_are_what_they_run() {
        check("noxfile && true", &[], &[], Some("noxfile"));
        check("uv run nox -s tests", &[], &["noxfile.py"], None);
        check("timeout 60 env A=1 nox", &[], &["noxfile.py"], None);
        check("python3 -m nox", &[], &["noxfile.py"], None);
        check(
            "npx tsc --noEmit",
            &[],
            &[
                ".npmrc",
                ".pnpmfile.cjs",
                ".yarnrc.yml",
                "bunfig.toml",
                "package.json",
                "tsconfig*.json",
            ],
            None,
        );
        let files = [("scripts/test.sh", ""), ("check.py", "")];
        check("bash -e scripts/test.sh", &files, &["scripts/test.sh"], None);
        check("./scripts/test.sh | grep -q ok", &files, &["scripts/test.sh"], None);
        check("if ! python3 check.py; then exit 1; fi", &files, &["check.py"], None);
        check("test -z \"$(git status --porcelain)\"", &[], &[], None);
        check("nox 2>&1 | tail -5 >&2", &[], &["noxfile.py"], None);
        check("python3 -m unittest", &[], &[], None);
        check("bash -ec 'make test'", &[], &MAKE, None);
        check("python3 -c 'make test'", &[], &[], None);
        check("(cd sub && make)", &[], &["sub/GNUmakefile", "sub/makefile", "sub/Makefile"], None);
        check("(cd sub; true) && make", &[], &MAKE, None);
        check("mystery --all", &[], &[], Some("mystery"));
        // What is checked is no check.
        let files = [
            ("app.sh", ""),
            ("bin/app", ""),
            ("scripts/run.sh", ""),
            ("run-tests", ""),
            ("selfcheck.py", ""),
        ];
        check("bash -n app.sh && ./bin/app --version && bash app.sh test", &files, &[], None);
        check("bash -n scripts/run.sh", &files, &[], None);
        check("./run-tests; python3 selfcheck.py", &files, &["run-tests"], None);
    }

    #[test]
    fn who_names_the_files_is_believed() {
        let gate = GateSettings {
            name: "a".into(),
            run: "mystery".into(),
            definition: vec!["x".into()],
            network: false,
            timeout: Span::seconds(1),
        };
        assert_eq!(definition_of(&gate, &|_| None), Definition::default());
    }

    #[test]
    fn dependencies_are_no_orders_and_scripts_are() {
        let package = |scripts: &str, version: &str| {
            format!(
                "{{\"scripts\":{{\"test\":\"{scripts}\"}},\"dependencies\":{{\"a\":\"{version}\"}}}}"
            )
        };
        let (before, deps, gutted) =
            (package("jest", "1"), package("jest", "2"), package("true", "1"));
        let same = |path, after: &str| tells_the_same(path, before.as_bytes(), after.as_bytes());
        assert!(same("package.json", &deps) && same("web/package.json", &deps));
        assert!(
            !same("package.json", &gutted)
                && !same("package.json", "broken")
                && !same("x.json", &deps)
        );
    }
}
