//! What has to be on disk for a tree: its own files, those of its submodules, and large files that
//! it only points to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::manifest::Sorted;
use super::{TreeError, is_git_directory, shown};
use crate::git::{BlobHasher, Conversions, GitError, Mode, ObjectFormat, Oid, Repo, Tree};
use crate::id::hex;
use crate::text::{TreePath, plural};
use crate::wall::at::MAX_DEPTH;

/// A file or link that has to be there.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) mode: Mode,
    pub(super) oid: Oid,
    /// Which of [`Wants::sources`] has the blob.
    pub(super) source: usize,
    /// How many bytes of its path lead to that source's own tree.
    pub(super) below: usize,
    /// Whether its content is kept in large file storage.
    pub(super) is_large: bool,
}

/// All that has to be there.
pub(super) struct Wants {
    pub(super) files: Sorted<Wanted>,
    /// Directories that have to be there though nothing is in them.
    pub(super) empty: Sorted<()>,
    pub(super) submodules: Vec<Vec<u8>>,
    pub(super) sources: Vec<Repo>,
    /// How the files of each source are converted; empty where nobody asked.
    pub(super) conversions: Vec<Option<Conversions>>,
    pub(super) notices: Vec<String>,
}

/// Submodules of submodules are followed this far.
const NESTING: usize = 8;

impl Wants {
    /// Gathers what `tree` of `repo` asks for.
    pub(super) fn gather(repo: &Repo, tree: &Tree) -> Result<Self, TreeError> {
        Self::gathered(repo, tree, false)
    }

    /// Gathers what `tree` of `repo` asks for, and how its files are converted.
    pub(super) fn gather_converted(repo: &Repo, tree: &Tree) -> Result<Self, TreeError> {
        Self::gathered(repo, tree, true)
    }

    fn gathered(repo: &Repo, tree: &Tree, converted: bool) -> Result<Self, TreeError> {
        let mut gathering = Gathering { files: Vec::new(), wants: Self::empty(repo), converted };
        let checkout = Some(repo.root().to_owned());
        gathering.add(0, tree, b"", checkout.as_deref(), 0)?;
        let Gathering { files, mut wants, .. } = gathering;
        wants.files = Sorted::from(files);
        wants.submodules.sort();
        Ok(wants)
    }

