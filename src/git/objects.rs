//! Blobs and trees: reading and writing them, many at a time.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::thread;

use super::command::{answer, failed, fed, not_started, output};
use super::repo::{oid_line, unread};
use super::tree::parse_listing;
use super::{Change, GitError, Mode, Oid, Repo, Tree};
use crate::process::Piped;
use crate::text::TreePath;

/// What an index begins with.
#[derive(Debug, Clone, Copy)]
pub(super) enum From<'a> {
    Nothing,
    Tree(&'a Oid),
    /// What it holds already.
    Index,
}

impl Repo {
    /// Returns the tree of a commit.
    ///
    /// # Errors
    /// The commit is missing, or git failed.
    pub fn tree_of(&self, commit: &Oid) -> Result<Oid, GitError> {
        let answer =
            self.ask("rev-parse", ["--verify", "--quiet", &format!("{commit}^{{tree}}")])?;
        if answer.code != 0 {
            return Err(GitError::Missing { oid: commit.to_string() });
        }
        oid_line("rev-parse", &answer.stdout)
    }

    /// Returns everything in a tree or in a commit's tree.
    ///
    /// # Errors
    /// The object is missing, a name in it can't stand in a tree, or git failed.
    pub fn list(&self, treeish: &Oid) -> Result<Tree, GitError> {
        parse_listing(&self.run("ls-tree", ["-r", "-z", "--full-tree", treeish.as_str()])?)
    }

