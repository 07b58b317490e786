//! Paths in a git tree: bytes between slashes, as git keeps them.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A path relative to the root of a tree: components of any bytes but NUL and `/`, none of them
/// empty, `.` or `..`. Ordered by bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<u8>);

/// A path that can't stand in a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{shown}` can't be a path in a tree: {why}")]
pub struct TreePathError {
    shown: String,
    why: &'static str,
}

impl TreePath {
    /// Takes `bytes` as a path in a tree.
    ///
    /// # Errors
    /// The path is empty or absolute, or has an empty, `.` or `..` component, or a NUL.
    pub fn parse(bytes: impl Into<Vec<u8>>) -> Result<Self, TreePathError> {
        let bytes = bytes.into();
        let why = if bytes.is_empty() {
            Some("it is empty")
        } else if bytes.contains(&0) {
            Some("it has a NUL")
        } else if bytes.split(|b| *b == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
            Some("it has an empty, `.` or `..` component")
        } else {
            None
        };
        match why {
            Some(why) => Err(TreePathError { shown: Self(bytes).to_string(), why }),
            None => Ok(Self(bytes)),
        }
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the path as the file system takes it, relative.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Returns the place of this path under `root`.
    pub fn under(&self, root: &Path) -> PathBuf {
        root.join(self.as_path())
    }

    /// Returns the components, first to last.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/')
    }

    /// Returns whether the path is `directory` or lies below it.
    pub fn is_within(&self, directory: &TreePath) -> bool {
        self.0
            .strip_prefix(directory.0.as_slice())
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// Returns the path `name` in the directory that this path names.
    ///
    /// # Errors
    /// `name` is no single component.
    pub fn child(&self, name: &[u8]) -> Result<Self, TreePathError> {
        let mut bytes = self.0.clone();
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Self::parse(bytes)
    }
}

impl fmt::Display for TreePath {
    /// Shows the path as text that is safe on a terminal; bytes that are no UTF-8 and control
    /// characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            let valid = chunk.valid();
            if valid.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                f.write_str(valid)?;
            } else {
                f.write_str(&super::visible(valid).replace('\n', "\\n").replace('\t', "\\t"))?;
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_climbs_out_is_refused() {
        for bad in ["", "/etc", "a//b", "a/../b", "./a", "a/"] {
            assert!(TreePath::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_escaped() {
        assert_eq!(TreePath::parse(b"a/\xff\n".to_vec()).unwrap().to_string(), "a/\\xff\\n");
    }

    #[test]
    fn a_sibling_with_the_same_beginning_is_not_within() {
        let directory = TreePath::parse("src").unwrap();
        assert!(TreePath::parse("src/a").unwrap().is_within(&directory));
        assert!(!TreePath::parse("srcs").unwrap().is_within(&directory));
    }
}
