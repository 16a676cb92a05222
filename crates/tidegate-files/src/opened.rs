//! A file that was opened, in one of its versions.
//!
//! Validators, head and content belong together: all of them are taken from one descriptor, and content that is kept
//! in memory was read between two looks at the file that saw the same. A file that is written to meanwhile is read again.
//! Where content is sent from the disk, this holds when the answer begins: bytes that are written to the file later are sent, too.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::SystemTime;

use tidegate::message::FieldBlock;

use super::validators::{Certainty, Identity, Validators};

/// How often a file is read that changes while it is read. 3: then somebody writes to it all the time, and it is sent
/// from the disk.
const READS_MAX: usize = 3;

/// One version of a file, and the head that describes it.
pub struct OpenedFile {
    pub identity: Identity,
    pub validators: Validators,
    /// The fields of a response with the whole file.
    pub fields: FieldBlock,
    pub place: Place,
    /// Whether another version could have the same identity.
    pub certainty: Certainty,
}

/// The file that another one is a coding of.
pub struct Original {
    /// The tag of the file.
    pub etag: String,
    /// Whether the coding has a dictionary.
    pub has_dictionary: bool,
}

/// The place of a file's content.
pub enum Place {
    /// All of the content is in memory.
    Memory(Arc<[u8]>),
    /// The content is read from the file when it is sent.
    Disk(Arc<File>),
}

impl OpenedFile {
    /// Notes what is known of an open file, and reads its content if that has `content_bytes_max` bytes at most. Of
    /// one that is a coding it takes what of, where that matters.
    ///
    /// # Errors
    /// Returns the error of the system when the file cannot be read.
    pub fn new(
        file: File,
        mut metadata: Metadata,
        content_bytes_max: u64,
        original: Option<Original>,
        describe: impl FnOnce(&Validators) -> FieldBlock,
    ) -> io::Result<OpenedFile> {
        let mut reads = 0;
        loop {
            // Before it is read: what changes afterwards must be told from it.
            let now = SystemTime::now();
            let identity = Identity::of(&metadata);
            let is_short = identity.length <= content_bytes_max && reads < READS_MAX;
            let content = if is_short { Some(read(&file, identity.length)?) } else { None };
            if let Some(content) = &content {
                metadata = file.metadata()?;
                reads += 1;
                // Fewer bytes than the length: it was truncated and filled again meanwhile, or the system makes it up.
                if Identity::of(&metadata) != identity || content.len() as u64 != identity.length {
                    continue;
                }
            }
            let certainty = identity.certainty(now);
            let mut validators = Validators::new(&identity, certainty, now);
            if let Some(Original { etag, has_dictionary }) = original {
                validators = validators.of_coding(etag, has_dictionary);
            }
            let fields = describe(&validators);
            let place = match content {
                Some(content) => Place::Memory(content.into()),
                None => Place::Disk(Arc::new(file)),
            };
            return Ok(OpenedFile { identity, validators, fields, place, certainty });
        }
    }

    /// Whether the file is what it was when it was opened, as far as that can be asked of its descriptor. Content in
    /// memory needs no file.
    pub fn is_unchanged(&self) -> bool {
        match &self.place {
            Place::Memory(_) => true,
            Place::Disk(file) => Identity::of_open(file).is_ok_and(|identity| identity == self.identity),
        }
    }

    /// The memory in bytes that the file takes beside the size of this struct.
    pub fn held_bytes(&self) -> usize {
        let content = match &self.place {
            Place::Memory(content) => content.len(),
            Place::Disk(_) => 0,
        };
        content + self.fields.lines().len() + self.validators.etag.len()
    }
}

/// Reads a file from its start; less than `length` bytes if it has become shorter.
fn read(file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let mut count = 0;
    while count < content.len() {
        match file.read_at(&mut content[count..], count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(count);
    Ok(content)
}
