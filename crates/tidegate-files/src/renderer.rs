//! A thread that renders listings, and keeps them for a moment.
//!
//! Reading a folder takes as long as the disk likes, and looking at thousands of entries takes milliseconds,
//! which an event loop does not have. The thread begins with the first listing and ends when none was asked
//! for during some seconds; the listings that it kept go with it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use tidegate::gateway::{MemoryAccount, Reservation, Wakeup};
use tidegate::now::Moment;

use super::folder::Folder;
use super::listing;
use super::view::{self, View};

/// How long a page is shown although an entry may have changed, or another one have come in the very tick of
/// the file system's clock in which the folder was read. 1 s: nobody notices, and a client that asks for a
/// folder a thousand times a second gets the same page a thousand times.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// How long the thread waits for the next listing before it ends. 5 s: a client that goes from folder to
/// folder finds the same thread, and an idle server has none.
const IDLE_FOR: Duration = Duration::from_secs(5);
/// Most bytes of pages that are kept; the oldest go first. 4 MiB: some thirty of the longest.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Most listings that are waited for at a time; a request for one more gets 503 and may be repeated. 60: to sort one
/// of the longest kind takes up to half a second, so the last is ready within the 30 s for which a client waits.
const AWAITED_MAX: usize = 60;

/// Identifies a folder in one state: another folder differs, and so does the same one before its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub device: u64,
    pub inode: u64,
    pub modified: Option<SystemTime>,
}

/// The listing of one version of a folder, which is ready or will be.
pub struct Listing {
    folder: Arc<Folder>,
    path: PathBuf,
    view: View,
    version: Version,
    asked: Moment,
    memory: Option<MemoryAccount>,
    rendering: Mutex<Rendering>,
}

/// A page that is being shown. The account of memory counts it once for all its readers, for as long as
/// anybody reads it. (Pages that are kept for later have a bound of their own.)
pub struct Page {
    html: Arc<[u8]>,
    _reservation: Option<Reservation>,
}

impl Deref for Page {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.html
    }
}

/// The connections that wait for a listing, in no order.
type Waiting = BTreeMap<u64, Wakeup>;

/// How far a listing has come.
enum Rendering {
    /// The listing is still to be rendered, and will show every change of the folder until then.
    Awaited(Waiting),
    /// The listing is being rendered.
    Begun(Waiting),
    /// The page as it is kept, and as its present readers share it.
    Page(Arc<[u8]>, Weak<Page>),
    /// The folder could not be read.
    Failed(io::ErrorKind, String),
}

impl Listing {
    /// Returns the form of the page.
    pub fn form(&self) -> view::Form {
        self.view.form
    }

    /// Returns the page, or why there is none; nothing as long as it is not ready.
    pub fn page(&self) -> Option<io::Result<Arc<Page>>> {
        match &mut *lock(&self.rendering) {
            Rendering::Awaited(_) | Rendering::Begun(_) => None,
            Rendering::Page(html, shown) => Some(Ok(shown.upgrade().unwrap_or_else(|| {
                let _reservation = self.memory.as_ref().map(|account| account.reserve(html.len()));
                let page = Arc::new(Page { html: html.clone(), _reservation });
                *shown = Arc::downgrade(&page);
                page
            }))),
            Rendering::Failed(kind, text) => Some(Err(io::Error::new(*kind, text.clone()))),
        }
    }

    /// Wakes a connection once the listing is ready, unless it is already. The number is for
    /// [`Listing::forget`].
    pub fn wake(&self, wakeup: Wakeup) -> u64 {
        match &mut *lock(&self.rendering) {
            Rendering::Awaited(waiting) | Rendering::Begun(waiting) => {
                let number = waiting.last_key_value().map_or(0, |(last, _)| last + 1);
                waiting.insert(number, wakeup);
                number
            }
            Rendering::Page(..) | Rendering::Failed(..) => {
                wakeup.wake();
                0
            }
        }
    }

    /// Forgets a connection that does not wait any more.
    pub fn forget(&self, number: u64) {
        if let Rendering::Awaited(waiting) | Rendering::Begun(waiting) = &mut *lock(&self.rendering) {
            waiting.remove(&number);
        }
    }

    fn render(&self) {
        {
            let mut rendering = lock(&self.rendering);
            if let Rendering::Awaited(waiting) = &mut *rendering {
                *rendering = Rendering::Begun(std::mem::take(waiting));
            }
        }
        let rendering = match listing::page(&self.folder, &self.path, self.view) {
            Ok(html) => Rendering::Page(html.into_bytes().into(), Weak::new()),
            Err(error) => Rendering::Failed(error.kind(), error.to_string()),
        };
        self.settle(rendering);
    }

    fn settle(&self, rendering: Rendering) {
        let before = std::mem::replace(&mut *lock(&self.rendering), rendering);
        if let Rendering::Awaited(waiting) | Rendering::Begun(waiting) = before {
            waiting.values().for_each(Wakeup::wake);
        }
    }

    /// The memory that keeping the listing costs, in bytes.
    fn bytes(&self) -> usize {
        let around = size_of::<Listing>() + self.path.as_os_str().len();
        match &*lock(&self.rendering) {
            Rendering::Page(html, _) => around + html.len(),
            Rendering::Awaited(_) | Rendering::Begun(_) | Rendering::Failed(..) => around,
        }
    }

