//! An output stream that somebody may stop reading at any time.

use std::io::{self, IsTerminal as _, Write};

use anstream::adapter::StripBytes;

/// Standard output or standard error, with colours where the reader can show them.
///
/// A reader that has gone (`| head`) is no failure: what is written is then thrown away. Any other
/// failure is remembered, so that writers need not look at every line, and told by
/// [`Output::finish`].
pub struct Output {
    stream: Box<dyn Write + Send>,
    styled: bool,
    /// Where in an escape sequence the last write ended.
    strip: StripBytes,
    closed: bool,
    failed: Option<io::Error>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("styled", &self.styled).finish_non_exhaustive()
    }
}

impl Output {
    /// Returns standard output; plain if the person wants no colours, or it is no terminal.
    pub fn stdout(no_color: bool) -> Self {
        Self::new(Box::new(io::stdout()), !no_color && io::stdout().is_terminal())
    }

    /// Returns standard error; plain if the person wants no colours, or it is no terminal.
    pub fn stderr(no_color: bool) -> Self {
        Self::new(Box::new(io::stderr()), !no_color && io::stderr().is_terminal())
    }

    /// Returns an output to `stream`, with colours if `styled`.
    pub fn new(stream: Box<dyn Write + Send>, styled: bool) -> Self {
        Self { stream, styled, strip: StripBytes::new(), closed: false, failed: None }
    }

    /// Returns whether colours are shown.
    pub fn is_styled(&self) -> bool {
        self.styled
    }

    /// Writes a line.
    pub fn line(&mut self, line: impl std::fmt::Display) {
        // Failures are remembered by `write`.
        let _ = writeln!(self, "{line}");
    }

    /// Writes bytes as they are, whatever they command a terminal.
    pub fn raw(&mut self, bytes: &[u8]) {
        if !self.closed && self.failed.is_none() {
            let result = self.stream.write_all(bytes);
            self.note(result);
        }
    }

    /// Flushes, and tells whether anything was lost.
    ///
    /// # Errors
    /// The first failure of a write that was not due to the reader having gone.
    pub fn finish(mut self) -> io::Result<()> {
        let _ = self.flush();
        self.failed.map_or(Ok(()), Err)
    }

    fn note(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.closed = true,
            Err(error) => _ = self.failed.get_or_insert(error),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.styled {
            self.raw(bytes);
        } else {
            let mut strip = std::mem::take(&mut self.strip);
            strip.strip_next(bytes).for_each(|part| self.raw(part));
            self.strip = strip;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.closed && self.failed.is_none() {
            let result = self.stream.flush();
            self.note(result);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut output = Output::new(Box::new(writer), false);
        output.line("lost");
        output.line("lost");
        output.finish().unwrap();
    }

    #[test]
    fn colours_are_left_out_where_nobody_sees_them_and_raw_bytes_are_not_touched() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut output = Output::new(Box::new(file.reopen().unwrap()), false);
        output.line("\u{1b}[31mred\u{1b}[0m");
        output.raw(b"\x1b[31m\xff\n");
        output.finish().unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"red\n\x1b[31m\xff\n");
    }

    #[test]
    fn a_full_disk_is_told_at_the_end() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut output = Output::new(Box::new(full), false);
        output.line("lost");
        assert_eq!(output.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