    /// Returns the bytes of one blob.
    ///
    /// # Errors
    /// The blob is missing, or git failed.
    pub fn read_blob(&self, oid: &Oid) -> Result<Vec<u8>, GitError> {
        let mut bytes = Vec::new();
        self.read_blobs([oid.clone()], &mut |_, blob| {
            bytes = blob.to_vec();
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Reads many blobs with one process; `each` gets the index and the bytes, in the order asked.
    ///
    /// # Errors
    /// A blob is missing, `each` failed, or git did.
    pub fn read_blobs(
        &self,
        oids: impl IntoIterator<Item = Oid>,
        each: &mut dyn FnMut(usize, &[u8]) -> io::Result<()>,
    ) -> Result<(), GitError> {
        let mut bytes = Vec::new();
        self.stream_blobs(oids, &mut |index, _, from| {
            bytes.clear();
            from.read_to_end(&mut bytes)?;
            each(index, &bytes)
        })
    }

    /// Reads many blobs with one process, none of them held in memory; `each` gets the index, the
    /// size and the bytes to read. What it does not read is skipped.
    ///
    /// # Errors
    /// A blob is missing, `each` failed, or git did.
    pub fn stream_blobs(
        &self,
        oids: impl IntoIterator<Item = Oid>,
        each: &mut dyn FnMut(usize, u64, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), GitError> {
        let mut request = Vec::new();
        let mut count = 0;
        for oid in oids {
            request.extend_from_slice(oid.as_str().as_bytes());
            request.push(b'\n');
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        let call = self.plumbing("cat-file").args(["--batch", "--buffer"]);
        let mut piped =
            Piped::open(&call).map_err(|error| not_started(&call, error.to_string()))?;
        let mut stdin = piped.stdin.take();
        thread::scope(|scope| {
            // Requests and blobs go at their own pace: writing all requests first would deadlock
            // once both pipes are full. A failed write shows as an answer cut short.
            scope.spawn(move || stdin.as_mut().map(|pipe| pipe.write_all(&request)));
            let read = answers(&mut piped, count, each);
            match read {
                // Dropping the process ends it, and with it the thread's write.
                Err(error) => {
                    drop(piped);
                    Err(error)
                }
                Ok(complete) => {
                    let (ending, stderr) = piped.finish().map_err(|source| GitError::Io {
                        doing: "wait for `git cat-file`".into(),
                        source,
                    })?;
                    if complete && ending.is_success() {
                        Ok(())
                    } else {
                        Err(failed("cat-file", &ending, &stderr))
                    }
                }
            }
        })
    }

    /// Writes blobs with one process, and returns their ids in the same order. The bytes are kept
    /// as they are: no filter, no line-ending conversion.
    ///
    /// # Errors
    /// The disk is full or not writable, or git failed.
    pub fn write_blobs(&self, contents: &[impl AsRef<[u8]>]) -> Result<Vec<Oid>, GitError> {
        if contents.is_empty() {
            return Ok(Vec::new());
        }
        let scratch = self.scratch()?;
        let mut names = Vec::new();
        for (index, content) in contents.iter().enumerate() {
            let path = scratch.path().join(index.to_string());
            fs::write(&path, content).map_err(|source| GitError::Io {
                doing: format!("write `{}`", path.display()),
                source,
            })?;
            writeln!(names, "{index}")
                .map_err(|source| GitError::Io { doing: "list what to write".into(), source })?;
        }
        let mut call = self.plumbing("hash-object").args(["-w", "--no-filters", "--stdin-paths"]);
        call.dir = scratch.path().to_owned();
        let answer = output(&fed(call, names), "hash-object")?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let oids: Vec<Oid> = text.lines().map_while(|line| Oid::parse(line).ok()).collect();
        if oids.len() == contents.len() { Ok(oids) } else { Err(unread("hash-object", &text)) }
    }

    /// Writes the tree that `base` becomes by `changes`, and returns its id. Without a base, the
    /// changes are the whole tree.
    ///
    /// Removals come first, whatever the order. A file takes the place of a directory, and a
    /// directory that of a file.
    ///
    /// # Errors
    /// git refuses a path (`.git` in any spelling), an object is missing, or the disk is full.
    pub fn write_tree(&self, base: Option<&Oid>, changes: &[Change]) -> Result<Oid, GitError> {
        let scratch = self.scratch()?;
        let from = base.map_or(From::Nothing, From::Tree);
        self.write_tree_in(&scratch.path().join("index"), from, changes)
    }

    /// Does what [`Repo::write_tree`] does with an index that stays at `index`.
    pub(super) fn write_tree_in(
        &self,
        index: &Path,
        from: From<'_>,
        changes: &[Change],
    ) -> Result<Oid, GitError> {
        let with_index = |command: &str| self.plumbing(command).envs([("GIT_INDEX_FILE", index)]);
        let read = with_index("read-tree");
        match from {
            From::Tree(tree) => drop(output(&read.arg(tree.as_str()), "read-tree")?),
            From::Nothing => drop(output(&read.arg("--empty"), "read-tree")?),
            From::Index => {}
        }
        if !changes.is_empty() {
            let update = with_index("update-index").args(["-z", "--index-info"]);
            let answer = answer(&fed(update, self.index_info(changes)), "update-index")?;
            // git skips a path that it refuses, says so, and exits with 0.
            if answer.code != 0 || answer.stderr.contains("Ignoring path") {
                return Err(answer.into_error("update-index"));
            }
        }
        oid_line("write-tree", &output(&with_index("write-tree"), "write-tree")?)
    }

    pub(super) fn index_info(&self, changes: &[Change]) -> Vec<u8> {
        let mut info = Vec::new();
        let mut record = |mode: &str, oid: &str, path: &[u8]| {
            info.extend_from_slice(format!("{mode} {oid}\t").as_bytes());
            info.extend_from_slice(path);
            info.push(0);
        };
        for change in changes {
            if let Change::Remove { path } = change {
                record("0", self.format().zero(), path.as_bytes());
            }
        }
        for change in changes {
            if let Change::Set { path, mode, oid } = change {
                record(mode.as_str(), oid.as_str(), path.as_bytes());
            }
        }
        info
    }

    /// Returns what the symbolic links of `tree` say, each with where it is.
    ///
    /// # Errors
    /// A link's blob is missing, or git failed.
    pub fn read_links(&self, tree: &Tree) -> Result<Vec<(TreePath, Vec<u8>)>, GitError> {
        let links: Vec<_> = tree.iter().filter(|(_, entry)| entry.mode == Mode::Symlink).collect();
        let mut found = Vec::with_capacity(links.len());
        let oids = links.iter().map(|(_, entry)| entry.oid.clone());
        self.read_blobs(oids, &mut |index, bytes| {
            found.push((links[index].0.clone(), bytes.to_vec()));
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns the names of submodules by their paths, from the `.gitmodules` file that `blob` is.
    /// A file that git can't read names none.
    ///
    /// # Errors
    /// git can't be started or was ended.
    pub fn submodule_names(&self, blob: &Oid) -> Result<Vec<(Vec<u8>, String)>, GitError> {
        let args = ["--null", "--blob", blob.as_str(), "--get-regexp", r"^submodule\..*\.path$"];
        let answer = self.ask("config", args)?;
        Ok(answer
            .stdout
            .split(|byte| *byte == 0)
            .filter_map(|record| {
                let feed = record.iter().position(|byte| *byte == b'\n')?;
                let key = std::str::from_utf8(&record[..feed]).ok()?;
                let name = key.strip_prefix("submodule.")?.strip_suffix(".path")?;
                Some((record[feed + 1..].to_vec(), name.to_owned()))
            })
            .collect())
    }
}

/// Reads the first line of an answer of `cat-file --batch`: the object's kind and size, or, as the inner
/// error, the id that is not there.
pub(super) fn batch_answer(line: &str) -> Result<Result<(&str, u64), &str>, GitError> {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        [_, kind, size] => {
            size.parse().map(|size| Ok((*kind, size))).map_err(|_| unread("cat-file", line))
        }
        [oid, "missing"] => Ok(Err(oid)),
        _ => Err(unread("cat-file", line)),
    }
}

/// Reads `count` answers; returns whether all came.
fn answers(
    piped: &mut Piped,
    count: usize,
    each: &mut dyn FnMut(usize, u64, &mut dyn Read) -> io::Result<()>,
) -> Result<bool, GitError> {
    let io = |source| GitError::Io { doing: "read from `git cat-file`".into(), source };
    let mut from = BufReader::with_capacity(128 * 1024, &mut piped.stdout);
    let mut line = String::new();
    for index in 0..count {
        line.clear();
        if from.read_line(&mut line).map_err(io)? == 0 {
            return Ok(false);
        }
        let size = match batch_answer(line.trim_end())? {
            Ok(("blob", size)) => size,
            Ok(_) => return Err(unread("cat-file", &line)),
            Err(oid) => return Err(GitError::Missing { oid: oid.to_owned() }),
        };
        let mut blob = (&mut from).take(size);
        each(index, size, &mut blob)
            .map_err(|source| GitError::Io { doing: "take in a blob".into(), source })?;
        io::copy(&mut blob, &mut io::sink()).map_err(io)?;
        if blob.limit() > 0 {
            return Ok(false);
        }
        let mut feed = [0];
        from.read_exact(&mut feed).map_err(io)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fixture, git, path};
    use super::super::{Mode, ObjectFormat, blob_id};
    use super::*;

    #[test]
    fn blobs_come_back_as_they_went_in() {
        for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
            let fixture = fixture(format);
            let big: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
            let contents = [&b""[..], b"a\r\nb\0\xff", &big, b"\n"];
            let oids = fixture.repo.write_blobs(&contents).unwrap();
            assert_eq!(oids, contents.map(|content| blob_id(format, content)));
            let mut seen = Vec::new();
            fixture
                .repo
                .read_blobs(oids, &mut |index, bytes| {
                    assert_eq!(bytes, contents[index]);
                    seen.push(index);
                    Ok(())
                })
                .unwrap();
            assert_eq!(seen, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn more_requests_than_a_pipe_holds_do_not_deadlock() {
        let fixture = fixture(ObjectFormat::Sha1);
        let oid = fixture.repo.write_blobs(&[vec![b'x'; 5_000]]).unwrap().remove(0);
        let mut count = 0;
        let many = std::iter::repeat_n(oid, 20_000);
        // What is not read is skipped.
        let mut each = |_: usize, size: u64, _: &mut dyn Read| {
            count += size;
            Ok(())
        };
        fixture.repo.stream_blobs(many, &mut each).unwrap();
        assert_eq!(count, 100_000_000);
    }

    #[test]
    fn a_reader_that_fails_ends_the_process() {
        let fixture = fixture(ObjectFormat::Sha1);
        let oid = fixture.repo.write_blobs(&[vec![b'x'; 500_000]]).unwrap().remove(0);
        let many = std::iter::repeat_n(oid, 20_000);
        let error = fixture
            .repo
            .read_blobs(many, &mut |_, _| Err(io::Error::from(io::ErrorKind::StorageFull)))
            .unwrap_err();
        assert!(matches!(error, GitError::Io { .. }), "{error}");
    }

    #[test]
    fn a_missing_blob_is_named_with_what_to_do() {
        let fixture = fixture(ObjectFormat::Sha1);
        let oid = Oid::parse(&"1".repeat(40)).unwrap();
        let error = fixture.repo.read_blob(&oid).unwrap_err().to_string();
        assert!(error.contains(oid.as_str()) && error.contains("git fetch"), "{error}");
    }

    #[test]
    fn files_and_directories_replace_each_other() {
        let fixture = fixture(ObjectFormat::Sha1);
        let base = fixture.tree(&[("a/x", "1"), ("a/y", "2"), ("b", "3"), ("c", "4")]);
        let changes = [
            fixture.set("a", Mode::Symlink, b"c"),
            fixture.set(b"b/new\n\xff", Mode::Executable, b"5"),
            Change::Remove { path: path("c") },
            Change::Remove { path: path("never") },
        ];
        let tree = fixture.repo.write_tree(Some(&base), &changes).unwrap();
        let listed: Vec<_> = fixture
            .repo
            .list(&tree)
            .unwrap()
            .into_iter()
            .map(|(path, entry)| (path.as_bytes().to_vec(), entry.mode))
            .collect();
        assert_eq!(
            listed,
            [(b"a".to_vec(), Mode::Symlink), (b"b/new\n\xff".to_vec(), Mode::Executable)]
        );
    }

    #[test]
    fn a_git_directory_can_not_be_written_into_a_tree() {
        let fixture = fixture(ObjectFormat::Sha1);
        for bad in [".git/config", "a/.GIT/hooks/post-checkout"] {
            let change = fixture.set(bad, Mode::File, b"x");
            let error = fixture.repo.write_tree(None, &[change]).unwrap_err();
            assert!(matches!(error, GitError::Failed { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn nothing_is_left_in_the_git_directory() {
        let fixture = fixture(ObjectFormat::Sha1);
        let scratch = || {
            let entries = std::fs::read_dir(fixture.repo.git_dir()).unwrap();
            entries.flatten().filter(|e| e.path().to_string_lossy().contains("factory")).count()
        };
        fixture.tree(&[("a", "1")]);
        assert_eq!(scratch(), 0);
        std::mem::forget(fixture.repo.scratch().unwrap());
        assert_eq!(scratch(), 1);
        fixture.repo.remove_leftovers();
        assert_eq!(scratch(), 0);
    }

    #[test]
    fn settings_of_the_repository_start_no_program() {
        let fixture = fixture(ObjectFormat::Sha1);
        let root = fixture.repo.root().to_owned();
        let marker = fixture.dir.path().join("ran");
        let touch = format!("touch {}; cat", marker.display());
        std::fs::write(root.join(".gitattributes"), "* filter=bad diff=bad\n").unwrap();
        std::fs::write(fixture.repo.git_dir().join("info/attributes"), "* filter=bad diff=bad\n")
            .unwrap();
        for key in [
            "core.fsmonitor",
            "filter.bad.clean",
            "filter.bad.smudge",
            "diff.bad.textconv",
            "diff.bad.command",
            "diff.external",
            "core.pager",
            "gpg.program",
            "core.alternateRefsCommand",
        ] {
            git(&root, &["config", key, &touch]);
        }
        git(&root, &["config", "commit.gpgSign", "true"]);
        git(&root, &["config", "log.showSignature", "true"]);
        let hooks = fixture.repo.git_dir().join("hooks");
        std::fs::create_dir_all(&hooks).unwrap();
        for hook in ["reference-transaction", "post-index-change", "post-commit"] {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::write(hooks.join(hook), format!("#!/bin/sh\n{touch}\n")).unwrap();
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(hooks.join(hook), mode).unwrap();
        }
        let (one, two) = (fixture.tree(&[("a", "1\n")]), fixture.tree(&[("a", "2\n")]));
        let head = fixture.head();
        let commit = fixture.commit(&two, &[&head]);
        let repo = &fixture.repo;
        repo.update_ref("refs/heads/factory/x", &commit, None, "test").unwrap();
        repo.log(&head, &commit).unwrap();
        assert!(!repo.diff(&one, &two).unwrap().is_empty());
        assert!(!repo.diff_stat(&one, &two).unwrap().is_empty());
        repo.list(&commit).unwrap();
        assert!(!marker.exists());
        // The same settings do start something when git is not told otherwise.
        git(&root, &["-c", "core.hooksPath=.git/hooks", "update-ref", "refs/heads/y", "HEAD"]);
        assert!(marker.exists(), "the traps were not armed");
    }
}