    fn empty(repo: &Repo) -> Self {
        Self {
            files: Sorted::default(),
            empty: Sorted::default(),
            submodules: Vec::new(),
            sources: vec![repo.clone()],
            conversions: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Whether something has to be in the directory whose path, slash included, is `prefix`, or
    /// the directory itself has to be there.
    pub(super) fn need_directory(&self, prefix: &[u8]) -> bool {
        self.files.holds_below(prefix)
            || self.empty.holds_below(prefix)
            || self.empty.find(&prefix[..prefix.len() - 1]).is_some()
    }

    /// Returns how the files of a source are converted; none where they are not.
    pub(super) fn conversions(&self, source: usize) -> Option<&Conversions> {
        self.conversions.get(source)?.as_ref()
    }

    /// Returns what the bytes of all converted files hang on; empty where there are none.
    pub(super) fn fingerprint(&self) -> String {
        let all = self.conversions.iter().flatten().map(Conversions::fingerprint);
        all.collect::<Vec<_>>().join("-")
    }
}

/// Returns a sentence for each submodule of `tree` that is not on this machine: with what to do. The
/// trees that are set to `tree` have nothing in its place.
///
/// # Errors
/// An object is missing, or git failed.
pub fn missing_submodules(repo: &Repo, tree: &Tree) -> Result<Vec<String>, TreeError> {
    if !tree.values().any(|entry| entry.mode == Mode::Submodule) {
        return Ok(Vec::new());
    }
    Wants::gather(repo, tree).map(|wants| wants.notices)
}

/// Says which files of `tree` are kept in large file storage and not on this machine, with what to do; none where all
/// are here. The trees that are set to `tree` have pointers in their place.
///
/// # Errors
/// An object is missing, or git failed.
pub fn missing_large_files(repo: &Repo, tree: &Tree) -> Result<Option<String>, GitError> {
    let Some(conversions) = repo.conversions(tree)?.filter(Conversions::may_have_large) else {
        return Ok(None);
    };
    let known = conversions.of(tree.keys().map(TreePath::as_bytes))?;
    let large: Vec<(&TreePath, &Oid)> = tree
        .iter()
        .zip(known)
        .filter(|((_, entry), known)| known.is_large && entry.mode.is_file())
        .map(|((path, entry), _)| (path, &entry.oid))
        .collect();
    let mut missing = Vec::new();
    repo.read_blobs(large.iter().map(|(_, oid)| (*oid).clone()), &mut |index, bytes| {
        if Pointer::parse(bytes).is_some_and(|pointer| pointer.locate(repo).is_none()) {
            missing.push(large[index].0.as_bytes().to_vec());
        }
        Ok(())
    })?;
    Ok(left_as_pointers(&missing))
}

/// Says that large files are not here; none where `paths` is empty.
pub(super) fn left_as_pointers(paths: &[Vec<u8>]) -> Option<String> {
    let first = paths.first()?;
    Some(format!(
        "{} left as a pointer, `{}` first: not on this machine; run `git lfs fetch` and start again",
        plural(paths.len(), "Git LFS file"),
        shown(first),
    ))
}

/// Returns what the submodules of `tree` have at `paths`, which need not be sorted: for each that
/// is there its mode and bytes.
///
/// # Errors
/// An object is missing, or git failed.
pub fn files_of_submodules(
    repo: &Repo,
    tree: &Tree,
    paths: &[TreePath],
) -> Result<BTreeMap<TreePath, (Mode, Vec<u8>)>, TreeError> {
    let mut files = BTreeMap::new();
    if paths.is_empty() {
        return Ok(files);
    }
    let wants = Wants::gather(repo, tree)?;
    for path in paths {
        let Some(at) = wants.files.find(path.as_bytes()) else { continue };
        let wanted = &wants.files.0[at].1;
        // The first source is the repository itself.
        if wanted.source == 0 {
            continue;
        }
        wants.sources[wanted.source].read_blobs([wanted.oid.clone()], &mut |_, bytes| {
            files.insert(path.clone(), (wanted.mode, bytes.to_vec()));
            Ok(())
        })?;
    }
    Ok(files)
}

struct Gathering {
    files: Vec<(Vec<u8>, Wanted)>,
    wants: Wants,
    converted: bool,
}

impl Gathering {
    fn add(
        &mut self,
        source: usize,
        tree: &Tree,
        prefix: &[u8],
        checkout: Option<&Path>,
        depth: usize,
    ) -> Result<(), TreeError> {
        if self.converted {
            self.wants.conversions.push(self.wants.sources[source].conversions(tree)?);
        }
        let large: BTreeSet<&TreePath> = match self.wants.conversions(source) {
            Some(conversions) if conversions.may_have_large() => {
                let known = conversions.of(tree.keys().map(TreePath::as_bytes))?;
                let known = tree.keys().zip(known).filter(|(_, known)| known.is_large);
                known.map(|(path, _)| path).collect()
            }
            _ => BTreeSet::new(),
        };
        let mut submodules = Vec::new();
        for (path, entry) in tree {
            check(path)?;
            let at = [prefix, path.as_bytes()].concat();
            match entry.mode {
                Mode::Submodule => submodules.push((path, at, entry.oid.clone())),
                mode => {
                    let (below, is_large) = (prefix.len(), large.contains(path));
                    let oid = entry.oid.clone();
                    self.files.push((at, Wanted { mode, oid, source, below, is_large }));
                }
            }
        }
        if submodules.is_empty() {
            return Ok(());
        }
        let names: HashMap<Vec<u8>, String> = match gitmodules(tree) {
            Some(blob) => self.wants.sources[source].submodule_names(blob)?.into_iter().collect(),
            None => HashMap::new(),
        };
        for (path, at, commit) in submodules {
            self.wants.submodules.push(at.clone());
            let owner = &self.wants.sources[source];
            let name = names.get(path.as_bytes()).map(String::as_str);
            let inner = checkout.map(|checkout| path.under(checkout));
            let found = (depth < NESTING)
                .then(|| find_submodule(owner, name, inner.as_deref(), &commit))
                .flatten();
            let Some(found) = found else {
                self.wants.notices.push(format!(
                    "submodule `{path}` is empty: commit {} is not on this machine; run `git submodule update --init --recursive {path}` and start again",
                    commit.short()
                ));
                self.wants.empty.0.push((at, ()));
                continue;
            };
            let tree = found.list(&commit)?;
            self.wants.sources.push(found);
            let source = self.wants.sources.len() - 1;
            if tree.is_empty() {
                self.wants.empty.0.push((at.clone(), ()));
            }
            self.add(source, &tree, &[&at, &b"/"[..]].concat(), inner.as_deref(), depth + 1)?;
        }
        self.wants.empty = Sorted::from(std::mem::take(&mut self.wants.empty.0));
        Ok(())
    }
}

/// Refuses what git would refuse too: only a tree made by hand has it.
fn check(path: &TreePath) -> Result<(), TreeError> {
    let forbidden = |why| TreeError::Forbidden { path: path.clone(), why };
    if path.components().any(is_git_directory) {
        return Err(forbidden("a git directory is never written"));
    }
    if path.components().count() >= MAX_DEPTH {
        return Err(forbidden("directories may nest 127 deep"));
    }
    Ok(())
}

fn gitmodules(tree: &Tree) -> Option<&Oid> {
    let path = TreePath::parse(".gitmodules").ok()?;
    tree.get(&path).filter(|entry| entry.mode != Mode::Symlink).map(|entry| &entry.oid)
}

/// Finds a repository on this machine that has the submodule's commit: the one that git keeps
/// for it, or the one in the person's checkout.
fn find_submodule(
    owner: &Repo,
    name: Option<&str>,
    inner: Option<&Path>,
    commit: &Oid,
) -> Option<Repo> {
    let kept = name.map(Path::new).filter(|name| {
        let mut parts = name.components().peekable();
        parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
    });
    let kept = kept.into_iter().flat_map(|name| {
        [owner.common_dir(), owner.git_dir()].map(|dir| dir.join("modules").join(name))
    });
    kept.chain(inner.map(|inner| inner.join(".git"))).find_map(|git_dir| {
        let repo = owner.beside(&git_dir).ok()?;
        let has = repo.format() == owner.format() && repo.resolve(commit.as_str()).ok()?.is_some();
        has.then_some(repo)
    })
}

/// A blob that stands for a large file kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer {
    sha256: String,
    size: u64,
}

/// A pointer is shorter than this.
pub(super) const POINTER_LIMIT: u64 = 1024;

impl Pointer {
    /// Reads a pointer; none where the bytes are an ordinary file.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() as u64 >= POINTER_LIMIT
            || !bytes.starts_with(b"version https://git-lfs.github.com/spec/v1\n")
        {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let sha256 = value("oid sha256:")?;
        let digits = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
        let size = value("size ")?.parse().ok()?;
        digits.then(|| Self { sha256: sha256.to_ascii_lowercase(), size })
    }

