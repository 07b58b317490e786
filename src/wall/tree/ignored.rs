//! Which paths a tree's `.gitignore` files name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// A file larger than this is no list of patterns.
pub(super) const FILE_LIMIT: u64 = 256 * 1024;

/// The `.gitignore` files from the root down to a directory.
#[derive(Default)]
pub(super) struct Ignored {
    /// The length of the path of each one's directory, slash included, and its patterns.
    levels: Vec<(usize, Gitignore)>,
}

impl Ignored {
    /// Adds the file of a directory whose path, slash included, has `length` bytes. Patterns that
    /// make no sense are passed over, as git does.
    pub(super) fn push(&mut self, length: usize, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut builder = GitignoreBuilder::new("");
        for line in text.lines() {
            let _ = builder.add_line(None, line);
        }
        if let Ok(matcher) = builder.build() {
            self.levels.push((length, matcher));
        }
    }

    /// Returns how many files were added, for [`Ignored::truncate`].
    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    /// Takes the files back that were added after the first `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.levels.truncate(len);
    }

    /// Returns whether `path` is named. Whether a directory above it is, is the caller's to know.
    pub(super) fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        for (length, matcher) in self.levels.iter().rev() {
            let below = Path::new(OsStr::from_bytes(&path[*length..]));
            match matcher.matched(below, is_directory) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deeper_files_win_and_anchors_hold() {
        let mut ignored = Ignored::default();
        ignored.push(0, b"\xef\xbb\xbf/target\n*.o\r\n# no\nbuild/\na/b\n[\n");
        for (path, is_directory, expected) in [
            (&b"target"[..], true, true),
            (b"sub/target", true, false),
            (b"x.o", false, true),
            (b"sub/\xff.o", false, true),
            (b"sub/build", true, true),
            (b"sub/build", false, false),
            (b"a/b", false, true),
            (b"c/a/b", false, false),
            (b"# no", false, false),
        ] {
            assert_eq!(ignored.matches(path, is_directory), expected, "{path:?}");
        }
        ignored.push(4, b"!keep.o\n/only\n");
        assert!(!ignored.matches(b"sub/keep.o", false));
        assert!(ignored.matches(b"sub/only", false));
        assert!(!ignored.matches(b"sub/x/only", false));
        ignored.truncate(1);
        assert!(ignored.matches(b"sub/keep.o", false));
    }
}
