//! Where a report goes: a stream of the process, or a file.
//!
//! A failure is remembered and told by `close`, so that no reader looks at every write, and one
//! report that can't be written leaves the others alone.

use std::fs::{self, File};
use std::io::{self, LineWriter, Write};
use std::path::{Path, PathBuf};

use crate::report::file::replace;
use crate::report::{Output, WriteError};

/// Where a report goes.
#[derive(Debug)]
pub enum Target<'a> {
    /// A stream, whose failures its owner tells.
    Stream(&'a mut Output),
    /// A stream that is the report's own.
    Own(Output),
    /// A file.
    File(PathBuf),
}

/// A report that is written line by line: whoever follows the file sees each as it comes.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    to: To<'a>,
}

#[derive(Debug)]
enum To<'a> {
    Stream(&'a mut Output),
    Own(Output),
    File(PathBuf, Output),
    Lost(WriteError),
}

impl<'a> Lines<'a> {
    /// Opens the target; a file loses what it held, and its directory is made if it is not there.
    pub(super) fn open(target: Target<'a>) -> Self {
        let to = match target {
            Target::Stream(output) => To::Stream(output),
            Target::Own(output) => To::Own(output),
            Target::File(path) => match create(&path) {
                Ok(file) => To::File(path, Output::new(Box::new(LineWriter::new(file)), false)),
                Err(source) => To::Lost(WriteError::new(&path, source)),
            },
        };
        Self { to }
    }

    pub(super) fn output(&mut self) -> Option<&mut Output> {
        match &mut self.to {
            To::Stream(output) => Some(output),
            To::Own(output) | To::File(_, output) => Some(output),
            To::Lost(_) => None,
        }
    }

    /// Writes a line.
    pub(super) fn line(&mut self, line: impl std::fmt::Display) {
        if let Some(output) = self.output() {
            output.line(line);
        }
    }

    /// Writes bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        if let Some(output) = self.output() {
            output.raw(bytes);
        }
    }

    /// Flushes, and tells whether the report's own file or stream lost anything.
    pub(super) fn close(self) -> Result<(), WriteError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| WriteError::new(&path, source)
        };
        match self.to {
            To::Stream(output) => {
                // Failures are remembered, and told by its owner.
                let _ = output.flush();
                Ok(())
            }
            To::Own(output) => output.finish().map_err(failed(Path::new("standard error"))),
            To::File(path, output) => output.finish().map_err(failed(&path)),
            To::Lost(error) => Err(error),
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    File::create(path)
}

impl Target<'_> {
    /// Writes a whole report: a file is made beside the old one and takes its place.
    ///
    /// # Errors
    /// The report's own file or stream can't be written.
    pub(super) fn write(
        self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), WriteError> {
        match self {
            Target::Stream(output) => write(&mut Raw(output))
                .map_err(|error| WriteError::new(Path::new("standard output"), error)),
            Target::Own(mut output) => write(&mut Raw(&mut output))
                .and_then(|()| output.finish())
                .map_err(|error| WriteError::new(Path::new("standard error"), error)),
            Target::File(path) => replace(&path, write),
        }
    }
}

/// Writes what commands no terminal, and is not to be searched for what does.
struct Raw<'a>(&'a mut Output);

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.raw(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
