//! A repository apart: a few commits of this one for whoever works in a tree, without a remote, without history,
//! and without any object that its commits do not hold.
//!
//! It is made from outside, with its index as the files in the tree stand, so that what runs there finds nothing
//! changed. What is written into it later is nobody's business here: it is made anew for each use.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::command::{answer, fed, output};
use super::objects::From;
use super::repo::oid_line;
use super::{Change, Conversions, GitError, ObjectFormat, Oid, Repo, Signature, Tree};

/// Who the commits are by, and those that somebody makes there.
const NAME: &str = "dark-factory";
const EMAIL: &str = "dark-factory@localhost";

/// What a repository apart is to have.
#[derive(Debug)]
pub struct Apart<'a> {
    /// Where its git directory is made, absolute; what was there goes.
    pub git_dir: &'a Path,
    /// Where its objects are kept between two makings, absolute. The git directory names this place.
    pub objects: &'a Path,
    /// Its first commit: the commit of this repository that it stands for, whose date it has, and its files.
    pub base: (&'a Oid, &'a Tree),
    /// Its second one likewise, which is left out where it changes nothing.
    pub candidate: (&'a Oid, &'a Tree),
    /// Its branch, short.
    pub branch: &'a str,
    /// The tags of the base.
    pub tags: &'a [Tag],
    /// What `info/exclude` says.
    pub exclude: &'a str,
    /// The tree that it belongs to, which holds the files of the last commit.
    pub work_tree: &'a Path,
}

/// What the next making of the same repository can begin with.
#[derive(Debug)]
pub struct Made {
    base: Tree,
    base_commit: (Oid, Oid),
    files: Tree,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name, short.
    pub name: String,
    /// Whether it is an object of its own, with a message.
    pub is_annotated: bool,
}

impl Repo {
    /// Returns the tags by which `git describe` names a commit, and those that it has itself, sorted by name; empty
    /// where the history that is here leads to none.
    ///
    /// # Errors
    /// git failed.
    pub fn tags_of(&self, commit: &Oid) -> Result<Vec<Tag>, GitError> {
        let mut names: Vec<String> = Vec::new();
        for by in [&["--abbrev=0"][..], &["--abbrev=0", "--tags"]] {
            let args = by.iter().copied().chain([commit.as_str()]);
            let found = self.ask("describe", args)?;
            if found.code == 0 {
                names.push(String::from_utf8_lossy(&found.stdout).trim_end().to_owned());
            }
        }
        let own = self.run("tag", ["--points-at", commit.as_str()])?;
        names.extend(String::from_utf8_lossy(&own).lines().map(str::to_owned));
        names.sort();
        names.dedup();
        let tag = |name: String| {
            let kind = self.ask("cat-file", ["-t", &format!("refs/tags/{name}")])?;
            let is_annotated = kind.stdout.trim_ascii() == b"tag";
            Ok((kind.code == 0).then_some(Tag { name, is_annotated }))
        };
        names.into_iter().filter_map(|name| tag(name).transpose()).collect()
    }

