//! What a tree was last set to, kept beside it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::git::{Mode, ObjectFormat, Oid};
use crate::wall::at::Signature;

/// Values by path, sorted by bytes.
#[derive(Debug, Clone)]
pub(super) struct Sorted<T>(pub(super) Vec<(Vec<u8>, T)>);

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Sorted<T> {
    /// Sorts `items`; of two at one path the first stays.
    pub(super) fn from(mut items: Vec<(Vec<u8>, T)>) -> Self {
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        items.dedup_by(|(a, _), (b, _)| a == b);
        Self(items)
    }

    pub(super) fn find(&self, path: &[u8]) -> Option<usize> {
        self.0.binary_search_by(|(at, _)| at.as_slice().cmp(path)).ok()
    }

    pub(super) fn get(&self, path: &[u8]) -> Option<&T> {
        self.find(path).map(|index| &self.0[index].1)
    }

    /// Returns whether something lies in the directory whose path, slash included, is `prefix`.
    pub(super) fn holds_below(&self, prefix: &[u8]) -> bool {
        let first = self.0.partition_point(|(at, _)| at.as_slice() < prefix);
        self.0.get(first).is_some_and(|(at, _)| at.starts_with(prefix))
    }
}

/// What was put at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) mode: Mode,
    /// The blob that the tree has there.
    pub(super) oid: Oid,
    /// The blob id of what was put there: another where the tree's blob points to a large file
    /// that lies elsewhere.
    pub(super) content: Oid,
    /// Whether it is such a pointer, left as it is because the large file is not here.
    pub(super) pointer: bool,
    /// None where it could not be trusted to tell a later change.
    pub(super) signature: Option<Signature>,
}

/// Everything that is known of a tree.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) format: ObjectFormat,
    pub(super) entries: Sorted<Entry>,
    /// Where other repositories' commits stand.
    pub(super) submodules: Vec<Vec<u8>>,
    /// The topmost ignored paths that were kept.
    pub(super) ignored: Sorted<()>,
    /// What the bytes of converted files hang on; empty where there are none.
    pub(super) fingerprint: String,
}

const HEADER: &str = "dark-factory tree 1";

