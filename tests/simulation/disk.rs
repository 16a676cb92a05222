//! The disk: temporary files that find no room, and files to send that have shrunk.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use super::application::{OF_CONNECTION, OF_REQUEST};
use super::plan::{Answer, Kind, Script, content};
use crate::conversation::Disk;
use crate::gateway::{Spool, SpoolFile, SpoolRoom};

/// The most that a temporary file can hold, even if the disk is not full.
pub const ROOM_BYTES: usize = 15_000;

/// A disk that can be full, with files that shrink.
pub struct SimulatedDisk {
    scripts: Rc<Vec<Script>>,
    room: Rc<Room>,
    /// Whether whoever transmits the output also sends files.
    sends_files: bool,
}

/// Whether there is room.
#[derive(Default)]
pub struct Room {
    pub is_full: Cell<bool>,
    /// Whether the disk was full at some time.
    pub was_full: Cell<bool>,
}

impl SimulatedDisk {
    pub fn new(scripts: Rc<Vec<Script>>, room: Rc<Room>, sends_files: bool) -> SimulatedDisk {
        SimulatedDisk { scripts, room, sends_files }
    }
}

impl Spool for SimulatedDisk {
    fn create(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        match self.room.is_full.get() {
            true => Err(io::ErrorKind::StorageFull.into()),
            // Some room is left, and then there is none.
            false => Ok(Box::new(SmallFile { bytes: Cursor::default(), room: ROOM_BYTES })),
        }
    }

    /// Promises more than there is, as disks do that others write to.
    fn room(&self) -> SpoolRoom {
        let bytes_left = if self.room.is_full.get() { 0 } else { 2 * ROOM_BYTES as u64 };
        SpoolRoom { bytes_max: u64::MAX, bytes_left }
    }
}

/// A temporary file on a disk where little room is left.
struct SmallFile {
    bytes: Cursor<Vec<u8>>,
    room: usize,
}

impl Write for SmallFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.room = self.room.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for SmallFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(into)
    }
}

impl Seek for SmallFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

impl Disk for SimulatedDisk {
    fn read_at(&mut self, _: &File, offset: u64, bytes: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        let read = file_content(&self.scripts, offset);
        let count = read.len().min(bytes).min(1_000);
        into.extend_from_slice(&read[..count]);
        Ok(count)
    }

    fn sends_files(&self) -> bool {
        self.sends_files
    }
}

/// Returns the content of a file from an offset on.
pub fn file_content(scripts: &[Script], offset: u64) -> &'static [u8] {
    let connection = (offset / OF_CONNECTION) as usize;
    let number = (offset % OF_CONNECTION / OF_REQUEST) as usize;
    let at = (offset % OF_REQUEST) as usize;
    let left = match &scripts[connection].items[number].kind {
        Kind::Good { answer: Answer::File { left, .. }, .. } => *left,
        Kind::Good { answer: Answer::Later(_, then), .. } => match &**then {
            Answer::File { left, .. } => *left,
            _ => 0,
        },
        _ => 0,
    };
    content(connection, number, true, left).get(at..).unwrap_or_default()
}
