//! Files that were opened, kept for a moment.
//!
//! ```text
//! asked for within the moment ──▶ sent as it was (one on the disk: if its descriptor says that it has not changed)
//! asked for later ──▶ its path is looked at ──▶ the same version: kept for another moment
//!                                           ──▶ another, or none: forgotten, and opened anew
//! ```
//!
//! A path is always looked at in the way in which it is opened, so no link leads out of the folder at any time. What
//! is kept is bounded in files, memory and descriptors; who has not been asked for since its last turn goes first.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate::gateway::{MemoryAccount, Reservation};
use tidegate::now::Moment;

use super::folder::{Folder, descriptors_allowed};
use super::opened::{OpenedFile, Place};
use super::validators::{Certainty, Identity};

/// How long a file is kept that nobody asks for, as long as there is room; afterwards it goes as soon as others are
/// looked at or kept. 60 s: a page and what belongs to it are asked for within that, and what a crawler has seen is
/// not held forever.
const UNUSED_MAX: Duration = Duration::from_secs(60);
/// Most files of each kind that are forgotten at a time because nobody asks for them. 32: closing as many takes less than
/// a tenth of a millisecond, and a full cache is empty after some hundred requests.
const FORGOTTEN_MAX: usize = 32;
/// Most files of each kind that are sent to the end of their queue at a time. 2: more than one comes in.
const MOVED_MAX: usize = 2;
/// The part of the server's memory that the cache takes at most. A quarter: memory is scarce from three quarters on, so
/// connections keep half of it whatever the cache holds.
const MEMORY_SHARE: usize = 4;
/// The part of the cache that a single file takes at most. An eighth, so that a small cache still holds a few.
const FILE_SHARE: usize = 8;
/// The part of the descriptors of the process that the cache takes at most. An eighth: they are there for connections.
const DESCRIPTORS_SHARE: usize = 8;

/// The bounds of what a [`StaticFiles`](super::StaticFiles) keeps of the files that it has opened.
///
/// ```
/// use std::time::Duration;
/// use tidegate_files::FileCache;
///
/// let patient = FileCache { valid_for: Duration::from_secs(10), ..FileCache::default() };
/// assert!(patient.valid_for > FileCache::default().valid_for);
/// assert_eq!(FileCache::off().valid_for, Duration::ZERO);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCache {
    /// How long a file is sent as it was when it was last looked at; zero keeps nothing. 1 s: nobody notices, and a
    /// file that is asked for a thousand times a second is opened once.
    pub valid_for: Duration,
    /// Most files that are kept. 16,384: ten thousand and room to spare, at some 600 bytes each beside their content.
    pub files_max: usize,
    /// Longest file whose content is kept; of a longer one it is the descriptor, and the system sends it. 16 KiB: up to
    /// there content is copied behind its head, and both leave in one write; 64 KiB cost a tenth more that way than
    /// to have the descriptor looked at and the file sent.
    pub content_bytes_max: u64,
    /// Most memory that is taken, and never more than a quarter of
    /// [`memory_bytes_max`](tidegate::limits::Limits::memory_bytes_max), in whose account it counts. 64 MiB: that
    /// quarter, unless somebody has changed it.
    pub memory_bytes_max: usize,
    /// Most descriptors that are kept, and never more than an eighth of those that the process is allowed (`ulimit -n`).
    /// 512: files longer than [`content_bytes_max`](FileCache::content_bytes_max), for each of which opening costs
    /// little beside sending.
    pub descriptors_max: usize,
}

impl Default for FileCache {
    fn default() -> FileCache {
        FileCache {
            valid_for: Duration::from_secs(1),
            files_max: 16_384,
            content_bytes_max: 16 * 1024,
            memory_bytes_max: 64 << 20,
            descriptors_max: 512,
        }
    }
}

impl FileCache {
    /// Returns bounds that let nothing be kept: each request opens its file.
    pub fn off() -> FileCache {
        FileCache { valid_for: Duration::ZERO, ..FileCache::default() }
    }

