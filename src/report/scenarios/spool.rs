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

/// The most that is read at once, in bytes.
const AT_ONCE: u64 = 2 << 20;

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
        let Ok(file) = &mut self.file else { return };
        match file.write_all(piece) {
            Ok(()) => {
                let place = self.places.get(id).copied().unwrap_or(usize::MAX);
                self.pieces.push((place, self.length, piece.len()));
                self.length += piece.len() as u64;
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
        // A spool of common size is read at once: the order of the pieces is not that of the file.
        let mut whole = Vec::new();
        if self.length <= AT_ONCE {
            whole.resize(usize::try_from(self.length).unwrap_or(usize::MAX), 0);
            file.read_exact_at(&mut whole, 0)?;
        }
        let mut one = Vec::new();
        for (at, (_, offset, length)) in pieces.into_iter().enumerate() {
            if at > 0 {
                to.write_all(between)?;
            }
            if self.length <= AT_ONCE {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                to.write_all(&whole[start..start + length])?;
            } else {
                one.resize(length, 0);
                file.read_exact_at(&mut one, offset)?;
                to.write_all(&one)?;
            }
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
    fn pieces_come_whole_when_they_are_read_at_once_and_when_not() {
        let much = usize::try_from(AT_ONCE).unwrap();
        for lengths in [[1, 0, 700, 3], [much, 0, 1, 700]] {
            let dir = tempfile::tempdir().unwrap();
            let mut spool = Spool::begin(dir.path());
            let entries = ["a", "b", "c", "d"].map(entry);
            spool.order(&entries.each_ref());
            let pieces: Vec<Vec<u8>> =
                (b'a'..).zip(lengths).map(|(byte, length)| vec![byte; length]).collect();
            for at in [2, 0, 3, 1] {
                spool.add(&entries[at].id, &pieces[at]);
            }
            let mut out = Vec::new();
            spool.copy_to(&mut out, b"|").unwrap();
            assert!(out == pieces.join(&b'|'));
        }
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
