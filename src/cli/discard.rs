//! `factory discard`: removes a run, its branch and everything that it left; the commits can be
//! brought back for as long as git keeps them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;

use super::exit::{Exit, Failure};
use super::here::Here;
use crate::agent::settle_logins;
use crate::config::Environment;
use crate::engine::RepoState;
use crate::event::Summary;
use crate::git::{Oid, Repo};
use crate::id::RunId;
use crate::journal::{StoreError, read_summary};
use crate::report::{Output, better_than_base, branch_of};
use crate::wall::remove_tree;

const EXAMPLES: &str = "\
Examples:
  factory discard 20261120-091500-00ff
  factory discard 0915 --yes      even though its best candidate is on no branch of yours

Exit codes: 0 removed, 2 there is no such run or it needs `--yes`, 3 the run is active, its branch
is checked out, or something could not be removed.";

/// Remove a run, its branch and its state.
#[derive(Debug, Clone, Parser)]
#[command(name = "discard", after_help = EXAMPLES)]
pub struct Args {
    /// The run, by its id or a part of it
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Remove it though its best candidate was not applied
    #[arg(long, short)]
    pub yes: bool,
    /// The root of the product [default: from here up the first with dark-factory.yaml, else the repository's top]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// There is no such run, it may not be removed, or something of it can't be.
pub fn run(args: &Args, env: &Environment) -> anyhow::Result<Exit> {
    let lines = discard(args, env)?;
    let mut output = Output::stdout(env.no_color());
    for line in lines {
        output.line(line);
    }
    output.finish().context("can't write to standard output")?;
    Ok(Exit::Satisfied)
}

fn discard(args: &Args, env: &Environment) -> anyhow::Result<Vec<String>> {
    let here = Here::find(args.workdir.as_deref(), env)?;
    let id = here.id(Some(&args.run))?;
    let (state, repo) = here.state()?;
    // Held to the end, so that nobody goes on with what is being removed.
    let lock = state.lock(&id).context("the lock of the repository can't be had")?;
    let _lock = match lock {
        Ok(lock) => lock,
        Err(held) => return Err(Failure::because(Exit::Broken, held)),
    };
    let dir = here.runs.run(&id);
    let branch = format!("refs/heads/factory/{id}");
    let tip = match &repo {
        Some(repo) => repo.resolve(&branch)?,
        None => None,
    };
    if !args.yes
        && let Some(why) = reason_to_keep(&dir, repo.as_ref(), tip.as_ref())?
    {
        let message = format!("{why}; `factory discard {id} --yes` removes the run all the same");
        return Err(Failure::because(Exit::Usage, message));
    }
    // A killed turn may have renewed its login in the home that goes now.
    settle_logins(env)?;
    remove(&here, &state, repo.as_ref(), &id, tip.as_ref())
}

/// Returns why the run should be kept; none where nothing is lost with it.
fn reason_to_keep(
    dir: &Path,
    repo: Option<&Repo>,
    tip: Option<&Oid>,
) -> anyhow::Result<Option<String>> {
    let summary = match read_summary(dir, true) {
        Ok((summary, _)) => summary,
        // Nothing had happened yet.
        Err(StoreError::NotBegun { .. }) => return Ok(None),
        Err(error) if tip.is_some() => {
            return Ok(Some(format!("what is on the run's branch is not known ({error})")));
        }
        Err(_) => return Ok(None),
    };
    let (Some((iteration, best)), Some(repo)) = (better_than_base(&summary), repo) else {
        return Ok(None);
    };
    let best = &best.commit;
    Ok((!is_contained(repo, &summary, best)?).then(|| {
        let branch = branch_of(&summary).unwrap_or("your branch");
        let short = best.get(..10).unwrap_or(best);
        format!(
            "the best candidate, of iteration {iteration} ({short}), is not in {branch}; \
             `factory apply {}` brings it there",
            summary.run
        )
    }))
}

/// Returns whether the person's branch, or what is checked out, has the commit.
fn is_contained(repo: &Repo, summary: &Summary, commit: &str) -> anyhow::Result<bool> {
    let Some(commit) = repo.resolve(commit)? else {
        // It is gone already.
        return Ok(true);
    };
    let branch = branch_of(summary).map(|branch| format!("refs/heads/{branch}"));
    for place in [branch.as_deref(), Some("HEAD")].into_iter().flatten() {
        if let Some(place) = repo.resolve(place)?
            && repo.is_ancestor(&commit, &place)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn remove(
    here: &Here<'_>,
    state: &RepoState,
    repo: Option<&Repo>,
    id: &RunId,
    tip: Option<&Oid>,
) -> anyhow::Result<Vec<String>> {
    let mut lines = vec![format!("removed run {id}")];
    if let (Some(repo), Some(tip)) = (repo, tip) {
        let branch = format!("refs/heads/factory/{id}");
        if let Some(place) = checked_out(repo, &branch) {
            let message = format!(
                "the branch factory/{id} is checked out in {}; switch to another there",
                place.display()
            );
            return Err(Failure::because(Exit::Broken, message));
        }
        repo.delete_ref(&branch, tip)?;
        lines.push(format!("its branch was at {tip}; `git branch factory/{id} {tip}` brings that back while git keeps it"));
    }
    // The journal last: until it is gone, the run is listed, and can be discarded again.
    for dir in [state.run(id).dir, here.runs.run(id)] {
        remove_tree(&dir).with_context(|| format!("can't remove `{}`", dir.display()))?;
    }
    Ok(lines)
}

/// Returns the place where a branch is checked out; none where it is nowhere.
fn checked_out(repo: &Repo, branch: &str) -> Option<PathBuf> {
    let is_head = |git_dir: &Path| {
        fs::read_to_string(git_dir.join("HEAD"))
            .is_ok_and(|text| text.trim_end().strip_prefix("ref: ") == Some(branch))
    };
    if is_head(repo.git_dir()) {
        return Some(repo.root().to_owned());
    }
    if is_head(repo.common_dir()) {
        return Some(repo.common_dir().to_owned());
    }
    let linked = fs::read_dir(repo.common_dir().join("worktrees")).ok()?;
    linked.filter_map(Result::ok).map(|entry| entry.path()).find(|dir| is_head(dir)).map(|dir| {
        // The file names the worktree's `.git`.
        fs::read_to_string(dir.join("gitdir"))
            .ok()
            .and_then(|text| Some(Path::new(text.trim_end()).parent()?.to_owned()))
            .unwrap_or(dir)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convergence::Decision;
    use crate::git::ObjectFormat;
    use crate::git::testing::{Fixture, fixture, git};
    use crate::report::testing::TestRun;

    const RUN: &str = "20261120-091500-0001";

    struct Bench {
        fixture: Fixture,
        target: Oid,
        state: RepoState,
    }

    impl Bench {
        /// A run with a better candidate on its branch, and trees of its own.
        fn new() -> Self {
            let fixture = fixture(ObjectFormat::Sha1);
            let base = fixture.head();
            let target = fixture.commit(&fixture.tree(&[("a", "1\n")]), &[&base]);
            let branch = format!("refs/heads/factory/{RUN}");
            fixture.repo.update_ref(&branch, &target, None, "test").unwrap();
            let mut run = TestRun::begin_at(fixture.repo.root(), RUN, |started| {
                started.base = base.to_string();
            });
            run.judged(base.as_str(), &[("s", "unsatisfied")]).turn("done");
            run.accepted(target.as_str(), &["a"], &[]);
            run.judged(target.as_str(), &[("s", "satisfied")]);
            run.finished(Decision::Converged { score: 1.0, threshold: 0.8, gates: Some(1) });
            let bench = Self {
                state: RepoState::of(
                    &fixture.dir.path().join("state/dark-factory"),
                    fixture.repo.root(),
                    fixture.repo.common_dir(),
                    &crate::text::Subtree::default(),
                ),
                fixture,
                target,
            };
            let tree = bench.state.run(run.id()).judge;
            fs::create_dir_all(tree.join("read-only")).unwrap();
            fs::write(tree.join("read-only/x"), "x").unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o555);
            fs::set_permissions(tree.join("read-only"), mode).unwrap();
            bench
        }

        fn discard(&self, args: &[&str]) -> anyhow::Result<String> {
            let args = Args::parse_from(["discard"].iter().chain(args));
            let mut variables = Environment::read().unwrap().for_tools();
            let state = self.fixture.dir.path().join("state");
            variables.insert("XDG_STATE_HOME".into(), state.into());
            let env = Environment::from_parts(variables, self.fixture.repo.root().to_owned());
            discard(&args, &env).map(|lines| lines.join("\n"))
        }

        fn refused(&self, args: &[&str], exit: Exit) -> String {
            let error = self.discard(args).unwrap_err();
            assert_eq!(Failure::exit_of(&error), exit, "{error:#}");
            assert!(self.is_there());
            error.to_string()
        }

        fn is_there(&self) -> bool {
            let id = RunId::parse(RUN).unwrap();
            let journal =
                self.fixture.repo.root().join(format!("artifacts/factory/runs/{RUN}/events.jsonl"));
            let branch = self.fixture.repo.resolve(&format!("factory/{RUN}")).unwrap().is_some();
            assert_eq!(journal.exists(), branch);
            assert_eq!(self.state.run(&id).dir.exists(), branch);
            branch
        }
    }

    #[test]
    fn what_was_not_applied_is_removed_only_when_asked_for() {
        let bench = Bench::new();
        let why = bench.refused(&["0001"], Exit::Usage);
        assert!(why.contains("is not in main") && why.contains("--yes"), "{why}");
        let said = bench.discard(&["0001", "--yes"]).unwrap();
        assert!(!bench.is_there());
        assert!(said.contains(&format!("`git branch factory/{RUN} {}`", bench.target)), "{said}");
        git(bench.fixture.repo.root(), &["branch", "back", bench.target.as_str()]);
        let error = bench.discard(&["0001"]).unwrap_err();
        assert_eq!(Failure::exit_of(&error), Exit::Usage);
    }

    #[test]
    fn what_was_applied_goes_without_a_question() {
        let bench = Bench::new();
        git(bench.fixture.repo.root(), &["merge", "--quiet", "--ff-only", bench.target.as_str()]);
        bench.discard(&[RUN]).unwrap();
        assert!(!bench.is_there());
    }

    #[test]
    fn an_active_run_stays() {
        let bench = Bench::new();
        let lock = bench.state.lock(&RunId::parse(RUN).unwrap()).unwrap().unwrap();
        assert!(bench.refused(&[RUN, "--yes"], Exit::Broken).contains("another run is active"));
        drop(lock);
        bench.discard(&[RUN, "--yes"]).unwrap();
    }

    #[test]
    fn a_branch_that_is_checked_out_stays() {
        let bench = Bench::new();
        let root = bench.fixture.repo.root();
        let linked = bench.fixture.dir.path().join("linked");
        let branch = format!("factory/{RUN}");
        git(root, &["worktree", "add", "--quiet", linked.to_str().unwrap(), &branch]);
        let why = bench.refused(&[RUN, "--yes"], Exit::Broken);
        assert!(why.contains("linked"), "{why}");
        git(root, &["worktree", "remove", "--force", linked.to_str().unwrap()]);
        git(root, &["switch", "--quiet", &branch]);
        let why = bench.refused(&[RUN, "--yes"], Exit::Broken);
        assert!(why.contains("is checked out in"), "{why}");
    }

    #[test]
    fn a_journal_that_never_began_goes_without_a_question() {
        let bench = Bench::new();
        let runs = bench.fixture.repo.root().join("artifacts/factory/runs");
        let journal = fs::read_to_string(runs.join(RUN).join("events.jsonl")).unwrap();
        let other = runs.join("20261120-100000-0002");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("events.jsonl"), journal.split_once('\n').unwrap().1).unwrap();
        bench.discard(&["0002"]).unwrap();
        assert!(!other.exists() && bench.is_there());
    }
}