    /// Returns the bounds of one of `count` caches in one process.
    pub fn divided(&self, count: usize) -> FileCache {
        FileCache {
            files_max: self.files_max.div_ceil(count),
            memory_bytes_max: self.memory_bytes_max.div_ceil(count),
            descriptors_max: self.descriptors_max.min(descriptors_share()) / count,
            ..self.clone()
        }
    }
}

fn descriptors_share() -> usize {
    descriptors_allowed().unwrap_or(usize::MAX) / DESCRIPTORS_SHARE
}

/// The way in which a file was found for the path that it is kept under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The file stood at the first place that was looked at.
    First,
    /// The file stood at a later place than the first. Another may come to stand before it, so it is looked for anew
    /// each time.
    Later,
}

/// A file that is kept, under the path by which it is asked for.
struct Entry {
    /// The path below the folder where it was found.
    path: PathBuf,
    finding: Finding,
    opened: OpenedFile,
    /// The moment of the last look at the path of the file.
    checked: Moment,
    /// The moment when the file was last asked for.
    used: Moment,
    /// The moment when the file last went to the end of its queue.
    queued: Moment,
    _reservation: Option<Reservation>,
    bytes: usize,
}

/// The path by which a file is asked for: absolute below the folder, decoded, without empty segments.
type Key = Arc<[u8]>;

/// The files that are kept.
pub struct OpenedFiles {
    bounds: FileCache,
    entries: HashMap<Key, Entry>,
    /// The keys of files in memory, in the order in which they are to go.
    in_memory: VecDeque<Key>,
    /// The keys of files with a descriptor, in the same order.
    on_disk: VecDeque<Key>,
    bytes: usize,
}

/// The two kinds of files, each of which has a queue and bounds of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    InMemory,
    OnDisk,
}

impl Kind {
    fn of(opened: &OpenedFile) -> Kind {
        match opened.place {
            Place::Memory(_) => Kind::InMemory,
            Place::Disk(_) => Kind::OnDisk,
        }
    }
}

