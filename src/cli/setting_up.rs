//! `--prepare`: the product's own set-up commands, run in the working tree, where something is judged in place.

use std::io;
use std::path::Path;

use crate::config::{
    Config, Environment, GateSettings, PrepareSettings, python_in_place, redaction_of,
};
use crate::judge::{Place, run_gates, said};
use crate::process::Cancel;
use crate::report::Output;
use crate::report::github::harmless;
use crate::verdict::GateStatus;

use super::exit::{Exit, Failure, OrExit as _};

/// How many lines of a command that failed are shown.
const LINES: usize = 40;

/// Runs those set-up commands of the product at `root` of whose outputs none is there, and says so on standard
/// error. What a person has made already is left alone.
///
/// # Errors
/// One fails, is interrupted, or has made only some of its outputs before.
pub(super) fn run(
    root: &Path,
    config: &Config,
    env: &Environment,
    cancel: &Cancel,
) -> anyhow::Result<()> {
    let is_there = |output: &String| root.join(output).symlink_metadata().is_ok();
    let place =
        Place::open(root, env.for_product(&config.env, python_in_place(env, root), None, None));
    let place = place.redacting(redaction_of(env, &config.env));
    let mut output = Output::stderr(env.no_color());
    for step in &config.prepare {
        let there: Vec<&String> = step.outputs.iter().filter(|output| is_there(output)).collect();
        match there.first() {
            Some(_) if there.len() == step.outputs.len() => {
                output.line(format_args!("prepare {}: its outputs are there", step.name));
                continue;
            }
            Some(first) => {
                let message = format!(
                    "the set-up command `{}` makes {}, of which `{first}` is there and others are not; run it yourself, or remove what is there",
                    step.name,
                    step.outputs.join(", ")
                );
                return Err(Failure::because(Exit::Broken, message));
            }
            None => {}
        }
        output.line(format_args!("prepare {}: {}", step.name, step.run));
        let gate = [as_gate(step)];
        let done = run_gates(&gate, None, &place, &mut io::sink(), cancel, &mut |_| {});
        let done = done.or_exit(Exit::Broken)?;
        if let Some(signal) = cancel.tripped() {
            return Err(Failure::because(Exit::Interrupted(signal), "interrupted"));
        }
        if let Some(failed) = done.iter().find(|one| one.status != GateStatus::Passed) {
            let message = format!("the set-up command `{}` {}", step.name, said(failed));
            let lines: Vec<&str> = failed.output.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES)..];
            let below = last.iter().map(|line| format!("  {}", harmless(line))).collect();
            return Err(
                Failure { below, ..Failure::of(Exit::Broken, anyhow::anyhow!(message)) }.into()
            );
        }
    }
    Ok(())
}

fn as_gate(step: &PrepareSettings) -> GateSettings {
    GateSettings {
        name: step.name.clone(),
        run: step.run.clone(),
        definition: Vec::new(),
        network: true,
        timeout: step.timeout,
    }
}
