//! `factory lint`: reads scenarios and settings as a run would, and shows everything that is wrong
//! or odd in them. Runs nothing.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::exit::{Exit, Failure, OrExit as _};
use super::run_scenarios::product_root;
use crate::config::{self, Environment};
use crate::judge::{check_needs, definition_of, discover, makefile};
use crate::report::Output;
use crate::report::diagnostics::{self, Format};
use crate::scenario::{
    CHECKS, Diagnostic, Entry, MAX_BYTES, ScenarioSet, Severity, check_of, from_files,
};
use crate::text::{nearest, plural};

const EXAMPLES: &str = "\
Examples:
  factory lint                          the product's scenarios and dark-factory.yaml
  factory lint scenarios/login.md       one of them
  factory lint --strict --format github    in a workflow
  factory lint --criteria               which pass criteria are checked, which are for people
  factory lint --explain S002           what a check finds and why; `all` lists every check

Exit codes: 0 nothing wrong, 2 an error (with --strict a warning) or no such file, 4 there are no
scenarios.";

/// Check scenarios and dark-factory.yaml without running anything.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scenario files, directories of them, or dark-factory.yaml [default: the product's own]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Say what the check CODE finds and why that matters; `all` lists every check
    #[arg(long, value_name = "CODE", conflicts_with_all = ["paths", "format", "strict", "criteria"])]
    pub explain: Option<String>,
    /// How findings are written
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The root of the product, which paths are relative to [default: from here up the first with
    /// dark-factory.yaml, else the repository's top; of paths the current directory]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// Take warnings for errors
    #[arg(long)]
    pub strict: bool,
    /// List every pass criterion: whether it is checked or for people
    #[arg(long)]
    pub criteria: bool,
}

/// Checks what `args` name and writes the findings to standard output.
///
/// Exits with 0 when there is no error (under `--strict` no warning either), with 2 when there is
/// one, with 4 when there is no scenario.
///
/// # Errors
/// A path can't be read, a code is not known, or standard output can't be written.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let mut out = Output::stdout(env.no_color());
    let exit = act(args, env, &mut out);
    out.finish().context("can't write to standard output")?;
    exit
}

fn act(args: &Args, env: &Environment, out: &mut Output) -> anyhow::Result<Exit> {
    if let Some(code) = &args.explain {
        explain(code, out).or_exit(Exit::Usage)?;
        return Ok(Exit::Satisfied);
    }
    let root = match &args.workdir {
        Some(dir) => env.current_dir().join(dir),
        None if args.paths.is_empty() => product_root(None, env)?,
        None => env.current_dir().to_owned(),
    };
    let mut lint = Lint::new(root);
    let dir = lint.everything(&args.paths).or_exit(Exit::Usage)?;
    lint.write(args, out);
    match dir {
        _ if lint.fails(args.strict) => Ok(Exit::Usage),
        Some(dir) if lint.scenarios.is_empty() => {
            Err(Failure::because(Exit::Nothing, format!("there are no scenarios in `{dir}`")))
        }
        _ => Ok(Exit::Satisfied),
    }
}

fn explain(code: &str, out: &mut Output) -> anyhow::Result<()> {
    if code == "all" {
        for check in CHECKS {
            out.line(format_args!("{} {:<7} {}", check.code, name_of(check.severity), check.title));
        }
        return Ok(());
    }
    let Some(check) = check_of(code) else {
        match nearest(code, CHECKS.iter().map(|check| check.code)) {
            Some(near) => bail!("there is no check `{code}`; did you mean `{near}`?"),
            None => bail!("there is no check `{code}`; `--explain all` lists them"),
        }
    };
    out.line(format_args!("{} ({}): {}\n", check.code, name_of(check.severity), check.title));
    out.line(check.explanation);
    Ok(())
}

fn name_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// What is checked, and what was found.
struct Lint {
    root: PathBuf,
    scenarios: Vec<Entry>,
    findings: Vec<Diagnostic>,
    /// What the files hold that findings point into, by the path that people see.
    texts: BTreeMap<String, String>,
    /// The fixtures that scenarios may need; none where that is not known.
    fixtures: Option<Vec<config::FixtureSettings>>,
}

