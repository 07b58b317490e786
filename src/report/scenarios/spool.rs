//! Keeps the pieces of a report outside of memory until all are there, and brings them into order.
//!
//! Ten thousand scenarios may print ten kilobytes each; what is kept here of each is three numbers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::id::ScenarioId;
use crate::scenario::Entry;

/// Pieces of a report in a file that has no name, and goes with the process.
#[derive(Debug)]
pub(super) struct Spool {
    file: io::Result<BufWriter<File>>,
    length: u64,
    /// Place, offset and length of every piece, as they came.
    pieces: Vec<(usize, u64, usize)>,
    places: BTreeMap<ScenarioId, usize>,
}

impl Spool {
    /// Begins in the directory `dir`; a failure is told at the end.
    pub(super) fn begin(dir: &Path) -> Self {
        let file = tempfile::tempfile_in(dir).map(BufWriter::new);
        Self { file, length: 0, pieces: Vec::new(), places: BTreeMap::new() }
    }

    /// Says in which order the pieces belong; others follow as they come.
    pub(super) fn order(&mut self, entries: &[&Entry]) {
        let ids = entries.iter().map(|entry| entry.id.clone());
        self.places = ids.enumerate().map(|(place, id)| (id, place)).collect();
    }

    /// Adds the piece of a scenario.
    pub(super) fn add(&mut self, id: &ScenarioId, piece: &[u8]) {
        let written = match &mut self.file {
            Ok(file) => file.write_all(piece),
            Err(_) => return,
        };
        self.added(id, written.map(|()| piece.len()));
    }

    /// Adds the piece of a scenario, with `indent` before each of its lines.
    pub(super) fn add_lines(&mut self, id: &ScenarioId, indent: &str, piece: &str) {
        let Ok(file) = &mut self.file else { return };
        let mut length = 0;
        let written = piece.split_inclusive('\n').try_for_each(|line| {
            length += indent.len() + line.len();
            file.write_all(indent.as_bytes())?;
            file.write_all(line.as_bytes())
        });
        self.added(id, written.map(|()| length));
    }

    fn added(&mut self, id: &ScenarioId, written: io::Result<usize>) {
        let place = self.places.get(id).copied().unwrap_or(usize::MAX);
        match written {
            Ok(length) => {
                self.pieces.push((place, self.length, length));
                self.length += length as u64;
            }
            Err(error) => self.file = Err(error),
        }
    }

    /// Writes the pieces in their order, with `between` between two.
    ///
    /// # Errors
    /// They could not be kept, or can't be written.
    pub(super) fn copy_to(self, to: &mut dyn Write, between: &[u8]) -> io::Result<()> {
        let file = self.file?.into_inner().map_err(io::IntoInnerError::into_error)?;
        let mut pieces = self.pieces;
        pieces.sort_by_key(|(place, _, _)| *place);
        let mut buffer = Vec::new();
        for (at, (_, offset, length)) in pieces.into_iter().enumerate() {
            if at > 0 {
                to.write_all(between)?;
            }
            buffer.resize(length, 0);
            file.read_exact_at(&mut buffer, offset)?;
            to.write_all(&buffer)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::entry;
    use super::*;

    #[test]
    fn pieces_come_in_the_order_of_the_entries() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::begin(dir.path());
        let (a, b, c) = (entry("a"), entry("b"), entry("c"));
        spool.order(&[&a, &b]);
        for one in [&c, &b, &a] {
            spool.add(&one.id, one.id.as_str().as_bytes());
        }
        let mut out = Vec::new();
        spool.copy_to(&mut out, b", ").unwrap();
        assert_eq!(out, b"a, b, c");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_is_not_there_is_told_at_the_end() {
        let mut spool = Spool::begin(Path::new("/no/such"));
        spool.add(&entry("a").id, b"x");
        assert_eq!(
            spool.copy_to(&mut Vec::new(), b"").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
