//! How a command ends: its exit code, and what it says of a failure.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{ConfigError, Environment};
use crate::engine::Halt;
use crate::process::{Signal, keep_private, kill_started};
use crate::report::Output;
use crate::report::diagnostics::{github, show_config_error};
use crate::report::github::{Level, annotation};
use crate::text::visible;

use super::selection::BadExpression;

/// What a command came to. The numbers are a contract, and the same for every binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: converged, or all scenarios are satisfied.
    Satisfied,
    /// 1: the product was judged, and is not satisfying.
    NotSatisfied,
    /// 2: the request makes no sense.
    Usage,
    /// 3: the factory or its surroundings failed.
    Broken,
    /// 4: there was nothing to judge.
    Nothing,
    /// 5: stopped, and can go on later.
    Resumable,
    /// 6: the isolation that is required can't be had.
    Isolation,
    /// 130 or 143: a signal interrupted it.
    Interrupted(Signal),
}

impl Exit {
    /// Returns the exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Satisfied => 0,
            Self::NotSatisfied => 1,
            Self::Usage => 2,
            Self::Broken => 3,
            Self::Nothing => 4,
            Self::Resumable => 5,
            Self::Isolation => 6,
            Self::Interrupted(signal) => signal.exit_code(),
        }
    }
}

/// An error that knows its exit code; one that does not ends with [`Exit::Broken`].
#[derive(Debug)]
pub struct Failure {
    /// What the command comes to.
    pub exit: Exit,
    /// What went wrong, with its causes.
    pub error: anyhow::Error,
    /// What is said below it, a line each, for people alone.
    pub below: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.chain().nth(1)
    }
}

impl Failure {
    /// Returns an error that says `message` and ends with `exit`.
    pub fn because(
        exit: Exit,
        message: impl fmt::Display + fmt::Debug + Send + Sync + 'static,
    ) -> anyhow::Error {
        Self::of(exit, anyhow::Error::msg(message)).into()
    }

    /// Returns a failure that ends with `exit` and says no more than `error` does.
    pub fn of(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), below: Vec::new() }
    }

    /// Returns what a command that fails with `error` comes to: what the outermost failure in its
    /// chain says.
    pub fn exit_of(error: &anyhow::Error) -> Exit {
        error
            .chain()
            .find_map(|cause| cause.downcast_ref::<Self>())
            .map_or(Exit::Broken, |failure| failure.exit)
    }
}

/// Gives the error of a result its exit code.
pub trait OrExit<T> {
    /// Returns the value, or an error that ends with `exit`.
    ///
    /// # Errors
    /// The result is one.
    fn or_exit(self, exit: Exit) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> anyhow::Result<T> {
        self.map_err(|error| Failure::of(exit, error).into())
    }
}

/// Runs a command from the process's arguments and environment; the whole of a binary.
pub fn main<A: Parser>(run: fn(&A, &Environment) -> anyhow::Result<Exit>) -> ExitCode {
    end_on_panic();
    // What is read from here on, the scenarios and a person's keys, is not for those that are judged.
    keep_private();
    let args = match A::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help goes to standard output, which somebody may have stopped reading.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            if Environment::read().is_ok_and(|env| env.is_github()) {
                let said = error.render().to_string();
                let said = said.strip_prefix("error: ").unwrap_or(&said);
                // What follows is how the command is called, which stands in the log.
                let said = said.split("\n\nUsage:").next().unwrap_or_default().trim();
                tell_job(&[annotation(Level::Error, CANNOT, said)]);
            }
            return ExitCode::from(Exit::Usage.code());
        }
    };
    let env = match Environment::read() {
        Ok(env) => env,
        Err(error) => {
            let error = anyhow::Error::new(error).context("the current directory can't be used");
            return ExitCode::from(end(Err(error), false).code());
        }
    };
    let result = run(&args, &env);
    if let (Err(error), true) = (&result, env.is_github()) {
        tell_job(&annotations(error));
    }
    ExitCode::from(end(result, env.no_color()).code())
}

/// What the annotation of an error is called on the page of a job.
const CANNOT: &str = "The factory can't do that";

/// Says something to the runner of a job. It reads both streams, and the other may be a report's.
fn tell_job(commands: &[String]) {
    let mut output = Output::stderr(true);
    commands.iter().for_each(|command| output.line(command));
    let _ = output.finish();
}

/// Returns an error as annotations for the page of a job, at the places where settings make no sense; none
/// where a run was begun, which has told it as its end.
fn annotations(error: &anyhow::Error) -> Vec<String> {
    let is_end = |failure: &Failure| failure.error.is::<Halt>();
    if error.downcast_ref::<Failure>().is_some_and(is_end) {
        return Vec::new();
    }
    if let Some(settings) = find_in_chain::<ConfigError>(error)
        && !settings.findings().is_empty()
    {
        return settings.findings().iter().map(github).collect();
    }
    let said = [&[explain(error, false)], below(error)].concat().join("\n");
    vec![annotation(Level::Error, CANNOT, said.strip_prefix("error: ").unwrap_or(&said))]
}