    /// Makes a repository apart. Its objects are packed once for each commit, and those of commits that it no
    /// longer has are removed.
    ///
    /// `before` is what the last making of it returned, whose git directory lies at `git_dir` still: of what stayed as
    /// it was nothing is read again.
    ///
    /// # Errors
    /// A commit or a file of it is missing, git failed, or the disk is full.
    pub fn make_apart(&self, apart: &Apart<'_>, before: Option<Made>) -> Result<Made, GitError> {
        let index = self.taken_index(apart.git_dir, before.is_some())?;
        let (stands_for, base_files) = apart.base;
        let (base_commit, had) = match before {
            Some(Made { base, base_commit, files }) if base == *base_files => {
                (base_commit, Some(files))
            }
            _ => {
                let changes = changes(&self.list(stands_for)?, base_files);
                let tree = self.write_tree(Some(stands_for), &changes)?;
                let commit = self.commit_apart(&tree, &[], "The base\n", stands_for)?;
                ((commit, tree), None)
            }
        };
        let (stands_for, files) = apart.candidate;
        let (from, had) = match had {
            Some(had) if index.exists() => (From::Index, had),
            _ => (From::Tree(stands_for), self.list(stands_for)?),
        };
        let tree = self.write_tree_in(&index, from, &changes(&had, files))?;
        let (first, mut commits) = (base_commit.0.clone(), vec![base_commit.0.clone()]);
        if tree != base_commit.1 {
            let parents = [first.clone()];
            commits.push(self.commit_apart(&tree, &parents, "The candidate\n", stands_for)?);
        }
        let last = commits[commits.len() - 1].clone();
        self.pack_apart(apart.objects, &commits)?;
        let conversions = self.conversions(files)?;
        self.lay_out(apart, conversions.as_ref()).map_err(GitError::writing(apart.git_dir))?;
        let made = self.beside(apart.git_dir)?;
        let mut refs = vec![format!("{last} refs/heads/{}\n", apart.branch)];
        for tag in apart.tags {
            let (name, mut line) = (&tag.name, String::new());
            let target = match tag.is_annotated {
                true => {
                    line = format!("^{first}\n");
                    made.annotate(&first, name)?
                }
                false => first.clone(),
            };
            refs.push(format!("{target} refs/tags/{name}\n{line}"));
        }
        let refs = format!("# pack-refs with: peeled fully-peeled sorted \n{}", refs.concat());
        fs::write(apart.git_dir.join("packed-refs"), refs)
            .map_err(GitError::writing(apart.git_dir))?;
        let within =
            |command: &str| made.plumbing(command).envs([("GIT_WORK_TREE", apart.work_tree)]);
        let placed = apart.git_dir.join("index");
        fs::rename(&index, &placed).map_err(GitError::writing(&placed))?;
        // It exits with 1 where a file is not as the commit has it, which is no failure of this.
        answer(&within("update-index").args(["-q", "--refresh"]), "update-index")?;
        if conversions.is_some() {
            // Large files and what the person's filters made of others: git has none of these there.
            let differing =
                output(&within("diff-files").args(["--name-only", "-z"]), "diff-files")?;
            let assume = within("update-index").args(["--assume-unchanged", "-z", "--stdin"]);
            output(&fed(assume, differing), "update-index")?;
        }
        Ok(Made { base: base_files.clone(), base_commit, files: files.clone() })
    }