impl Manifest {
    /// Reads the manifest at `path`; none where there is none or it is damaged, as after a power
    /// failure: the tree is then compared by its bytes.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut records = bytes.split(|byte| *byte == 0);
        let format = match std::str::from_utf8(records.next()?).ok()?.strip_prefix(HEADER)? {
            " sha1" => ObjectFormat::Sha1,
            " sha256" => ObjectFormat::Sha256,
            _ => return None,
        };
        let (mut entries, mut submodules, mut ignored) = (Vec::new(), Vec::new(), Vec::new());
        let mut fingerprint = String::new();
        for (count, record) in records.enumerate() {
            let tab = record.iter().position(|byte| *byte == b'\t')?;
            let (head, path) = (std::str::from_utf8(&record[..tab]).ok()?, &record[tab + 1..]);
            let words: Vec<&str> = head.split(' ').collect();
            match words.as_slice() {
                ["end", total] => {
                    let complete = total.parse() == Ok(count);
                    let entries = Sorted::from(entries);
                    let ignored = Sorted::from(ignored);
                    return complete.then_some(Self {
                        format,
                        entries,
                        submodules,
                        ignored,
                        fingerprint,
                    });
                }
                ["converted", by] => fingerprint = (*by).to_owned(),
                ["submodule"] => submodules.push(path.to_vec()),
                ["ignored"] => ignored.push((path.to_vec(), ())),
                [mode, oid, content, pointer, rest @ ..] => {
                    let oid = Oid::parse(oid).ok()?;
                    let content = match *content {
                        "=" => oid.clone(),
                        other => Oid::parse(other).ok()?,
                    };
                    let signature = match rest {
                        [size, modified, changed, inode] => Some(Signature {
                            size: size.parse().ok()?,
                            modified: modified.parse().ok()?,
                            changed: changed.parse().ok()?,
                            inode: inode.parse().ok()?,
                        }),
                        _ => None,
                    };
                    let mode = match *mode {
                        "f" => Mode::File,
                        "x" => Mode::Executable,
                        "l" => Mode::Symlink,
                        _ => return None,
                    };
                    let pointer = *pointer == "p";
                    entries.push((path.to_vec(), Entry { mode, oid, content, pointer, signature }));
                }
                _ => return None,
            }
        }
        None
    }

    fn print(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160 * self.entries.0.len() + 100);
        let mut record = |head: std::fmt::Arguments<'_>, path: &[u8]| {
            // Writing to a vector does not fail.
            let _ = out.write_fmt(head);
            out.extend_from_slice(path);
        };
        record(format_args!("{HEADER} {}", self.format.as_str()), b"");
        for (path, entry) in &self.entries.0 {
            let mode = match entry.mode {
                Mode::File | Mode::Submodule => 'f',
                Mode::Executable => 'x',
                Mode::Symlink => 'l',
            };
            let content = if entry.content == entry.oid { "=" } else { entry.content.as_str() };
            let pointer = if entry.pointer { 'p' } else { '-' };
            record(format_args!("\0{mode} {} {content} {pointer}", entry.oid), b"");
            if let Some(Signature { size, modified, changed, inode }) = entry.signature {
                record(format_args!(" {size} {modified} {changed} {inode}"), b"");
            }
            record(format_args!("\t"), path);
        }
        for path in &self.submodules {
            record(format_args!("\0submodule\t"), path);
        }
        for (path, ()) in &self.ignored.0 {
            record(format_args!("\0ignored\t"), path);
        }
        let mut count = self.entries.0.len() + self.submodules.len() + self.ignored.0.len();
        if !self.fingerprint.is_empty() {
            record(format_args!("\0converted {}\t", self.fingerprint), b"");
            count += 1;
        }
        record(format_args!("\0end {count}\t"), b"");
        out
    }

    /// Writes the manifest beside `path` and renames it.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let new = with_suffix(path, ".new");
        fs::write(&new, self.print())?;
        fs::rename(&new, path)
    }
}

/// Returns `path` with `suffix` at the end of its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let oid = |digit: &str| Oid::parse(&digit.repeat(40)).unwrap();
        let signature = Some(Signature { size: 3, modified: -1, changed: i64::MAX, inode: 9 });
        let entry = |mode, content, pointer, signature| Entry {
            mode,
            oid: oid("a"),
            content: oid(content),
            pointer,
            signature,
        };
        Manifest {
            format: ObjectFormat::Sha1,
            entries: Sorted::from(vec![
                (b"b\n\t\xff".to_vec(), entry(Mode::File, "a", false, signature)),
                (b"a".to_vec(), entry(Mode::Executable, "b", false, None)),
                (b"c/d".to_vec(), entry(Mode::Symlink, "a", true, signature)),
            ]),
            submodules: vec![b"sub".to_vec()],
            ignored: Sorted::from(vec![(b"target".to_vec(), ())]),
            fingerprint: "0a".to_owned(),
        }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was() {
        let (before, bytes) = (manifest(), manifest().print());
        let after = Manifest::parse(&bytes).unwrap();
        assert_eq!(after.entries.0, before.entries.0);
        assert_eq!(after.submodules, before.submodules);
        assert_eq!(after.ignored.0, before.ignored.0);
        assert_eq!(after.fingerprint, before.fingerprint);
        assert!(after.entries.holds_below(b"c/") && !after.entries.holds_below(b"a/"));
    }

    #[test]
    fn a_manifest_that_was_cut_short_is_none() {
        let bytes = manifest().print();
        for length in 0..bytes.len() - 1 {
            assert!(Manifest::parse(&bytes[..length]).is_none(), "{length}");
        }
    }
}
