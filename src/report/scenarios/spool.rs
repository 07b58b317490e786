//! Keeps the pieces of a report until all are there, and brings them into order.
//!
//! Ten thousand scenarios may print ten kilobytes each: beyond a bound, what is kept in memory of each is
//! three numbers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::id::ScenarioId;
use crate::scenario::Entry;

/// The most that is kept in memory, in bytes.
const IN_MEMORY: usize = 2 << 20;

/// Pieces of a report: in memory while they are small together, and else in a file that has no name, and
/// goes with the process.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    memory: Vec<u8>,
    /// None while all is in memory.
    file: Option<io::Result<BufWriter<File>>>,
    length: u64,
    /// Place, offset and length of every piece, as they came.
    pieces: Vec<(usize, u64, usize)>,
    places: BTreeMap<ScenarioId, usize>,
}

impl Spool {
    /// Begins one whose file would be in the directory `dir`; a failure is told at the end.
    pub(super) fn begin(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            memory: Vec::new(),
            file: None,
            length: 0,
            pieces: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Says in which order the pieces belong; others follow as they come.
    pub(super) fn order(&mut self, entries: &[&Entry]) {
        let ids = entries.iter().map(|entry| entry.id.clone());
        self.places = ids.enumerate().map(|(place, id)| (id, place)).collect();
    }

    /// Adds the piece of a scenario.
    pub(super) fn add(&mut self, id: &ScenarioId, piece: &[u8]) {
        if self.file.is_none() && self.memory.len() + piece.len() > IN_MEMORY {
            self.file = Some(tempfile::tempfile_in(&self.dir).and_then(|file| {
                let mut file = BufWriter::new(file);
                file.write_all(&std::mem::take(&mut self.memory))?;
                Ok(file)
            }));
        }
        let written = match &mut self.file {
            None => {
                self.memory.extend_from_slice(piece);
                Ok(())
            }
            Some(Ok(file)) => file.write_all(piece),
            Some(Err(_)) => return,
        };
        match written {
            Ok(()) => {
                let place = self.places.get(id).copied().unwrap_or(usize::MAX);
                self.pieces.push((place, self.length, piece.len()));
                self.length += piece.len() as u64;
            }
            Err(error) => self.file = Some(Err(error)),
        }
    }

    /// Writes the pieces in their order, with `between` between two.
    ///
    /// # Errors
    /// They could not be kept, or can't be written.
    pub(super) fn copy_to(self, to: &mut dyn Write, between: &[u8]) -> io::Result<()> {
        let file = match self.file {
            Some(file) => Some(file?.into_inner().map_err(io::IntoInnerError::into_error)?),
            None => None,
        };
        let mut pieces = self.pieces;
        pieces.sort_by_key(|(place, _, _)| *place);
        let mut one = Vec::new();
        for (at, (_, offset, length)) in pieces.into_iter().enumerate() {
            if at > 0 {
                to.write_all(between)?;
            }
            if let Some(file) = &file {
                one.resize(length, 0);
                file.read_exact_at(&mut one, offset)?;
                to.write_all(&one)?;
            } else {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                to.write_all(&self.memory[start..start + length])?;
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
    fn pieces_come_whole_from_memory_and_from_a_file() {
        for lengths in [[1, 0, 700, 3], [IN_MEMORY, 0, 1, 700], [700, 1, IN_MEMORY, 0]] {
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
        spool.add(&entry("b").id, &[b'x'; IN_MEMORY]);
        spool.add(&entry("c").id, b"x");
        assert_eq!(
            spool.copy_to(&mut Vec::new(), b"").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