impl OpenedFiles {
    pub fn new(bounds: FileCache) -> OpenedFiles {
        OpenedFiles {
            bounds: FileCache { descriptors_max: bounds.descriptors_max.min(descriptors_share()), ..bounds },
            entries: HashMap::new(),
            in_memory: VecDeque::new(),
            on_disk: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Length of the longest file whose content is worth reading when it is opened.
    pub fn content_bytes_max(&self, account: Option<&MemoryAccount>) -> u64 {
        let share = self.memory_bytes_max(account) / FILE_SHARE;
        self.bounds.content_bytes_max.min(share as u64)
    }

    fn memory_bytes_max(&self, account: Option<&MemoryAccount>) -> usize {
        let share = account.map_or(usize::MAX, |account| account.bytes_max() / MEMORY_SHARE);
        self.bounds.memory_bytes_max.min(share)
    }

    /// Returns the file of this key, if it was looked at a moment ago.
    #[inline]
    pub fn fresh(&mut self, key: &[u8], now: Moment) -> Option<&OpenedFile> {
        let entry = self.entries.get_mut(key)?;
        if now.since(entry.checked) >= self.bounds.valid_for || !entry.opened.is_unchanged() {
            return None;
        }
        entry.used = now;
        Some(&entry.opened)
    }

    /// Whether the file of this key is kept, and is the same as before; else it is forgotten. Its path is looked at
    /// again, unless that was done a moment ago.
    pub fn renew(&mut self, key: &[u8], folder: &Folder, now: Moment) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let is_fresh = now.since(entry.checked) < self.bounds.valid_for;
        let OpenedFile { identity, certainty, .. } = &entry.opened;
        let is_valid = match is_fresh {
            true => entry.opened.is_unchanged(),
            false => {
                *certainty == Certainty::Certain
                    && entry.finding == Finding::First
                    && is_still_at(&entry.path, identity, folder)
            }
        };
        if !is_valid {
            self.forget(key);
            return false;
        }
        if !is_fresh {
            entry.checked = now;
        }
        entry.used = now;
        self.forget_unused(now);
        true
    }

    /// The path below the folder where the file of this key was found, if it is kept.
    pub fn path(&self, key: &[u8]) -> Option<&Path> {
        self.entries.get(key).map(|entry| &*entry.path)
    }

    /// Returns the file of this key, which was found to be good just now.
    pub fn get(&self, key: &[u8]) -> Option<&OpenedFile> {
        self.entries.get(key).map(|entry| &entry.opened)
    }

    /// Keeps a file, if there is room for it; else gives it back.
    pub fn keep(
        &mut self,
        key: &[u8],
        path: PathBuf,
        finding: Finding,
        opened: OpenedFile,
        now: Moment,
        account: Option<&MemoryAccount>,
    ) -> Result<(), Box<OpenedFile>> {
        self.forget(key);
        let kind = Kind::of(&opened);
        let bytes = size_of::<Entry>() + 3 * key.len() + path.as_os_str().len() + opened.held_bytes();
        // A second change in the same tick would not show.
        let is_kept = self.bounds.valid_for > Duration::ZERO
            && !(kind == Kind::OnDisk && opened.certainty == Certainty::Uncertain);
        if !is_kept || !self.make_room(kind, bytes, self.memory_bytes_max(account), now) {
            return Err(Box::new(opened));
        }
        let key = Key::from(key);
        let _reservation = account.map(|account| account.reserve(bytes));
        let entry =
            Entry { path, finding, opened, checked: now, used: now, queued: now, bytes, _reservation };
        self.bytes += bytes;
        self.queue(kind).push_back(key.clone());
        self.entries.insert(key, entry);
        Ok(())
    }

    /// Forgets everything.
    pub fn forget_all(&mut self) {
        *self = OpenedFiles::new(self.bounds.clone());
    }

    /// Forgets files whose descriptors are held: others need them more.
    pub fn release_descriptors(&mut self) {
        while let Some(key) = self.on_disk.front().cloned() {
            self.forget(&key);
        }
    }

    /// Makes room for a file. Returns whether there is some.
    fn make_room(&mut self, kind: Kind, bytes: usize, memory_bytes_max: usize, now: Moment) -> bool {
        if bytes > memory_bytes_max || kind == Kind::OnDisk && self.bounds.descriptors_max == 0 {
            return false;
        }
        self.forget_unused(now);
        while kind == Kind::OnDisk && self.on_disk.len() >= self.bounds.descriptors_max {
            self.forget_next(Kind::OnDisk);
        }
        while self.entries.len() >= self.bounds.files_max || self.bytes + bytes > memory_bytes_max {
            let next = if self.in_memory.is_empty() { Kind::OnDisk } else { Kind::InMemory };
            if !self.forget_next(next) {
                return false;
            }
        }
        true
    }

    /// Forgets the first file of a queue that was not asked for since it went there. Returns whether there was any.
    fn forget_next(&mut self, kind: Kind) -> bool {
        while let Some(key) = self.queue(kind).front().cloned() {
            if !self.goes_to_the_end(kind, &key) {
                self.forget(&key);
                return true;
            }
        }
        false
    }

    /// Forgets what nobody has asked for in a long time, some of each kind at a time.
    fn forget_unused(&mut self, now: Moment) {
        for kind in [Kind::InMemory, Kind::OnDisk] {
            let (mut forgotten, mut moved) = (0, 0);
            while forgotten < FORGOTTEN_MAX
                && moved < MOVED_MAX
                && let Some(key) = self.queue(kind).front().cloned()
            {
                let is_unused =
                    self.entries.get(&key).is_none_or(|entry| now.since(entry.used) >= UNUSED_MAX);
                if is_unused {
                    self.forget(&key);
                    forgotten += 1;
                } else if self.goes_to_the_end(kind, &key) {
                    moved += 1;
                } else {
                    break;
                }
            }
        }
    }

    /// Moves the first file of a queue to its end, if it was asked for meanwhile.
    fn goes_to_the_end(&mut self, kind: Kind, key: &[u8]) -> bool {
        let entry = self.entries.get_mut(key).filter(|entry| entry.used > entry.queued);
        let Some(entry) = entry else { return false };
        entry.queued = entry.used;
        self.queue(kind).rotate_left(1);
        true
    }

    fn forget(&mut self, key: &[u8]) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.bytes -= entry.bytes;
        let queue = self.queue(Kind::of(&entry.opened));
        match queue.front() {
            Some(front) if **front == *key => drop(queue.pop_front()),
            _ => queue.retain(|other| **other != *key),
        }
    }