impl Lint {
    fn new(root: PathBuf) -> Self {
        // Files that are named may be another product's than the directory's.
        let is_product = root.join(config::FILE).exists();
        let config = config::load(&root).ok().filter(|_| is_product);
        let fixtures = config.map(|config| config.fixtures);
        Self { root, scenarios: Vec::new(), findings: Vec::new(), texts: BTreeMap::new(), fixtures }
    }

    /// Checks `paths`, or, when there are none, the settings and the scenarios' directory that
    /// they name, which is then returned.
    fn everything(&mut self, paths: &[PathBuf]) -> anyhow::Result<Option<String>> {
        let mut own = None;
        if paths.is_empty() {
            let meta = self.root.metadata();
            if !meta.with_context(|| format!("can't read `{}`", self.root.display()))?.is_dir() {
                bail!("`{}` is not a directory", self.root.display());
            }
            let settings = self.settings(&self.root.clone(), Path::new(""))?;
            self.fixtures = settings.as_ref().map(|settings| settings.fixtures.clone());
            let dir = settings.unwrap_or_default().scenarios.dir;
            // Not there is as good as empty: nothing to judge, whoever asks.
            if self.root.join(&dir).symlink_metadata().is_ok() {
                self.directory(&dir)?;
            }
            own = Some(dir);
        }
        for path in paths {
            let full = self.root.join(path);
            let meta =
                full.metadata().with_context(|| format!("can't read `{}`", path.display()))?;
            if path.file_name().is_some_and(|name| name == config::FILE) {
                let above = full.parent().unwrap_or(&self.root).to_owned();
                self.settings(&above, path.parent().unwrap_or(Path::new("")))?;
            } else if meta.is_dir() {
                let Some(dir) = path.to_str() else {
                    bail!("the directory `{}` has a name that is no text", path.display());
                };
                self.directory(dir)?;
            } else {
                self.file(path, &full, &meta)?;
            }
        }
        let order = |d: &Diagnostic| (d.file.clone(), d.line, d.column, d.code.clone());
        self.findings.sort_by_key(order);
        Ok(own)
    }

    /// Checks the settings in `root`, which people call `named`; returns them when they can be used.
    fn settings(&mut self, root: &Path, named: &Path) -> anyhow::Result<Option<config::Config>> {
        match config::load(root) {
            Ok(config) => {
                self.gates(&config, root, named);
                Ok(Some(config))
            }
            Err(error) if error.findings().is_empty() => Err(error.into()),
            Err(error) => {
                let file = named.join(config::FILE).display().to_string();
                self.findings.extend(
                    error.findings().iter().map(|d| Diagnostic { file: file.clone(), ..d.clone() }),
                );
                if let Some(text) = error.text() {
                    self.texts.insert(file, text.to_owned());
                }
                Ok(None)
            }
        }
    }

    /// Warns of gates of which nobody knows what defines them.
    fn gates(&mut self, config: &config::Config, root: &Path, named: &Path) {
        let text = makefile::makefile_in(root).unwrap_or_default();
        let gates = makefile::gates_of(config, &text);
        let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
        for gate in &gates {
            let Some(message) = definition_of(gate, &read).told(&gate.name) else { continue };
            self.findings.push(Diagnostic {
                code: "C007".to_owned(),
                severity: Severity::Warning,
                message,
                file: named.join(config::FILE).display().to_string(),
                span: None,
                line: 1,
                column: 1,
                help: "name the files that it reads its orders from under its `definition`"
                    .to_owned(),
            });
        }
    }

    fn directory(&mut self, dir: &str) -> anyhow::Result<()> {
        let set = discover(&self.root, dir)?;
        self.set(set);
        Ok(())
    }

