//! What the agent has before it: the text files of its own tree, as far as they are looked at.
//!
//! Held only while a mask learns them; what stays are hashes of what the exam has too.

use crate::scenario::{Holdout, ScenarioSet};

/// The largest file that is looked at, in bytes.
const LARGEST: usize = 512 * 1024;

/// How many bytes of all files together are looked at.
const ALL: usize = 16 * 1024 * 1024;

/// The most files of which anything is kept.
const FILES: usize = 50_000;

/// Where the factory writes; nothing there is the agent's.
const FACTORY: &str = "artifacts/factory/";

/// The agent's own files, for [`Mask::knowing`](super::Mask::knowing).
///
/// Whoever fills it leaves out the scenarios; a file that holds an evaluation word for word, which
/// the agent is not given either, is left out here.
#[derive(Debug)]
pub struct AgentTree {
    exam: Holdout,
    files: Vec<(String, String)>,
    bytes: usize,
}

impl AgentTree {
    /// Returns an empty one, for a product that is judged by `set`.
    pub fn new(set: &ScenarioSet) -> Self {
        Self { exam: Holdout::of(set), files: Vec::new(), bytes: 0 }
    }

    /// Returns whether a file of `size` bytes at `path` would be looked at.
    pub fn takes(&self, path: &str, size: u64) -> bool {
        let room = LARGEST.min(ALL - self.bytes);
        let fits = usize::try_from(size).is_ok_and(|size| size <= room);
        fits && self.files.len() < FILES && !path.starts_with(FACTORY)
    }

    /// Adds the file at `path`, relative to the tree's root, if it is text and there is room.
    pub fn add(&mut self, path: &str, bytes: &[u8]) {
        if !self.takes(path, bytes.len() as u64) {
            return;
        }
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if text.contains('\0') || self.exam.find(bytes).is_some() {
            return;
        }
        self.bytes += bytes.len();
        self.files.push((path.to_owned(), text.to_owned()));
    }

    /// Returns the paths of what is kept.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(path, _)| path.as_str())
    }

    /// Returns the files, each with its path.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feedback::samples;

    #[test]
    fn a_copy_of_the_exam_what_is_no_text_and_the_factorys_files_are_left_out() {
        let code = "test \"$(python3 -m taskli count --all)\" = 'seven tasks'\n";
        let mut tree = AgentTree::new(&samples::set(&[("counts", code)]));
        tree.add("copy.sh", code.as_bytes());
        tree.add("artifacts/factory/feedback_iter_1.md", b"# Feedback\n");
        tree.add("logo.png", b"\x89PNG\0\0");
        tree.add("large.txt", &vec![b'a'; LARGEST + 1]);
        tree.add("taskli.py", b"import os\n");
        assert_eq!(tree.files().collect::<Vec<_>>(), [("taskli.py", "import os\n")]);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let mut tree = AgentTree::new(&samples::set(&[]));
        for n in 0..100 {
            tree.add(&format!("{n}.txt"), &vec![b'a'; LARGEST]);
        }
        assert_eq!(tree.files().count(), ALL / LARGEST);
    }
}