    fn queue(&mut self, kind: Kind) -> &mut VecDeque<Key> {
        match kind {
            Kind::InMemory => &mut self.in_memory,
            Kind::OnDisk => &mut self.on_disk,
        }
    }
}

/// Whether a path still leads to the same version of the same file.
fn is_still_at(path: &Path, identity: &Identity, folder: &Folder) -> bool {
    folder.look(path).is_ok_and(|metadata| Identity::of(&metadata) == *identity)
}

#[cfg(test)]
mod tests {
    use tidegate::now::Moment;

    use super::*;
    use crate::recording::{Recorded, ask_at};
    use crate::{Links, StaticFiles};
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::SystemTime;

    /// A folder with short files `0` to `9` of ten bytes, and long ones `long0` to `long9`.
    struct Site {
        folder: PathBuf,
        files: StaticFiles,
        now: Moment,
    }

    impl Site {
        fn new(bounds: FileCache) -> Site {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let folder = std::env::temp_dir().join(format!("tidegate-cache-{}-{number}", std::process::id()));
            fs::create_dir(&folder).unwrap();
            for number in 0..10 {
                fs::write(folder.join(number.to_string()), "0123456789").unwrap();
                fs::write(folder.join(format!("long{number}")), vec![b'x'; 100_000]).unwrap();
            }
            // What has just changed is opened anew each time.
            std::thread::sleep(Duration::from_millis(30));
            let files = StaticFiles::new(&folder).unwrap().file_cache(bounds);
            Site { folder, files, now: Moment::START }
        }

        fn get(&mut self, target: &str) -> Recorded {
            self.pass(Duration::from_millis(1));
            ask_at(self.now, &mut self.files, "GET", target, &[]).unwrap()
        }

        fn pass(&mut self, time: Duration) {
            self.now = self.now + time;
        }

