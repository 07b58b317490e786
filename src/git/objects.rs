//! Blobs and trees: reading and writing them, many at a time.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::thread;

use super::command::{failed, fed, output};
use super::repo::{oid_line, unread};
use super::tree::parse_listing;
use super::{Change, GitError, Oid, Repo, Tree};
use crate::process::Piped;

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
        oid_line("rev-parse", answer.stdout)
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
            Piped::open(&call).map_err(|error| GitError::NotStarted { why: error.to_string() })?;
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
        let index = scratch.path().join("index");
        let with_index = |command: &str| {
            let mut call = self.plumbing(command);
            call.env.insert("GIT_INDEX_FILE".into(), index.clone().into());
            call
        };
        let read = with_index("read-tree");
        let read = match base {
            Some(base) => read.arg(base.as_str()),
            None => read.arg("--empty"),
        };
        output(&read, "read-tree")?;
        if !changes.is_empty() {
            let update = with_index("update-index").args(["-z", "--index-info"]);
            output(&fed(update, self.index_info(changes)), "update-index")?;
        }
        oid_line("write-tree", output(&with_index("write-tree"), "write-tree")?)
    }

    fn index_info(&self, changes: &[Change]) -> Vec<u8> {
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
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let size: u64 = match words.as_slice() {
            [_, "blob", size] => size.parse().map_err(|_| unread("cat-file", &line))?,
            [oid, "missing"] => return Err(GitError::Missing { oid: (*oid).to_owned() }),
            _ => return Err(unread("cat-file", &line)),
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