/// From now on a panic ends this process as the factory's own failure does, with code 3.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(crash));
}

/// Ends this process after a panic: says where, ends what it had started, and exits as the factory's
/// own failure does. Nothing is unwound, so that no half of a thing goes on.
fn crash(panic: &std::panic::PanicHookInfo<'_>) {
    let mut output = Output::stderr(true);
    output.line(format_args!(
        "error: the factory crashed, which is a bug: {panic}\n  \
         what was judged is kept; please report it with what you ran and RUST_BACKTRACE=1"
    ));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        output.line(trace);
    }
    let _ = output.finish();
    kill_started();
    #[expect(clippy::exit, clippy::disallowed_methods, reason = "a panic returns to nobody")]
    std::process::exit(i32::from(Exit::Broken.code()));
}

/// Says what went wrong, if anything did, and returns what the command came to.
pub fn end(result: anyhow::Result<Exit>, no_color: bool) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(error) => {
            let mut output = Output::stderr(no_color);
            let styled = output.is_styled();
            output.line(explain(&error, styled));
            below(&error).iter().for_each(|line| output.line(line));
            // There is nobody left to tell.
            let _ = output.finish();
            Failure::exit_of(&error)
        }
    }
}

/// Returns what is said below an error; empty where that is nothing.
fn below(error: &anyhow::Error) -> &[String] {
    error.downcast_ref::<Failure>().map_or(&[], |failure| &failure.below)
}

/// Returns an error as people read it: what, and below it each cause; of settings and expressions
/// that make no sense the places.
pub fn explain(error: &anyhow::Error, styled: bool) -> String {
    if let Some(settings) = find_in_chain::<ConfigError>(error)
        && !settings.findings().is_empty()
    {
        return show_config_error(settings, styled);
    }
    if let Some(expression) = find_in_chain::<BadExpression>(error) {
        return expression.show(styled);
    }
    let (red, reset) = if styled { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    let mut said = format!("{red}error{reset}: {}", visible(&error.to_string()));
    for cause in error.chain().skip(1) {
        said.push_str(&format!("\n  caused by: {}", visible(&cause.to_string())));
    }
    said
}

/// Finds an error of one kind in a chain, also below the failure that carries its exit code.
pub(super) fn find_in_chain<E: std::error::Error + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.chain().find_map(|cause| match cause.downcast_ref::<Failure>() {
        Some(failure) => find_in_chain(&failure.error),
        None => cause.downcast_ref::<E>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_codes_are_those_of_the_contract() {
        let all = [
            Exit::Satisfied,
            Exit::NotSatisfied,
            Exit::Usage,
            Exit::Broken,
            Exit::Nothing,
            Exit::Resumable,
            Exit::Isolation,
            Exit::Interrupted(Signal::Interrupt),
            Exit::Interrupted(Signal::Terminate),
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5, 6, 130, 143]);
    }

    #[test]
    fn an_error_keeps_its_code_and_its_causes_under_context() {
        let missing: Result<(), _> = Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        let error = missing
            .context("can't read `x`")
            .or_exit(Exit::Usage)
            .context("can't judge")
            .unwrap_err();
        assert_eq!(Failure::exit_of(&error), Exit::Usage);
        assert_eq!(
            explain(&error, false),
            "error: can't judge\n  caused by: can't read `x`\n  caused by: entity not found"
        );
    }

    #[test]
    fn an_error_without_a_code_is_the_factorys() {
        let error = anyhow::anyhow!("odd");
        assert_eq!(Failure::exit_of(&error), Exit::Broken);
        assert_eq!(Failure::exit_of(&Failure::because(Exit::Nothing, "none")), Exit::Nothing);
    }

    #[test]
    fn an_error_before_a_run_is_an_annotation_and_the_end_of_one_is_not_told_twice() {
        let said = annotations(&Failure::because(Exit::Broken, "`codex` is not installed\nget it"));
        let title = "::error title=The factory can't do that::";
        assert_eq!(said, [format!("{title}`codex` is not installed%0Aget it")]);
        let halt = Halt::Failed(crate::engine::Failure::plain("disk", "the disk is full"));
        let end: Result<(), _> = Err(halt);
        assert_eq!(annotations(&end.or_exit(Exit::Broken).unwrap_err()), [""; 0]);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("dark-factory.yaml"), "satisfactoin: {}\n").unwrap();
        let settings = crate::config::load(dir.path()).or_exit(Exit::Usage).unwrap_err();
        let said = annotations(&settings);
        assert!(said[0].starts_with("::error file=dark-factory.yaml,line=1"), "{said:?}");
    }

    #[test]
    fn settings_that_make_no_sense_are_shown_with_their_place() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("dark-factory.yaml"), "satisfactoin: {}\n").unwrap();
        let error = crate::config::load(dir.path()).or_exit(Exit::Usage).unwrap_err();
        let said = explain(&error, false);
        assert!(said.contains("1 | satisfactoin: {}\n  | ^"), "{said}");
    }
}
