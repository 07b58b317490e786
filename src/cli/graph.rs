//! `factory graph`: the graphs that a run can walk.

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use super::exit::{Exit, Failure};
use crate::config::Environment;
use crate::engine::handlers;
use crate::pipeline::{BUILTIN, builtin, to_dot, to_mermaid, to_text, validate};
use crate::report::Output;
use crate::text::nearest;

const EXAMPLES: &str = "\
Examples:
  factory graph                              the convergence loop
  factory graph local                        the judgement of a working tree
  factory graph --format dot | dot -Tsvg     as a picture

Exit codes: 0 shown, 2 there is no such graph.";

/// Show a graph that a run can walk.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "graph", after_help = EXAMPLES)]
pub struct Args {
    /// The graph
    #[arg(value_name = "NAME", default_value = "converge")]
    pub name: String,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid, as markdown pages show it.
    Mermaid,
}

/// Runs the command.
///
/// # Errors
/// There is no such graph, or it can't be walked.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let shown = shown(args)?;
    let mut output = Output::stdout(env.no_color());
    output.line(shown.trim_end());
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn shown(args: &Args) -> anyhow::Result<String> {
    let Some(graph) = builtin(&args.name) else {
        let known = BUILTIN.map(|(name, _)| name);
        let hint = match nearest(&args.name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        let message = format!("there is no graph `{}`; {hint}", args.name);
        return Err(Failure::because(Exit::Usage, message));
    };
    let findings = validate(&graph, &handlers::kinds());
    if let Some(first) = findings.first() {
        let message = format!("the graph `{}` breaks {}: {}", args.name, first.rule, first.message);
        return Err(Failure::because(Exit::Broken, message));
    }
    Ok(match args.format {
        Format::Text => to_text(&graph),
        Format::Dot => to_dot(&graph),
        Format::Mermaid => to_mermaid(&graph),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(args: &[&str]) -> anyhow::Result<String> {
        shown(&Args::parse_from(["graph"].iter().chain(args)))
    }

    #[test]
    fn every_form_begins_as_its_readers_expect() {
        assert!(ask(&[]).unwrap().starts_with("converge: "));
        assert!(ask(&["local", "--format", "dot"]).unwrap().starts_with("digraph "));
        assert!(ask(&["--format", "mermaid"]).unwrap().starts_with("flowchart "));
    }

    #[test]
    fn a_graph_that_is_not_there_names_those_that_are() {
        let error = ask(&["konverge"]).unwrap_err();
        assert_eq!(Failure::exit_of(&error), Exit::Usage);
        assert_eq!(error.to_string(), "there is no graph `konverge`; did you mean `converge`?");
        assert!(ask(&["x"]).unwrap_err().to_string().contains("there are converge, local"));
    }
}
