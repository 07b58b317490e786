//! What a run begins from, and where it reads what judges and steers it: settings, scenarios, specs, prompt and
//! Makefile come from the commit, in place from the checkout as it lies.
//!
//! One rule for all of them, so that nobody has to know which edit counts. What they say is read elsewhere; here is
//! only where they lie.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError, Environment, FILE};
use crate::git::{GitError, Mode, Oid, Repo, Scratch, Tree};
use crate::judge::discover;
use crate::process::Cancel;
use crate::text::{Subtree, TreePath};
use crate::wall::ManagedTree;

use super::frozen::glob_set;
use super::start::{StartError, fetched, has_temporary_files, head_of};

/// The prompt of the operating manual, which is read where the product has none of ours.
pub const MANUAL_PROMPT: &str = ".github/codex/prompts/factory_fix.md";

/// What a run begins from.
pub struct Base {
    /// The repository; none for a working tree in place that lies in none.
    pub(super) repo: Option<Repo>,
    /// The root of the product: the checkout's, or a directory below it.
    pub(super) root: PathBuf,
    /// Where that lies in the repository.
    pub(super) at: Subtree,
    /// The commit; none in place where there is none yet.
    pub(super) head: Option<Oid>,
    /// The branch that is checked out; none where there is none.
    pub(super) branch: Option<String>,
    /// What the person should know.
    pub(super) notices: Vec<String>,
    committed: Option<Committed>,
}

/// How a checkout differs from the commit, each as a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// In what the run reads.
    pub read: Option<String>,
    /// In anything else.
    pub others: Option<String>,
}

/// Files of a commit in a directory that goes with this.
struct Committed {
    commit: Oid,
    tree: Tree,
    files: ManagedTree,
    /// Holds the directory.
    _scratch: Scratch,
}

impl Base {
    /// Finds what a run in `root` begins from; objects of its commit that a partial clone lacks are had from its
    /// remote.
    ///
    /// # Errors
    /// There is no repository or no commit, but in place; git failed; no temporary file can be made.
    pub fn open(
        root: &Path,
        env: &Environment,
        in_place: bool,
        cancel: &Cancel,
    ) -> Result<Self, StartError> {
        let repo = match Repo::discover(root, env.for_tools()) {
            Ok(repo) => repo,
            Err(GitError::NotARepository { .. }) if in_place => {
                has_temporary_files(env)?;
                return Ok(Self::lying(root));
            }
            Err(error) => return Err(error.into()),
        };
        has_temporary_files(env)?;
        let (head, branch) = head_of(&repo, in_place)?;
        let at = repo.subtree(root)?;
        let root = at.under(repo.root());
        let mut base = Self { head, branch, at, ..Self::lying(&root) };
        if let (Some(head), false) = (&base.head, in_place) {
            base.notices.extend(fetched(&repo, head, cancel)?);
            base.committed = Some(Committed::of(&repo, head)?);
        }
        Ok(Self { repo: Some(repo), ..base })
    }

    /// Returns what a run of the product at `root` in `repo` would begin from, without having anything sent; as it
    /// lies where there is no commit, or not all of it is here.
    ///
    /// # Errors
    /// git failed.
    pub fn look(repo: &Repo, root: &Path) -> Result<Self, StartError> {
        match repo.head()?.commit() {
            Some(commit) if repo.missing_of(commit)?.is_empty() => Self::of(repo, root, commit),
            _ => {
                let (repo, at) = (Some(repo.clone()), repo.subtree(root)?);
                Ok(Self { repo, at, ..Self::lying(root) })
            }
        }
    }

    /// Returns the files of a commit, all of which is here, for the product at `root`.
    ///
    /// # Errors
    /// git failed.
    pub fn of(repo: &Repo, root: &Path, commit: &Oid) -> Result<Self, StartError> {
        let at = repo.subtree(root)?;
        Ok(Self {
            repo: Some(repo.clone()),
            head: Some(commit.clone()),
            committed: Some(Committed::of(repo, commit)?),
            ..Self { root: at.under(repo.root()), at, ..Self::lying(root) }
        })
    }

    /// Returns the files in `root` as they lie.
    pub fn lying(root: &Path) -> Self {
        Self {
            repo: None,
            root: root.to_owned(),
            at: Subtree::default(),
            head: None,
            branch: None,
            notices: Vec::new(),
            committed: None,
        }
    }

