//! Where results go: to stdout, and into files that are opened before anything is measured, so that nobody waits for
//! minutes to hear that a folder does not exist.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A file that a result will be written to.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    file: File,
}

impl Output {
    /// Makes the file.
    ///
    /// # Errors
    /// Returns a sentence when it cannot be written.
    pub fn create(path: &Path) -> Result<Output, String> {
        match File::create(path) {
            Ok(file) => Ok(Output { path: path.to_path_buf(), file }),
            Err(error) => Err(cannot_write(path, &error)),
        }
    }

    /// Writes the whole result.
    ///
    /// # Errors
    /// Returns a sentence when the system takes no more.
    pub fn write(mut self, text: &str) -> Result<(), String> {
        self.file.write_all(text.as_bytes()).map_err(|error| cannot_write(&self.path, &error))
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// Prints a result on stdout.
///
/// # Errors
/// Returns a sentence when that cannot be done, unless nobody reads it any more.
pub(super) fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever has stopped reading has read enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("the result could not be printed: {error}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
