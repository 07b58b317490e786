//! `fake-model`: a provider of models that answers agents from a script.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

use super::exit::{Exit, OrExit as _};
use crate::clock::SystemClock;
use crate::config::Environment;
use crate::model_server::{Options, Prices, Script, Server};
use crate::report::Output;

const EXAMPLES: &str = "\
Examples:
  fake-model --script turns.yaml --ledger ledger.jsonl --price input=1,output=2
  ANTHROPIC_BASE_URL=http://127.0.0.1:PORT claude -p ...

Exit codes: 2 the script makes no sense, 3 the port can't be had; it serves until it is killed.";

/// Answer coding agents from a script, instead of a model.
///
/// Speaks the protocols of codex (Responses), claude (Messages), gemini, and opencode and most others (Chat
/// Completions). The first line printed is the address.
#[derive(Debug, Clone, Parser)]
#[command(name = "fake-model", version, after_help = EXAMPLES)]
pub struct Args {
    /// What it answers, see docs/model-server.md
    #[arg(long, value_name = "FILE")]
    script: PathBuf,
    /// The port of 127.0.0.1; 0 is one that is free
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Write the address there, once it listens
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Write what was billed there, a JSON line a request
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Dollars for a million tokens, as input=1,output=2[,cached=0.1][,cache_write=1.25]
    #[arg(long, value_name = "PRICES")]
    price: Option<Prices>,
}

/// Runs the command; returns only where nothing can be served.
///
/// # Errors
/// The script makes no sense, the port can't be had, a file can't be written.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let server = begin(args, Output::stdout(env.no_color()))?;
    server.serve().context("can't serve any more")?;
    Ok(Exit::Broken)
}

/// Listens, and says where.
fn begin(args: &Args, mut output: Output) -> anyhow::Result<Server> {
    let script = Script::load(&args.script).or_exit(Exit::Usage)?;
    let options =
        Options { script, port: args.port, ledger: args.ledger.clone(), prices: args.price };
    let server = Server::bind(options, Box::new(SystemClock)).context("can't serve")?;
    let address = format!("http://{}", server.address()?);
    output.line(&address);
    output.finish().context("can't write to standard output")?;
    if let Some(path) = &args.ready_file {
        // Beside it first: whoever waits for the file finds the address in it.
        let beside = path.with_extension("new");
        std::fs::write(&beside, address + "\n")
            .and_then(|()| std::fs::rename(&beside, path))
            .with_context(|| format!("can't write `{}`", path.display()))?;
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::exit::Failure;
    use super::*;

    fn try_begin(dir: &Path, script: &str) -> anyhow::Result<Server> {
        fs::write(dir.join("s.yaml"), script).unwrap();
        let at = |name: &str| dir.join(name).display().to_string();
        let args = ["fake-model", "--script", &at("s.yaml"), "--ready-file", &at("ready")];
        let output = Output::new(Box::new(fs::File::create(dir.join("out")).unwrap()), false);
        begin(&Args::parse_from(args), output)
    }

    #[test]
    fn the_address_is_the_first_line_and_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let server = try_begin(dir.path(), "turns: []\n").unwrap();
        let address = format!("http://{}\n", server.address().unwrap());
        for name in ["out", "ready"] {
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), address, "{name}");
        }
    }

    #[test]
    fn a_script_that_makes_no_sense_is_the_callers() {
        let dir = tempfile::tempdir().unwrap();
        let error = try_begin(dir.path(), "turns: [{replies: [{sya: a}]}]\n").unwrap_err();
        assert_eq!(Failure::exit_of(&error), Exit::Usage);
        assert!(error.to_string().contains("s.yaml:1:21: unknown key `sya`"), "{error}");
        assert!(!dir.path().join("ready").exists());
    }
}