    /// Removes the git directory of an earlier making, and returns where its index is now if it is `wanted`.
    fn taken_index(&self, git_dir: &Path, wanted: bool) -> Result<PathBuf, GitError> {
        let mut index = git_dir.as_os_str().to_owned();
        index.push("-index");
        let index = PathBuf::from(index);
        let is_gone = |done: io::Result<()>| match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(GitError::writing(git_dir)(error))
            }
            _ => Ok(()),
        };
        is_gone(fs::remove_file(&index))?;
        if wanted {
            is_gone(fs::rename(git_dir.join("index"), &index))?;
        }
        is_gone(fs::remove_dir_all(git_dir))?;
        if let Some(parent) = git_dir.parent() {
            fs::create_dir_all(parent).map_err(GitError::writing(parent))?;
        }
        Ok(index)
    }

    /// Writes a commit of `tree` at the time of the one that it stands for.
    fn commit_apart(
        &self,
        tree: &Oid,
        parents: &[Oid],
        message: &str,
        stands_for: &Oid,
    ) -> Result<Oid, GitError> {
        let author = Signature { name: NAME.to_owned(), email: EMAIL.to_owned() };
        self.commit(tree, parents, message, &author, self.committed_at(stands_for)?)
    }

    /// Packs what each commit has beyond the one before it; packs of others go.
    fn pack_apart(&self, objects: &Path, commits: &[Oid]) -> Result<(), GitError> {
        let packs = objects.join("pack");
        for dir in [objects, &packs, &objects.join("info")] {
            fs::create_dir_all(dir).map_err(GitError::writing(dir))?;
            // Whoever works there may be another user.
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
                .map_err(GitError::writing(dir))?;
        }
        // Which pack holds which commit.
        let names = objects.join("packed");
        let known = fs::read_to_string(&names).unwrap_or_default();
        let mut list = String::new();
        for (number, commit) in commits.iter().enumerate() {
            let pack = |line: &str| {
                let (held, pack) = line.split_once(' ')?;
                let there = packs.join(format!("pack-{pack}.pack")).is_file();
                (held == commit.as_str() && there).then(|| pack.to_owned())
            };
            let pack = match known.lines().find_map(pack) {
                Some(pack) => pack,
                None => {
                    let mut asked = format!("{commit}\n");
                    if let Some(before) = number.checked_sub(1).and_then(|at| commits.get(at)) {
                        asked.push_str(&format!("^{before}\n"));
                    }
                    let call = self.plumbing("pack-objects").args(["--quiet", "--revs"]);
                    // git makes a pack among the objects that it writes, and renames it: these have to lie
                    // where it goes, which may be another file system than the person's.
                    let lent = self.common_dir().join("objects");
                    let call = call.envs([
                        ("GIT_OBJECT_DIRECTORY", objects.as_os_str()),
                        ("GIT_ALTERNATE_OBJECT_DIRECTORIES", lent.as_os_str()),
                    ]);
                    let call = fed(call.arg(packs.join("pack")), asked.into_bytes());
                    oid_line("pack-objects", &output(&call, "pack-objects")?)?.to_string()
                }
            };
            list.push_str(&format!("{commit} {pack}\n"));
        }
        for entry in fs::read_dir(&packs).map_err(GitError::writing(&packs))? {
            let path = entry.map_err(GitError::writing(&packs))?.path();
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let pack = stem.unwrap_or_default().trim_start_matches("pack-").to_owned();
            if !list.lines().any(|line| line.ends_with(&pack)) {
                fs::remove_file(&path).map_err(GitError::writing(&path))?;
            } else {
                // Whatever the person's settings and mask make of it.
                fs::set_permissions(&path, fs::Permissions::from_mode(0o444))
                    .map_err(GitError::writing(&path))?;
            }
        }
        fs::write(&names, list).map_err(GitError::writing(&names))
    }

    /// Lays out a git directory without objects, refs and index. Of a file its time and size alone count: who owns
    /// it changes with who works in the tree.
    fn lay_out(&self, apart: &Apart<'_>, conversions: Option<&Conversions>) -> io::Result<()> {
        let at = |name: &str| apart.git_dir.join(name);
        for name in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info"] {
            fs::create_dir_all(at(name))?;
        }
        fs::write(at("HEAD"), format!("ref: refs/heads/{}\n", apart.branch))?;
        let format = match self.format() {
            ObjectFormat::Sha1 => "repositoryformatversion = 0\n",
            ObjectFormat::Sha256 => {
                "repositoryformatversion = 1\n[extensions]\n\tobjectFormat = sha256\n[core]\n"
            }
        };
        let config = format!(
            "[core]\n\t{format}\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n\
             \ttrustctime = false\n\tcheckStat = minimal\n{}\
             [user]\n\tname = {NAME}\n\temail = {EMAIL}\n[gc]\n\tauto = 0\n",
            conversions.map(Conversions::settings).unwrap_or_default(),
        );
        if let Some(conversions) = conversions {
            fs::write(at("info/attributes"), conversions.info())?;
        }
        fs::write(at("config"), config)?;
        fs::write(at("info/exclude"), apart.exclude)?;
        let mut alternates = fs::File::create(at("objects/info/alternates"))?;
        alternates.write_all(apart.objects.as_os_str().as_encoded_bytes())?;
        alternates.write_all(b"\n")
    }

    /// Writes the object of a tag, and returns its id.
    fn annotate(&self, commit: &Oid, name: &str) -> Result<Oid, GitError> {
        let at = self.committed_at(commit)?.unix_millis().div_euclid(1000);
        let text = format!(
            "object {commit}\ntype commit\ntag {name}\ntagger {NAME} <{EMAIL}> {at} +0000\n\n{name}\n"
        );
        let call = self.plumbing("hash-object").args(["-t", "tag", "-w", "--stdin"]);
        oid_line("hash-object", &output(&fed(call, text.into_bytes()), "hash-object")?)
    }
}

