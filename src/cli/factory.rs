//! `factory`: the front door to everything else.

use clap::{Parser, Subcommand};

use super::exit::Exit;
use super::{
    apply, compile_feedback, completions, discard, doctor, gc, graph, iterate, lint, login,
    publish, run_scenarios, runs, show, shuffle_scenarios, status, usage, verify,
};
use crate::config::Environment;

const ABOUT: &str = "\
A convergence loop you can trust: specs in, judged software out, and the agent never sees the exam.";

/// The subcommands in groups; a test holds them against those that there are.
const GROUPS: &str = "\
First steps:
  factory doctor            is there all that a run needs?
  factory lint              are the scenarios and dark-factory.yaml as they should be?
  factory run-scenarios     what does the product do today?
  factory iterate           let the agent work on it until it converges
  factory apply             take what it made

Judge:
  lint               check scenarios and settings without running anything
  run-scenarios      judge the working tree by its scenarios
  compile-feedback   tell an agent what the last judgement found
  shuffle-scenarios  hide the scenarios while an agent works in the checkout

Loop:
  iterate            judge, tell the agent, take what it delivers, and again
  status             where the newest run stands, and what comes next
  show               what happened in a run, turn by turn
  verify             is a run's record what was written at the time?
  apply              bring a run's best candidate to your branch
  discard            remove a run, its branch and its state
  publish            push what a run offers and open the pull request, in a job of its own

House:
  doctor             would a run begin here, and what is to be put right first?
  login              a login of an agent's own, kept by the factory
  runs               the runs of this product
  usage              what the agent used, by run, day, model or turn
  gc                 remove what ended runs left outside the repository
  graph              the graphs that a run can walk
  completions        what a shell needs to complete the command line

`factory help SUBCOMMAND` tells more, with examples.

Exit codes: those of the subcommand. 0 satisfied or done, 1 judged and not satisfied, 2 the request
makes no sense, 3 the factory failed, 4 nothing to judge, 5 stopped and resumable, 6 the required
isolation can't be had, 130 and 143 interrupted.";

const TEMPLATE: &str = "\
{about-with-newline}
{usage-heading} {usage}{after-help}

Options:
{options}";

/// A convergence loop you can trust.
#[derive(Debug, Parser)]
#[command(
    name = "factory",
    version,
    about = ABOUT,
    after_help = GROUPS,
    help_template = TEMPLATE,
    arg_required_else_help = true,
    subcommand_required = true
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Lint(lint::Args),
    RunScenarios(Box<run_scenarios::Args>),
    CompileFeedback(compile_feedback::Args),
    ShuffleScenarios(shuffle_scenarios::Args),
    Iterate(Box<iterate::Args>),
    Status(status::Args),
    Show(show::Args),
    Verify(verify::Args),
    Apply(apply::Args),
    Discard(discard::Args),
    Publish(publish::Args),
    Runs(runs::Args),
    Usage(usage::Args),
    Doctor(doctor::Args),
    Login(login::Args),
    Gc(gc::Args),
    Graph(graph::Args),
    Completions(completions::Args),
}

/// Runs the command.
///
/// # Errors
/// The subcommand's.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Lint(args) => lint::run(args, env),
        Command::RunScenarios(args) => run_scenarios::run(args, env),
        Command::CompileFeedback(args) => compile_feedback::run(args, env),
        Command::ShuffleScenarios(args) => shuffle_scenarios::run(args, env),
        Command::Iterate(args) => iterate::run(args, env),
        Command::Status(args) => status::run(args, env),
        Command::Show(args) => show::run(args, env),
        Command::Verify(args) => verify::run(args, env),
        Command::Apply(args) => apply::run(args, env),
        Command::Discard(args) => discard::run(args, env),
        Command::Publish(args) => publish::run(args, env),
        Command::Runs(args) => runs::run(args, env),
        Command::Usage(args) => usage::run(args, env),
        Command::Doctor(args) => doctor::run(args, env),
        Command::Login(args) => login::run(args, env),
        Command::Gc(args) => gc::run(args, env),
        Command::Graph(args) => graph::run(args, env),
        Command::Completions(args) => completions::run(args, env),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_subcommand_stands_in_one_group() {
        let there: BTreeSet<String> =
            Args::command().get_subcommands().map(|one| one.get_name().to_owned()).collect();
        let groups = GROUPS.split_once("Judge:").unwrap().1;
        let named: Vec<String> = groups
            .lines()
            .filter(|line| line.starts_with("  "))
            .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
            .collect();
        assert_eq!(named.iter().cloned().collect::<BTreeSet<_>>(), there);
        assert_eq!(named.len(), there.len(), "one of them stands in two groups");
    }

    #[test]
    fn a_wrong_subcommand_suggests_the_nearest() {
        let error = Args::try_parse_from(["factory", "stauts"]).unwrap_err();
        assert!(error.to_string().contains("'status'"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn help_is_a_subcommand_as_elsewhere_and_no_failure() {
        let help = |args: &[&str]| {
            let error = Args::try_parse_from([&["factory"], args].concat()).unwrap_err();
            assert!(!error.use_stderr() && error.exit_code() == 0, "{args:?}: {error}");
            error.to_string()
        };
        assert_eq!(help(&["help"]), help(&["--help"]));
        assert_eq!(help(&["help", "lint"]), help(&["lint", "--help"]));
        for one in Args::command().get_subcommands() {
            assert!(help(&["help", one.get_name()]).contains("Usage: factory"), "{one}");
        }
    }

    #[test]
    fn help_knows_no_more_than_there_is() {
        for name in ["supervise-agent", "replay-turn", "itterate"] {
            let error = Args::try_parse_from(["factory", "help", name]).unwrap_err();
            assert_eq!((error.use_stderr(), error.exit_code()), (true, 2), "{name}");
        }
    }

    #[test]
    fn nothing_at_all_shows_the_first_steps() {
        let error = Args::try_parse_from(["factory"]).unwrap_err();
        assert!(error.to_string().contains("First steps:"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn the_help_fits_a_screen() {
        let help = Args::command().render_help().to_string();
        assert!(help.lines().count() <= 48, "{} lines", help.lines().count());
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}