        /// The names that are kept, in order.
        fn kept(&self) -> Vec<String> {
            let keys = self.files.opened.entries.keys();
            let mut names: Vec<_> = keys.map(|key| String::from_utf8_lossy(&key[1..]).into_owned()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    #[test]
    fn what_is_asked_for_stays_and_what_is_not_goes_first() {
        let mut site = Site::new(FileCache { files_max: 3, ..FileCache::default() });
        for target in ["/0", "/1", "/2", "/0", "/3", "/0", "/4"] {
            assert_eq!(site.get(target).text(), "0123456789");
        }
        assert_eq!(site.kept(), ["0", "3", "4"]);
        site.pass(UNUSED_MAX);
        site.get("/5");
        assert!(site.kept().len() < 3);
    }

    #[test]
    fn memory_is_bounded_and_counts_in_the_account() {
        let account = MemoryAccount::with_limit(1 << 20);
        let mut files = OpenedFiles::new(FileCache::default());
        assert_eq!(files.content_bytes_max(Some(&account)), 16 * 1024);
        assert_eq!(files.content_bytes_max(Some(&MemoryAccount::with_limit(1 << 17))), 4 * 1024);
        let site = Site::new(FileCache::off());
        let folder = Folder::open(&site.folder, Links::Inside).unwrap();
        for number in 0..200_u64 {
            fs::write(site.folder.join("0"), vec![b'x'; 10_000]).unwrap();
            let crate::folder::Node::File(found) = folder.find(Path::new("0")).unwrap() else {
                panic!("no file");
            };
            let (file, metadata) = folder.open_file(found, Path::new("0")).unwrap();
            let opened = OpenedFile::new(file, metadata, 32 * 1024, None, |_| Default::default()).unwrap();
            let now = Moment::START + Duration::from_millis(number);
            assert!(
                files
                    .keep(
                        format!("/{number}").as_bytes(),
                        "0".into(),
                        Finding::First,
                        opened,
                        now,
                        Some(&account)
                    )
                    .is_ok()
            );
        }
        assert!(files.bytes > 200_000 && files.bytes <= 1 << 18, "{}", files.bytes);
        assert_eq!((account.bytes(), files.in_memory.len()), (files.bytes, files.entries.len()));
        drop(files);
        assert_eq!(account.bytes(), 0);
    }

    #[test]
    fn what_nobody_asks_for_goes_with_the_next_look() {
        let mut site = Site::new(FileCache::default());
        for number in 0..10 {
            site.get(&format!("/{number}"));
            site.get(&format!("/long{number}"));
        }
        site.pass(UNUSED_MAX - Duration::from_secs(5));
        site.get("/9");
        assert_eq!(site.kept().len(), 20);
        site.pass(Duration::from_secs(6));
        // Looked at again, which is all that a quiet site has.
        site.get("/9");
        assert_eq!(site.kept(), ["9"]);
    }

    #[test]
    fn descriptors_are_bounded_and_given_back() {
        let mut site = Site::new(FileCache { descriptors_max: 3, ..FileCache::default() });
        for number in 0..10 {
            assert_eq!(site.get(&format!("/long{number}")).content.len(), 100_000);
            site.get("/1");
        }
        assert_eq!(site.kept(), ["1", "long7", "long8", "long9"]);
        site.files.opened.release_descriptors();
        assert_eq!(site.kept(), ["1"]);
        let mut none = Site::new(FileCache { descriptors_max: 0, ..FileCache::default() });
        assert_eq!(none.get("/long1").content.len(), 100_000);
        assert!(none.kept().is_empty());
        let divided = FileCache { descriptors_max: 8, files_max: 5, ..FileCache::default() }.divided(3);
        assert_eq!((divided.descriptors_max, divided.files_max), (2, 2));
    }

    #[test]
    fn file_whose_content_is_not_kept_is_never_sent_under_the_tag_of_another() {
        let mut site = Site::new(FileCache::default());
        let before = site.get("/long1").field("ETag").map(str::to_string);
        assert_eq!(site.get("/long1").field("ETag").map(str::to_string), before);
        // In place, and as long as before.
        fs::write(site.folder.join("long1"), vec![b'y'; 100_000]).unwrap();
        let answer = site.get("/long1");
        assert!(answer.content.iter().all(|byte| *byte == b'y'));
        assert_ne!(answer.field("ETag").map(str::to_string), before);
    }

    #[test]
    fn change_that_does_not_show_is_seen_a_moment_later() {
        let mut site = Site::new(FileCache::default());
        let path = site.folder.join("1");
        let past = SystemTime::now() - Duration::from_secs(100);
        fs::write(&path, "abcdefghij").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(past).unwrap();
        let before = site.get("/1");
        // Most likely within the same tick, with the same length and time of modification.
        fs::write(&path, "ABCDEFGHIJ").unwrap();
        file.set_modified(past).unwrap();
        assert_eq!(site.get("/1").text(), "abcdefghij");
        site.pass(Duration::from_secs(1));
        let after = site.get("/1");
        assert_eq!((before.text().as_str(), after.text().as_str()), ("abcdefghij", "ABCDEFGHIJ"));
        assert_ne!(before.field("ETag"), after.field("ETag"));
    }

    #[test]
    fn nothing_is_kept_where_that_is_turned_off() {
        let mut site = Site::new(FileCache::off());
        assert_eq!(site.get("/1").text(), "0123456789");
        fs::write(site.folder.join("1"), "new").unwrap();
        assert_eq!(site.get("/1").text(), "new");
        assert!(site.kept().is_empty());
    }
}