/// Returns what makes the files `from` into the files `to`.
fn changes(from: &Tree, to: &Tree) -> Vec<Change> {
    let gone = from.keys().filter(|path| !to.contains_key(*path));
    let gone = gone.map(|path| Change::Remove { path: path.clone() });
    let new =
        to.iter().filter(|(path, entry)| from.get(*path) != Some(*entry)).map(|(path, entry)| {
            Change::Set { path: path.clone(), mode: entry.mode, oid: entry.oid.clone() }
        });
    gone.chain(new).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, fixture, git};
    use super::*;
    use crate::text::TreePath;

    /// A base with a secret file and a tag two commits before it, and what `git` says in the tree apart.
    struct Bench {
        fixture: Fixture,
        base: Oid,
        dir: tempfile::TempDir,
        made: std::cell::RefCell<Option<Made>>,
    }

    impl Bench {
        fn new(format: ObjectFormat) -> Self {
            let fixture = fixture(format);
            let root = fixture.repo.root().to_owned();
            for (file, text) in [("a", "1\n"), ("exam", "the exam\n"), (".gitignore", "out\n")] {
                fs::write(root.join(file), text).unwrap();
            }
            git(&root, &["add", "--all"]);
            git(&root, &["commit", "--quiet", "-m", "One"]);
            git(&root, &["tag", "-a", "v1.2", "-m", "the exam"]);
            git(&root, &["commit", "--quiet", "--allow-empty", "-m", "Two"]);
            let base = fixture.head();
            Self { fixture, base, dir: tempfile::tempdir().unwrap(), made: None.into() }
        }

        /// Makes it for the base and a candidate with `a`, and the tree beside it.
        fn make(&self, a: &str) {
            let repo = &self.fixture.repo;
            let blob = repo.write_blobs(&[a]).unwrap().remove(0);
            let mut files = repo.list(&self.base).unwrap();
            files.remove(&TreePath::parse("exam").unwrap());
            let mut candidate = files.clone();
            candidate.get_mut(&TreePath::parse("a").unwrap()).unwrap().oid = blob;
            let tree = self.dir.path().join("tree");
            fs::create_dir_all(&tree).unwrap();
            fs::write(tree.join("a"), a).unwrap();
            fs::write(tree.join(".gitignore"), "out\n").unwrap();
            let git_dir = tree.join(".git");
            let apart = Apart {
                git_dir: &git_dir,
                objects: &self.dir.path().join("objects"),
                base: (&self.base, &files),
                candidate: (&self.base, &candidate),
                branch: "main",
                tags: &repo.tags_of(&self.base).unwrap(),
                exclude: "/scenarios/\n",
                work_tree: &tree,
            };
            let made = repo.make_apart(&apart, self.made.take()).unwrap();
            self.made.replace(Some(made));
        }

        fn git(&self, args: &[&str]) -> String {
            git(&self.dir.path().join("tree"), args)
        }
    }

    #[test]
    fn what_asks_git_in_the_tree_finds_it_clean_and_described() {
        for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
            let bench = Bench::new(format);
            bench.make("2\n");
            assert_eq!(bench.git(&["ls-files"]).trim(), ".gitignore\na");
            assert_eq!(bench.git(&["status", "--porcelain"]), "");
            // Which does not look at content where the index knows better.
            assert_eq!(bench.git(&["diff-index", "HEAD"]), "");
            assert!(bench.git(&["describe"]).starts_with("v1.2-1-g"));
            assert_eq!(bench.git(&["describe", "HEAD^"]).trim(), "v1.2");
            assert_eq!(bench.git(&["diff", "HEAD^", "--stat", "--", "a"]).lines().count(), 2);
            assert_eq!(bench.git(&["rev-list", "--count", "--all"]).trim(), "2");
            assert_eq!(bench.git(&["remote"]), "");
            bench.git(&["fsck", "--strict"]);
        }
    }

    #[test]
    fn no_object_of_it_holds_what_its_commits_do_not() {
        let bench = Bench::new(ObjectFormat::Sha1);
        bench.make("2\n");
        let all = || bench.git(&["cat-file", "--batch-all-objects", "--batch"]);
        assert!(all().contains("\n2\n") && !all().contains("exam"));
        // Nor what an earlier candidate had.
        bench.make("3\n");
        assert!(all().contains("\n3\n") && !all().contains("\n2\n") && !all().contains("exam"));
        let packs = fs::read_dir(bench.dir.path().join("objects/pack")).unwrap().flatten();
        let packs =
            packs.filter(|entry| entry.path().extension().is_some_and(|name| name == "pack"));
        assert_eq!(packs.count(), 2);
    }

    #[test]
    fn a_candidate_that_is_the_base_is_one_commit() {
        let bench = Bench::new(ObjectFormat::Sha1);
        bench.make("1\n");
        assert_eq!(bench.git(&["rev-list", "--count", "HEAD"]).trim(), "1");
        assert_eq!(bench.git(&["describe"]).trim(), "v1.2");
    }
}