    fn file(&mut self, path: &Path, full: &Path, meta: &std::fs::Metadata) -> anyhow::Result<()> {
        let shown = path.display();
        if !meta.is_file() {
            bail!("`{shown}` is no regular file");
        }
        if !path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("md")) {
            bail!("`{shown}` is no scenario; the names of scenarios end in .md");
        }
        let dir = path.parent().map(|dir| dir.display().to_string()).unwrap_or_default();
        let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        let mut bytes = Vec::new();
        std::fs::File::open(full)
            .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
            .with_context(|| format!("can't read `{shown}`"))?;
        self.set(from_files(&dir, vec![(name, bytes)]));
        Ok(())
    }

    fn set(&mut self, mut set: ScenarioSet) {
        if let Some(fixtures) = &self.fixtures {
            check_needs(&mut set, &self.root, fixtures);
        }
        let errors = set.entries.iter().filter_map(|entry| entry.scenario.as_ref().err()).flatten();
        let found: Vec<Diagnostic> = set.diagnostics.iter().chain(errors).cloned().collect();
        for finding in &found {
            // The file has been read a moment ago; where it can't be now the place is named alone.
            if finding.span.is_some()
                && !self.texts.contains_key(&finding.file)
                && let Some(text) = text_of(&self.root.join(&finding.file))
            {
                self.texts.insert(finding.file.clone(), text);
            }
        }
        self.findings.extend(found);
        self.scenarios.extend(set.entries);
    }

    fn write(&self, args: &Args, out: &mut Output) {
        match args.format {
            Format::Json => out.line(diagnostics::json(&self.findings, &self.scenarios)),
            Format::Github => {
                let root = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
                let at = config::subtree_of(&root);
                for finding in &self.findings {
                    out.line(diagnostics::github(&diagnostics::from_root(finding, &at)));
                }
            }
            Format::Human => {
                for finding in &self.findings {
                    let text = self.texts.get(&finding.file).map(String::as_str);
                    out.line(diagnostics::show_diagnostic(finding, text, out.is_styled()));
                    out.line("");
                }
                if args.criteria {
                    diagnostics::criteria(&self.scenarios).iter().for_each(|line| out.line(line));
                    out.line("");
                }
                let scenarios = plural(self.scenarios.len(), "scenario");
                let (errors, warnings) =
                    (self.count(Severity::Error), self.count(Severity::Warning));
                out.line(match (errors, warnings) {
                    (0, 0) => format!("{scenarios}, nothing found"),
                    _ => format!(
                        "{scenarios}, {}, {}; `factory lint --explain CODE` says more",
                        plural(errors, "error"),
                        plural(warnings, "warning")
                    ),
                });
                if let Some(sum) =
                    diagnostics::criteria_sum(&self.scenarios).filter(|_| !args.criteria)
                {
                    out.line(format_args!("{sum}; `factory lint --criteria` shows which"));
                }
            }
        }
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    fn fails(&self, strict: bool) -> bool {
        self.count(Severity::Error) > 0 || (strict && !self.findings.is_empty())
    }
}

