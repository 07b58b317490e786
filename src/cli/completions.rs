//! `factory completions`: what a shell needs to complete the command line.

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser};
use clap_complete::Shell;

use super::exit::Exit;
use crate::config::Environment;
use crate::report::Output;

const EXAMPLES: &str = "\
Examples:
  factory completions bash > ~/.local/share/bash-completion/completions/factory
  factory completions zsh > ~/.zfunc/_factory
  factory completions fish > ~/.config/fish/completions/factory.fish

Exit codes: 0 written, 2 there is no such shell.";

/// Write the completions of a shell to standard output.
#[derive(Debug, Clone, Parser)]
#[command(name = "completions", after_help = EXAMPLES)]
pub struct Args {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// Standard output can't be written.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let mut output = Output::stdout(env.no_color());
    write(args.shell, &mut output);
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn write(shell: Shell, output: &mut dyn std::io::Write) {
    clap_complete::generate(shell, &mut super::factory::Args::command(), "factory", output);
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_learns_the_subcommands_and_no_hidden_one() {
        for shell in Shell::value_variants() {
            let mut written = Vec::new();
            write(*shell, &mut written);
            let written = String::from_utf8(written).unwrap();
            assert!(written.contains("run-scenarios"), "{shell}");
            assert!(!written.contains("supervise-agent"), "{shell}");
        }
    }
}
