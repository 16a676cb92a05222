//! The folder that is served, and the one for nginx's own files; both are removed in the end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Files in a folder: as many as a listing shows.
const ENTRIES: usize = 5_000;
/// The length of a file that nobody reads to its end. It takes no room on the disk.
const LONG_BYTES: u64 = 1 << 30;

pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder; it is also removed when the bench is interrupted.
    pub fn new() -> io::Result<Folder> {
        let folder = Folder(std::env::temp_dir().join(format!("tidegate-attackers-{}", std::process::id())));
        let (own, mut signals) = (folder.0.clone(), Signals::new([SIGHUP, SIGINT, SIGTERM])?);
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // It is below the system's folder for what nobody misses.
                let _ = fs::remove_dir_all(&own);
                std::process::exit(128 + signal);
            }
        });
        let (many, root) = (folder.root().join("many"), folder.root());
        fs::create_dir_all(&many)?;
        fs::create_dir(root.join("upload"))?;
        fs::write(root.join("hello"), "Hello, World!")?;
        File::create(root.join("long"))?.set_len(LONG_BYTES)?;
        for number in 0..ENTRIES {
            File::create(many.join(format!("an-entry-of-a-long-listing-{number:05}")))?;
        }
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn root(&self) -> PathBuf {
        self.0.join("root")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