/// Returns what a file holds, decoded leniently, for showing a line of it; none where it can't be
/// read, or is larger than a scenario may be.
pub(super) fn text_of(path: &Path) -> Option<String> {
    let meta = path.metadata().ok()?;
    if !meta.is_file() || meta.len() > MAX_BYTES as u64 {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "# Scenario: a\n## Category\nx\n## Expectation\nx\n## Evaluation\n```\n./todo\n```\n";

    /// A product of some files, and what linting `paths` in it comes to.
    fn check(files: &[(&str, &str)], paths: &[&str], strict: bool) -> (Exit, Vec<String>) {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let env = Environment::from_parts(config::Variables::new(), root.path().to_owned());
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        let mut lint = Lint::new(root.path().to_owned());
        let _ = lint.everything(&paths);
        let found = lint.findings.iter().map(|d| format!("{} {}:{}", d.code, d.file, d.line));
        let found = found.collect();
        let args = Args {
            paths,
            explain: None,
            format: Format::Github,
            workdir: None,
            strict,
            criteria: false,
        };
        let mut out = Output::new(Box::new(std::io::sink()), false);
        (act(&args, &env, &mut out).unwrap_or_else(|error| Failure::exit_of(&error)), found)
    }

    #[test]
    fn a_product_without_findings_is_clean() {
        assert_eq!(check(&[("scenarios/a.md", GOOD)], &[], true), (Exit::Satisfied, vec![]));
    }

    #[test]
    fn an_error_anywhere_is_an_error() {
        let (exit, found) = check(
            &[
                ("dark-factory.yaml", "satisfaction: {threshold: 7}"),
                ("scenarios/a.md", GOOD),
                ("scenarios/b.md", "# b\n"),
            ],
            &[],
            false,
        );
        assert_eq!(exit, Exit::Usage);
        assert_eq!(
            found,
            [
                "C003 dark-factory.yaml:1",
                "S002 scenarios/b.md:1",
                "S014 scenarios/b.md:1",
                "S015 scenarios/b.md:1"
            ]
        );
    }

    #[test]
    fn warnings_fail_when_they_are_to() {
        let text = GOOD.replace("./todo", "test 1 || true");
        let files = [("scenarios/a.md", text.as_str())];
        let found = vec!["S030 scenarios/a.md:8".to_owned()];
        assert_eq!(check(&files, &[], false), (Exit::Satisfied, found.clone()));
        assert_eq!(check(&files, &[], true), (Exit::Usage, found));
    }

    #[test]
    fn nothing_to_judge_has_its_own_code() {
        assert_eq!(check(&[], &[], false).0, Exit::Nothing);
        assert_eq!(check(&[("scenarios/a.txt", "")], &[], false).0, Exit::Nothing);
        assert_eq!(
            check(&[("dark-factory.yaml", "")], &["dark-factory.yaml"], false).0,
            Exit::Satisfied
        );
    }

    #[test]
    fn the_directory_that_the_settings_name_is_checked() {
        let files = [("dark-factory.yaml", "scenarios: {dir: exams}"), ("exams/a.md", "x")];
        assert_eq!(check(&files, &[], false).1[0], "S001 exams/a.md:1");
    }

    #[test]
    fn paths_are_checked_alone_and_must_be_there() {
        let files = [("x/a.md", GOOD), ("x/b.md", "x"), ("x/c.txt", "x")];
        assert_eq!(check(&files, &["x/a.md"], true), (Exit::Satisfied, vec![]));
        assert_eq!(check(&files, &["x"], false).0, Exit::Usage);
        assert_eq!(check(&files, &["x/c.txt"], false).0, Exit::Usage);
        assert_eq!(check(&files, &["x/absent.md"], false).0, Exit::Usage);
    }

    /// What linting the product of one scenario, with a slip in its criteria, prints.
    fn said(args: &[&str]) -> String {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("scenarios")).unwrap();
        let text = format!(
            "{GOOD}## Pass Criteria\n- stdout contains \"x\"\n- stdout contain \"x\"\n- nice\n"
        );
        std::fs::write(root.path().join("scenarios/a,b.md"), text).unwrap();
        let env = Environment::from_parts(config::Variables::new(), root.path().to_owned());
        let args = <Of as clap::Parser>::parse_from([&["lint"], args].concat()).args;
        let shown = root.path().join("shown");
        let file = std::fs::File::create(&shown).unwrap();
        let mut out = Output::new(Box::new(file), false);
        let exit = act(&args, &env, &mut out).unwrap();
        out.finish().unwrap();
        assert_eq!(exit, Exit::Satisfied);
        std::fs::read_to_string(shown).unwrap()
    }

    #[derive(clap::Parser)]
    struct Of {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn findings_have_their_line_and_criteria_their_sum() {
        insta::assert_snapshot!(said(&[]));
    }

    #[test]
    fn criteria_are_listed_on_demand() {
        insta::assert_snapshot!(said(&["--criteria"]));
    }

    #[test]
    fn github_and_machines_get_the_same_findings() {
        insta::assert_snapshot!("for_github", said(&["--format", "github"]));
        insta::assert_snapshot!("for_machines", said(&["--format", "json"]));
    }

    #[test]
    fn settings_elsewhere_are_named_where_they_are() {
        let (_, found) = check(
            &[("sub/dark-factory.yaml", "satisfaction: {threshold: 7}")],
            &["sub/dark-factory.yaml"],
            false,
        );
        assert_eq!(found, ["C003 sub/dark-factory.yaml:1"]);
    }

    #[test]
    fn a_code_is_explained_and_a_slip_corrected() {
        let explained = |code: &str| {
            explain(code, &mut Output::new(Box::new(std::io::sink()), false))
                .map_err(|error| error.to_string())
        };
        assert_eq!(explained("s030"), Ok(()));
        assert_eq!(explained("all"), Ok(()));
        assert!(explained("S0300").unwrap_err().contains("did you mean `S030`?"));
        assert!(explained("help").unwrap_err().contains("--explain all"));
    }
}
