//! `factory verify`: whether a run's record is what was written at the time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

use super::exit::Exit;
use super::here::{Here, failure};
use crate::config::Environment;
use crate::git::{Oid, Repo};
use crate::id::RunId;
use crate::journal::{Commit, Record};
use crate::report::Output;
use crate::report::verification::Verification;

const EXAMPLES: &str = "\
Examples:
  factory verify             the newest run: its events, its blobs, its commits
  factory verify 0915        the run whose id holds 0915
  factory verify --json      the same for machines

Every event holds the digest of the one before, every blob is named by its own, and each commit
of the run holds the digest of the last event before it: a record that was rewritten after the
commit was made is found out, as long as a branch keeps the commit. Nothing outside the journal
holds the events after the last commit, and who rewrites the run's branch too is not found out.

Exit codes: 0 it holds, 1 it does not, 2 there is no such run, 3 it can't be read.";

/// Check that a run's record is what was written at the time.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "verify", after_help = EXAMPLES)]
pub struct Args {
    /// The run, by its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// There is no such run, or its journal, its blobs or the repository can't be read.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let found = verify(args, env)?;
    let mut output = Output::stdout(env.no_color());
    if args.json {
        output.line(serde_json::to_string_pretty(&found)?);
    } else {
        for line in found.lines() {
            output.line(line);
        }
    }
    output.finish().context("can't write to standard output")?;
    Ok(if found.holds { Exit::Satisfied } else { Exit::NotSatisfied })
}

fn verify(args: &Args, env: &Environment) -> anyhow::Result<Verification> {
    let here = Here::find(args.workdir.as_deref(), env)?;
    let id = here.id(args.run.as_deref())?;
    let dir = here.runs.run(&id);
    let repo = match Repo::discover(&here.root, env.for_tools()) {
        Ok(repo) => Some(repo),
        Err(error) if error.is_request() => None,
        Err(error) => return Err(error.into()),
    };
    // Before the journal: a run that goes on writes an event first and then moves its branch.
    let marked = match &repo {
        Some(repo) => repo.commits_saying(&Record::mark(&id))?,
        None => Vec::new(),
    };
    let record = Record::read(&dir, &id).map_err(failure)?;
    let commits = match &repo {
        Some(repo) => commits(repo, &record, &marked)?,
        None => BTreeMap::new(),
    };
    let marked: Vec<String> = marked.iter().map(|oid| oid.as_str().to_owned()).collect();
    let check = record.check(&commits, &marked);
    Ok(Verification::of(&id, &shown(&here, &id), &check))
}

/// Returns the run's directory as people see it.
fn shown(here: &Here<'_>, id: &RunId) -> String {
    let dir = here.runs.run(id);
    dir.strip_prefix(&here.root).unwrap_or(&dir).display().to_string()
}

/// Returns what the repository has of the commits that the journal names and of those `marked`.
fn commits(
    repo: &Repo,
    record: &Record,
    marked: &[Oid],
) -> anyhow::Result<BTreeMap<String, Commit>> {
    // What is no id is in no repository.
    let named = record.commits().filter_map(|commit| Oid::parse(commit).ok());
    let mut asked: Vec<Oid> = named.chain(marked.iter().cloned()).collect();
    asked.sort();
    asked.dedup();
    let stored = repo.stored_commits(&asked)?;
    let commits = asked.iter().zip(stored).map(|(oid, stored)| {
        let commit = match stored {
            None => Commit::Missing,
            Some(stored) if !stored.is_whole => Commit::Damaged,
            Some(stored) => Commit::Whole { message: stored.message },
        };
        (oid.as_str().to_owned(), commit)
    });
    Ok(commits.collect())
}