    fn is_of(&self, path: &Path, view: View, version: &Version) -> bool {
        self.version == *version && self.view == view && self.path == *path
    }

    /// Whether the listing will show the folder at this path as it is now, or later. At the top there may stand another folder
    /// since it was asked for.
    fn will_be_of(&self, folder: &Arc<Folder>, path: &Path, view: View) -> bool {
        let is_same = Arc::ptr_eq(&self.folder, folder) && self.view == view && self.path == *path;
        is_same && matches!(&*lock(&self.rendering), Rendering::Awaited(_))
    }
}

/// Lists folders for the event loop, on a thread of its own.
#[derive(Default)]
pub struct Renderer {
    desk: Arc<Desk>,
}

/// The state that the loop and the thread share.
#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Default)]
struct State {
    /// Listings to be rendered, or being rendered, for as long as somebody waits for them.
    awaited: VecDeque<Weak<Listing>>,
    /// Listings that were rendered, the oldest first.
    kept: VecDeque<Arc<Listing>>,
    worker: Worker,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Worker {
    /// No thread renders listings.
    #[default]
    Absent,
    /// A thread renders listings, or waits for the next one.
    There,
}

impl Renderer {
    /// Returns the listing of a view of this version of a folder, ready or to be waited for. None if too many are
    /// waited for already, or if the system has no thread left.
    pub fn ask(
        &self,
        folder: &Arc<Folder>,
        (path, view): (&Path, View),
        version: Version,
        now: Moment,
        memory: Option<&MemoryAccount>,
    ) -> Option<Arc<Listing>> {
        let mut state = lock(&self.desk.state);
        let mut kept = state.kept.iter().filter(|listing| now.since(listing.asked) < KEPT_FOR).cloned();
        let mut awaited = state.awaited.iter().filter_map(Weak::upgrade);
        let is_it = |listing: &Arc<Listing>| listing.is_of(path, view, &version);
        let is_or_will_be = |listing: &Arc<Listing>| is_it(listing) || listing.will_be_of(folder, path, view);
        if let Some(known) = kept.find(is_it).or_else(|| awaited.find(is_or_will_be)) {
            return Some(known);
        }
        if state.awaited.len() >= AWAITED_MAX {
            state.awaited.retain(|listing| listing.strong_count() > 0);
        }
        if state.awaited.len() >= AWAITED_MAX || !self.has_worker(&mut state) {
            return None;
        }
        let listing = Arc::new(Listing {
            folder: folder.clone(),
            path: path.to_path_buf(),
            view,
            version,
            asked: now,
            memory: memory.cloned(),
            rendering: Mutex::new(Rendering::Awaited(BTreeMap::new())),
        });
        state.awaited.push_back(Arc::downgrade(&listing));
        drop(state);
        self.desk.asked.notify_one();
        Some(listing)
    }

    /// Whether nobody has asked for a listing lately.
    #[cfg(test)]
    pub fn is_at_rest(&self) -> bool {
        lock(&self.desk.state).worker == Worker::Absent
    }

    /// Makes sure that a thread renders listings.
    fn has_worker(&self, state: &mut State) -> bool {
        if state.worker == Worker::Absent {
            let desk = self.desk.clone();
            let spawned = thread::Builder::new().name("listings".to_string()).spawn(move || desk.work());
            if let Err(error) = &spawned {
                log::warn!("there is no thread for listings: {error}");
            }
            state.worker = if spawned.is_ok() { Worker::There } else { Worker::Absent };
        }
        state.worker == Worker::There
    }
}

impl Desk {
    /// Renders listings until none was asked for lately: the life of the thread.
    fn work(&self) {
        while let Some(listing) = self.next() {
            listing.render();
            self.keep(listing);
        }
    }

    /// Returns the next listing that somebody waits for; none if nobody has waited for a while.
    fn next(&self) -> Option<Arc<Listing>> {
        let mut state = lock(&self.state);
        loop {
            let next = state.awaited.iter().find_map(Weak::upgrade);
            if let Some(listing) = next {
                return Some(listing);
            }
            state.awaited.clear();
            let waited = self.asked.wait_timeout_while(state, IDLE_FOR, |state| state.awaited.is_empty());
            let is_over;
            (state, is_over) = waited.map_or_else(
                |poisoned| (poisoned.into_inner().0, true),
                |(state, waited)| (state, waited.timed_out()),
            );
            if is_over {
                state.kept = VecDeque::new();
                state.worker = Worker::Absent;
                return None;
            }
        }
    }

    /// Keeps a listing that is ready, and drops the oldest beyond the bound.
    fn keep(&self, listing: Arc<Listing>) {
        let mut state = lock(&self.state);
        state.awaited.retain(|other| other.strong_count() > 0 && other.as_ptr() != Arc::as_ptr(&listing));
        state.kept.retain(|other| other.path != listing.path || other.view != listing.view);
        state.kept.push_back(listing);
        let mut bytes: usize = state.kept.iter().map(|listing| listing.bytes()).sum();
        while bytes > KEPT_BYTES_MAX
            && let Some(oldest) = state.kept.pop_front()
        {
            bytes -= oldest.bytes();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