    /// Reads the settings.
    ///
    /// # Errors
    /// They can't be read or make no sense; git failed.
    pub fn settings(&mut self) -> Result<Config, StartError> {
        let dir = self.with(&[FILE, "dark-factory.yml"], &[])?;
        let loaded = match self.committed {
            Some(_) => crate::config::load_at(&dir, &self.at),
            None => crate::config::load(&dir),
        };
        loaded.map_err(|error| {
            let in_checkout = |path: &Path| match path.strip_prefix(&dir) {
                Ok(inside) => self.root.join(inside),
                Err(_) => path.to_owned(),
            };
            StartError::Settings(match error {
                ConfigError::NotSettings { path, why } => {
                    ConfigError::NotSettings { path: in_checkout(&path), why }
                }
                ConfigError::Unreadable { path, source } => {
                    ConfigError::Unreadable { path: in_checkout(&path), source }
                }
                invalid @ ConfigError::Invalid { .. } => invalid,
            })
        })
    }

    /// Returns the directory in which everything lies that a run with these settings reads once.
    ///
    /// # Errors
    /// git failed, or the disk.
    pub fn inputs(&mut self, config: &Config) -> Result<PathBuf, StartError> {
        let names: Vec<&str> = [FILE, "dark-factory.yml", &config.scenarios.dir]
            .into_iter()
            .chain([config.agent.prompt.as_str(), MANUAL_PROMPT])
            .chain(Config::MAKEFILES)
            .collect();
        self.with(&names, &config.specs)
    }