    /// Returns where `repo` keeps the large file; none where it is not there in the right size.
    pub(super) fn locate(&self, repo: &Repo) -> Option<PathBuf> {
        let (a, b) = (&self.sha256[..2], &self.sha256[2..4]);
        let path = repo.common_dir().join("lfs/objects").join(a).join(b).join(&self.sha256);
        let found = std::fs::symlink_metadata(&path).ok()?;
        (found.is_file() && found.len() == self.size).then_some(path)
    }

    /// Copies the large file from `path` to `to`, and returns its blob id; none where its bytes
    /// are not those that the pointer names.
    pub(super) fn copy(
        &self,
        format: ObjectFormat,
        path: &Path,
        to: &mut dyn Write,
    ) -> io::Result<Option<Oid>> {
        let mut from = File::open(path)?;
        let (mut blob, mut digest) = (BlobHasher::new(format, self.size), Sha256::new());
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    blob.update(&buffer[..count]);
                    digest.update(&buffer[..count]);
                    to.write_all(&buffer[..count])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok((hex(&digest.finalize()) == self.sha256).then(|| blob.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_pointer_is_one() {
        let digits = "ab".repeat(32);
        let text =
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digits}\nsize 12\n");
        let pointer = Pointer { sha256: digits, size: 12 };
        assert_eq!(Pointer::parse(text.as_bytes()), Some(pointer));
        for bad in [&text[1..], &text[..60], "", &text.replace("size 12", "size x")] {
            assert_eq!(Pointer::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Pointer::parse(format!("{text}{}", "x".repeat(1024)).as_bytes()), None);
    }
}