    /// Returns the directory, after what is at and below `names`, and what the globs match, is in it.
    fn with(&mut self, names: &[&str], globs: &[String]) -> Result<PathBuf, StartError> {
        let (Some(committed), Some(repo)) = (&mut self.committed, &self.repo) else {
            return Ok(self.root.clone());
        };
        let globs: Vec<String> = globs.iter().map(|glob| self.at.glob(glob)).collect();
        let set = glob_set(&globs)?;
        let matched = |path: &TreePath| set.is_match(path.as_path());
        let names: Vec<String> = names.iter().map(|name| self.at.path(name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let wanted = select(&committed.tree, &names, matched, &mut |oid| repo.read_blob(oid))?;
        committed.files.sync(repo, &wanted)?;
        let dir = self.at.under(committed.files.root());
        let parts = self.at.as_str().match_indices('/').map(|(slash, _)| slash);
        let mut above = parts.chain([self.at.as_str().len()]).map(|end| &self.at.as_str()[..end]);
        // A tree holds no directories.
        let is_entry =
            |path: &str| TreePath::parse(path).is_ok_and(|p| committed.tree.contains_key(&p));
        if above.any(is_entry) {
            let (dir, commit) = (self.at.as_str().to_owned(), committed.commit.short().to_owned());
            return Err(StartError::NoDirectory { dir, commit });
        }
        // What climbs from it begins there, and the commit may have nothing in it.
        std::fs::create_dir_all(&dir)
            .map_err(|source| StartError::Disk { path: dir.clone(), source })?;
        Ok(dir)
    }

    /// Returns the commit that the files are of, shortened; none where they are the checkout's.
    pub fn commit(&self) -> Option<&str> {
        self.committed.as_ref().map(|committed| committed.commit.short())
    }

    /// Returns where in the repository the product lies.
    pub fn product(&self) -> &Subtree {
        &self.at
    }

    /// Returns a path of the product as git takes it, wherever in the repository somebody stands.
    pub fn pathspec(&self, path: &str) -> String {
        match self.at.is_top() {
            true => path.to_owned(),
            false => format!(":/{}", self.at.path(path)),
        }
    }

    /// Returns the names of the scenarios that lie in the checkout and are in no commit, ignored ones too.
    pub fn only_in_checkout(&self, config: &Config) -> Vec<String> {
        let Some(committed) = &self.committed else { return Vec::new() };
        let Ok(set) = discover(&self.root, &config.scenarios.dir) else { return Vec::new() };
        let has = |file: &str| {
            TreePath::parse(self.at.path(file)).is_ok_and(|path| leads_to(&committed.tree, &path))
        };
        set.entries.into_iter().map(|entry| entry.file).filter(|file| !has(file)).collect()
    }

    /// Returns the text of a file of the product; none where there is none.
    pub fn text(&self, path: &str) -> Option<String> {
        let bytes = match (&self.committed, &self.repo) {
            (Some(committed), Some(repo)) => {
                let entry = committed.tree.get(&TreePath::parse(self.at.path(path)).ok()?)?;
                repo.read_blob(&entry.oid).ok()?
            }
            _ => std::fs::read(self.root.join(path)).ok()?,
        };
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns why an agent's program that the product has at a path of its own can't be started; none where it can, or
    /// is named otherwise, or a set-up command makes it.
    pub fn why_no_program(&self, config: &Config) -> Option<String> {
        let (settings, committed) = (&config.agent, self.committed.as_ref()?);
        let program = settings.command.first()?;
        let is_own = settings.backend.as_deref() == Some("command")
            && program.contains('/')
            && !program.starts_with('/');
        let path = |path: &str| TreePath::parse(self.at.path(path)).ok();
        let found = path(program.strip_prefix("./").unwrap_or(program)).filter(|_| is_own)?;
        let mut outputs = config.prepare.iter().flat_map(|step| &step.outputs);
        if outputs.any(|output| path(output).is_some_and(|output| found.is_within(&output))) {
            return None;
        }
        let commit = committed.commit.short();
        match committed.tree.get(&found).map(|entry| entry.mode) {
            Some(Mode::File) => Some(format!(
                "`{program}` is no program in commit {commit}; `git update-index --chmod=+x {found}` makes it one, to be committed"
            )),
            None if !leads_to(&committed.tree, &found) => Some(format!(
                "`{program}` is not in commit {commit}; commit it, or correct `agent.command`"
            )),
            _ => None,
        }
    }

    /// Returns what a person should know of a checkout that differs from the commit.
    ///
    /// # Errors
    /// git failed.
    pub fn differences(&self, config: &Config) -> Result<Differences, StartError> {
        let (Some(committed), Some(repo)) = (&self.committed, &self.repo) else {
            return Ok(Differences::default());
        };
        let mut paths: BTreeSet<TreePath> = repo.dirty_paths()?.into_iter().collect();
        let only = self.only_in_checkout(config);
        paths.extend(only.iter().filter_map(|file| TreePath::parse(self.at.path(file)).ok()));
        // Of what git ignores it says nothing.
        let named = [FILE, &config.agent.prompt].into_iter().chain(Config::MAKEFILES);
        let lying = named.filter(|name| self.root.join(name).is_file());
        let lying = lying.filter_map(|name| TreePath::parse(self.at.path(name)).ok());
        paths.extend(lying.filter(|path| !leads_to(&committed.tree, path)));
        let is_committed = |path: &TreePath| leads_to(&committed.tree, path);
        differing(&paths, config, &self.at, committed.commit.short(), is_committed)
    }
}

impl Committed {
    fn of(repo: &Repo, commit: &Oid) -> Result<Self, StartError> {
        // In the git directory, which has them anyway: a kill leaves no exam where others look.
        let scratch = repo.private_place()?;
        let files =
            ManagedTree::open(&scratch.path().join("files"), &scratch.path().join("manifest"))?;
        Ok(Self { commit: commit.clone(), tree: repo.list(commit)?, files, _scratch: scratch })
    }
}

/// Returns whether a tree has something at a path, or a link on the way to it.
fn leads_to(tree: &Tree, path: &TreePath) -> bool {
    let bytes = path.as_bytes();
    let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let mut above = slashes.filter_map(|at| TreePath::parse(&bytes[..at]).ok());
    let is_link = |path: TreePath| tree.get(&path).is_some_and(|one| one.mode == Mode::Symlink);
    tree.contains_key(path) || above.any(is_link)
}

/// Returns the part of a tree that is at or below `names`, or that `matches` takes, with what its links lead to.
/// What is no part of this repository is left out.
fn select(
    tree: &Tree,
    names: &[&str],
    matches: impl Fn(&TreePath) -> bool,
    read: &mut dyn FnMut(&Oid) -> Result<Vec<u8>, GitError>,
) -> Result<Tree, GitError> {
    let mut wanted: Tree = tree
        .iter()
        .filter(|(path, entry)| entry.mode != Mode::Submodule && matches(path))
        .map(|(path, entry)| (path.clone(), entry.clone()))
        .collect();
    let mut pending: Vec<TreePath> =
        names.iter().filter_map(|name| TreePath::parse(name.as_bytes()).ok()).collect();
    let mut seen = BTreeSet::new();
    while let Some(start) = pending.pop() {
        if !seen.insert(start.clone()) {
            continue;
        }
        let mut take = |path: &TreePath, rest: &[u8]| -> Result<(), GitError> {
            let Some(entry) = tree.get(path).filter(|entry| entry.mode != Mode::Submodule) else {
                return Ok(());
            };
            wanted.insert(path.clone(), entry.clone());
            if entry.mode == Mode::Symlink {
                pending.extend(led_to(path, &read(&entry.oid)?, rest));
            }
            Ok(())
        };
        // A directory on the way may be a link.
        let bytes = start.as_bytes();
        for slash in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at) {
            if let Ok(above) = TreePath::parse(&bytes[..slash]) {
                take(&above, &bytes[slash..])?;
            }
        }
        take(&start, b"")?;
        let below = tree.range(start.clone()..).skip_while(|(path, _)| **path == start);
        // Others may stand between a directory's name and what is below it: `a-b` is before `a/b`.
        let prefix = [bytes, b"/"].concat();
        for (path, _) in below
            .take_while(|(path, _)| path.as_bytes().starts_with(bytes))
            .filter(|(path, _)| path.as_bytes().starts_with(&prefix))
        {
            take(path, b"")?;
        }
    }
    Ok(wanted)
}

/// Returns where the link at `path` leads, with `rest` behind it; none where that is out of the tree.
fn led_to(path: &TreePath, target: &[u8], rest: &[u8]) -> Option<TreePath> {
    if target.starts_with(b"/") {
        return None;
    }
    let mut parts: Vec<&[u8]> = path.components().collect();
    parts.pop();
    for part in target.split(|byte| *byte == b'/').chain(rest.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    TreePath::parse(parts.join(&b'/')).ok()
}

/// Says which of `paths`, in which the checkout differs, a run would read, and how many others there are.
fn differing(
    paths: &BTreeSet<TreePath>,
    config: &Config,
    at: &Subtree,
    commit: &str,
    is_committed: impl Fn(&TreePath) -> bool,
) -> Result<Differences, StartError> {
    let specs: Vec<String> = config.specs.iter().map(|glob| at.glob(glob)).collect();
    let specs = glob_set(&specs)?;
    let dir = TreePath::parse(at.path(&config.scenarios.dir)).ok();
    let is_md = |path: &TreePath| path.as_bytes().to_ascii_lowercase().ends_with(b".md");
    let is_named = |path: &TreePath, name: &str| path.as_bytes() == at.path(name).as_bytes();
    let is_prompt =
        |path: &TreePath| is_named(path, &config.agent.prompt) || is_named(path, MANUAL_PROMPT);
    // What differs, and what no commit has.
    let (mut changed, mut new, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        let is_read = match Config::MAKEFILES.iter().any(|name| is_named(path, name)) {
            // Whoever names gates has no others.
            true => config.gates.is_none(),
            false => {
                is_named(path, FILE)
                    || is_prompt(path)
                    || dir.as_ref().is_some_and(|dir| path.is_within(dir)) && is_md(path)
                    || specs.is_match(path.as_path())
            }
        };
        match is_read {
            false => others.push(path),
            true if is_committed(path) => changed.push(path),
            true => new.push(path),
        }
    }
    let mut read = Vec::new();
    if !changed.is_empty() {
        let (verb, them) = if changed.len() == 1 { ("differs", "it") } else { ("differ", "them") };
        read.push(format!(
            "{} {verb} in the checkout; the run takes {them} from commit {commit}; commit {them} to use {them}",
            listed(&changed)
        ));
    }
    if !new.is_empty() {
        let (verb, them) = if new.len() == 1 { ("is", "it") } else { ("are", "them") };
        read.push(format!(
            "{} {verb} not in commit {commit}, and the run does without; commit {them} to use {them}",
            listed(&new)
        ));
    }
    let mut said = Differences { read: (!read.is_empty()).then(|| read.join("; ")), others: None };
    if !others.is_empty() {
        let shown: Vec<String> = others.iter().take(3).map(ToString::to_string).collect();
        let changes = match others.len() {
            1 => "1 change is".to_owned(),
            count => format!("{count} changes are"),
        };
        said.others = Some(format!(
            "{changes} in the checkout not committed ({}); the run works from commit {commit}",
            shown.join(", ")
        ));
    }
    Ok(said)
}

/// Names the first of `paths`, and says how many more there are.
fn listed(paths: &[&TreePath]) -> String {
    const SHOWN: usize = 4;
    let names: Vec<String> = paths.iter().map(ToString::to_string).collect();
    let (shown, last) = match names.len() {
        ..=SHOWN => names.split_at(names.len().saturating_sub(1)),
        _ => (&names[..SHOWN - 1], &[][..]),
    };
    let last = match last {
        [last] => last.clone(),
        _ => format!("{} others", names.len() - shown.len()),
    };
    match shown {
        [] => last,
        shown => format!("{} and {last}", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::ObjectFormat;
    use crate::git::testing::{fixture, path};

    fn check(paths: &[&str], expected: &[&str]) {
        let paths = paths.iter().map(path).collect();
        let is_committed = |path: &TreePath| !path.to_string().contains("new");
        let (config, at) = (Config::default(), Subtree::default());
        let said = differing(&paths, &config, &at, "abc1234", is_committed).unwrap();
        let said: Vec<String> = said.read.into_iter().chain(said.others).collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn what_of_the_checkout_a_run_would_read_is_named_apart_from_the_rest() {
        check(&[], &[]);
        check(
            &["scenarios/a.md"],
            &[
                "scenarios/a.md differs in the checkout; the run takes it from commit abc1234; commit it to use it",
            ],
        );
        check(
            &["dark-factory.yaml", "scenarios/a.md", "scenarios/b/C.MD", "specs/new.md"],
            &[
                "dark-factory.yaml, scenarios/a.md and scenarios/b/C.MD differ in the checkout; the run takes them from commit abc1234; commit them to use them; \
                 specs/new.md is not in commit abc1234, and the run does without; commit it to use it",
            ],
        );
        check(
            &["Makefile", "scenarios/support.sh", "src/a"],
            &[
                "Makefile differs in the checkout; the run takes it from commit abc1234; commit it to use it",
                "2 changes are in the checkout not committed (scenarios/support.sh, src/a); the run works from commit abc1234",
            ],
        );
        let many: Vec<String> = (1..6).map(|n| format!("scenarios/new{n}.md")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check(
            &many,
            &[
                "scenarios/new1.md, scenarios/new2.md, scenarios/new3.md and 2 others are not in commit abc1234, and the run does without; commit them to use them",
            ],
        );
    }

    #[test]
    fn a_file_behind_a_link_is_in_the_tree() {
        let fixture = fixture(ObjectFormat::Sha1);
        let changes =
            [fixture.set("scenarios", Mode::Symlink, b"exam"), fixture.set("a/b", Mode::File, b"")];
        let tree = fixture.repo.write_tree(None, &changes).unwrap();
        let tree = fixture.repo.list(&tree).unwrap();
        for (file, expected) in
            [("scenarios/x/y.md", true), ("a/b", true), ("a/c", false), ("scenarios-b", false)]
        {
            assert_eq!(leads_to(&tree, &path(file)), expected, "{file}");
        }
    }

    #[test]
    fn what_is_named_comes_with_what_links_lead_to() {
        let fixture = fixture(ObjectFormat::Sha1);
        let link = |at: &str, to: &str| fixture.set(at, Mode::Symlink, to.as_bytes());
        let file = |at: &str| fixture.set(at, Mode::File, b"x");
        let changes = [
            file("a/one"),
            file("a-b"),
            link("a/two", "../shared/two"),
            file("shared/two"),
            link("a/out", "../../etc"),
            link("a/away", "/etc"),
            link("a/round", "round"),
            link("dir", "real/dir"),
            file("real/dir/x/y"),
            file("real/other"),
            file("specs/s.md"),
        ];
        let tree = fixture.repo.write_tree(None, &changes).unwrap();
        let tree = fixture.repo.list(&tree).unwrap();
        let check = |names: &[&str], expected: &[&str]| {
            let spec = path("specs/s.md");
            let read = &mut |oid: &Oid| fixture.repo.read_blob(oid);
            let found = select(&tree, names, |path| *path == spec, read).unwrap();
            let found: Vec<String> = found.keys().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{names:?}");
        };
        check(&["none", "../up"], &["specs/s.md"]);
        let all = ["a/away", "a/one", "a/out", "a/round", "a/two", "shared/two", "specs/s.md"];
        check(&["a"], &all);
        check(&["dir/x"], &["dir", "real/dir/x/y", "specs/s.md"]);
    }
}
