//! The files of one folder, for GET and HEAD.
//!
//! ```text
//! path ──▶ a regular file ──▶ 200, 206 of a range, 304, 412, 416
//!      ──▶ a folder ──▶ its index.html, else a listing; without the slash at its end, 301
//!      ──▶ nothing, or hidden ──▶ 404 with the folder's own page, or what Rules say
//!      ──▶ not to be read, or no regular file ──▶ 403
//!      ──▶ anything, when the folder itself has gone ──▶ 503 (what is kept, within `valid_for`)
//! ```
//!
//! What is served, and what is not:
//!
//! - Nothing leads out of the folder: no `..` in whatever encoding, and no symbolic link, unless [`Links::Anywhere`]
//!   allows it. Links to places inside it are followed.
//! - Names with a leading dot are hidden: 404 when asked for, and absent from listings. The one
//!   exception is `.well-known` at the top (RFC 8615).
//! - Pipes, sockets and devices are never read, nor even opened.
//! - Listings are rendered by a thread of their own and kept for a second, so that nobody waits for those of
//!   others. They are sorted by name, size or date, in pages of 1,000 entries; programs that ask for it get JSON.
//! - Every file has a strong ETag and a Last-Modified; preconditions (RFC 9110 §13) and ranges
//!   of bytes (§14) are obeyed, 32 in one request at most. The tag changes with the length, both times (of modification,
//!   and of the last change of anything, which nobody can set) and the inode: two machines have different tags for the
//!   same file.
//! - What was opened is kept, and sent as it was for a second ([`FileCache`]): a short file with its content, a long one
//!   as a descriptor. Tag, head and content of a file that is kept with its content are of one version; of one that is
//!   sent from the disk they are when the answer begins, and whoever writes to it afterwards changes what is sent.
//! - A type comes from the name's extension; text is said to be UTF-8. Without a known extension
//!   it is `application/octet-stream`, and browsers are told not to guess.
//! - Content of a request is not waited for, nor read: a client that sends some gets its answer at once, and the end of
//!   the connection.
//! - `index.html` and `404.html` aside, no name is special, unless [`Rules`] want codings that lie beside
//!   their files (`app.js.br`, `app.js.HASH.dcz`); these are looked for anew once what is kept is no longer valid. No language negotiation;
//!   compression on the fly is the package `tidegate-compress`.
//!
//! ```no_run
//! use tidegate_files::StaticFiles;
//! use tidegate::{ListenAddress, Server};
//!
//! # fn main() -> std::io::Result<()> {
//! let files = StaticFiles::new("public")?;
//! let address = ListenAddress::Tcp(([127, 0, 0, 1], 8000).into());
//! Server::new().listen(address).bind()?.run(files)
//! # }
//! ```
//!
//! An application with a folder beside it:
//!
//! ```no_run
//! use tidegate_files::StaticFiles;
//! use tidegate::gateway::middleware::Mounts;
//! use tidegate::{Environ, Server, StartResponse};
//!
//! # fn main() -> std::io::Result<()> {
//! let application = |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
//!     start_response
//!         .status(200)
//!         .field("Content-Type", "text/html; charset=utf-8")
//!         .send("<link rel=stylesheet href=/static/style.css>")
//! };
//! let site = Mounts::new().at("/", application).at("/static", StaticFiles::new("public")?);
//! Server::new().listen("127.0.0.1:8000".parse()?).bind()?.run(site)
//! # }
//! ```

mod coding;
mod dictionary;
mod file_cache;
mod folder;
pub mod html;
mod listing;
mod media_type;
mod multipart;
mod opened;
mod path;
mod range;
mod refusal;
mod renderer;
mod rules;
mod shown;
mod validators;
mod view;

#[cfg(test)]
mod recording;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tidegate::gateway::{
    Admission, Body, Environ, FileRange, Gateway, GatewayError, ResponseHead, StartResponse,
};
use tidegate::message::{FieldBlock, Fields, HttpDate, Method};

use self::coding::Coding;
use self::dictionary::Dictionary;
pub use self::file_cache::FileCache;
use self::file_cache::{Finding, OpenedFiles};
use self::folder::{Folder, Node};
pub use self::media_type::media_type;
use self::multipart::Multipart;
use self::opened::{OpenedFile, Original, Place};
use self::range::{Part, Selection};
use self::refusal::{Form, refuse};
use self::renderer::{Renderer, Version};
pub use self::rules::{Links, Moved, Rules};
use self::rules::{Listings, Missing, Siblings};
use self::validators::{Evaluation, Identity, Validators};
use self::view::View;

/// Tells which folder an error is about, and keeps its kind.
fn cannot_serve(folder: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot serve the folder {}: {error}", folder.display()))
}

/// Longest content that the server copies behind its head anyway, and so is not shared with it: 16 KiB.
const COPIED_BYTES_MAX: u64 = 16 * 1024;

/// A gateway to the files of one folder.
pub struct StaticFiles {
    /// The path as it was given.
    path: PathBuf,
    folder: Arc<Folder>,
    standing: Standing,
    rules: Rules,
    /// How often the folder was to be opened again, when it was last opened.
    reopened: usize,
    reopening: Reopening,
    opened: OpenedFiles,
    renderer: Renderer,
}

/// A handle by which folders are opened again by their names, from another thread: to take up one that was put in their
/// place.
#[derive(Clone, Debug, Default)]
pub struct Reopening(Arc<AtomicUsize>);

impl Reopening {
    /// Has each folder opened again, with the next request for something in it.
    pub fn ask(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for StaticFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticFiles").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The standing of the folder: whether it is still there, and whether the operator knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The folder is there.
    There,
    /// The folder was removed, and the operator knows.
    Gone,
}

/// The result of looking for the target of a request.
enum Found {
    /// A file that is kept under this key.
    Kept(Vec<u8>),
    /// A regular file that is not.
    File(Box<OpenedFile>),
    /// A folder without an index, which can be read and is to be listed.
    Listing(PathBuf, Version),
    /// Another place: the right path of a folder that was asked for without a slash at the end, or what rules say.
    Moved(Moved),
}

/// The form in which a file is sent.
struct Representation {
    file: File,
    metadata: Metadata,
    coding: Option<Coding>,
    /// The file that it is a coding of, where clients may know another coding.
    original: Option<Original>,
}

impl StaticFiles {
    /// Serves this folder. It is opened now, and stays the same if it is renamed. Once it was removed, all
    /// requests are answered with 503 within [`valid_for`](FileCache::valid_for), or as soon as anything is asked for that
    /// is not kept, until there is a folder of this name again.
    ///
    /// # Errors
    /// Returns the error of the system, with the name of the folder, when it is missing, is not a folder, or must not be
    /// entered.
    pub fn new(folder: impl AsRef<Path>) -> io::Result<StaticFiles> {
        StaticFiles::with_rules(folder, Rules::default())
    }

    /// Serves this folder as [`StaticFiles::new`] does, by other rules.
    ///
    /// # Errors
    /// Returns the same errors.
    pub fn with_rules(folder: impl AsRef<Path>, rules: Rules) -> io::Result<StaticFiles> {
        // So that a later change of the working directory does not move it.
        let path = std::path::absolute(&folder).map_err(|error| cannot_serve(folder.as_ref(), &error))?;
        let folder =
            Folder::open(&path, rules.links).map_err(|error| cannot_serve(folder.as_ref(), &error))?;
        let folder = Arc::new(folder);
        Ok(StaticFiles {
            path,
            folder,
            standing: Standing::There,
            rules,
            reopened: 0,
            reopening: Reopening::default(),
            opened: OpenedFiles::new(FileCache::default()),
            renderer: Renderer::default(),
        })
    }

    /// Keeps files that were opened within other bounds.
    #[must_use]
    pub fn file_cache(mut self, bounds: FileCache) -> StaticFiles {
        self.opened = OpenedFiles::new(bounds);
        self
    }

    /// Opens the folder again when this handle asks for that.
    #[must_use]
    pub fn reopened_by(mut self, reopening: &Reopening) -> StaticFiles {
        self.reopening = reopening.clone();
        self.reopened = reopening.0.load(Ordering::Relaxed);
        self
    }

    /// Checks that the folder can be listed. One that can only be entered serves the files whose names are
    /// known, which may be intended.
    ///
    /// # Errors
    /// Returns the error of the system when the folder cannot be read.
    pub fn check_listing(&self) -> io::Result<()> {
        self.folder.open_folder(Path::new("")).map(drop)
    }

    /// Finds the target of a request, in the folder that is there.
    fn find(&mut self, environ: &Environ<'_>) -> io::Result<Found> {
        let mut found = self.find_in_folder(environ);
        if matches!(&found, Err(error) if is_without_descriptors(error)) {
            self.opened.release_descriptors();
            found = self.find_in_folder(environ);
        }
        match &found {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.folder.is_gone() => {}
            _ => return found,
        }
        match Folder::open(&self.path, self.rules.links) {
            Ok(folder) => {
                log::info!("the folder {} is there again", self.path.display());
                (self.folder, self.standing) = (Arc::new(folder), Standing::There);
                // What is kept is of the old one.
                self.opened.forget_all();
                self.find_in_folder(environ)
            }
            Err(error) => {
                if self.standing == Standing::There {
                    log::error!("the folder {} has gone: {error}", self.path.display());
                }
                self.standing = Standing::Gone;
                self.opened.forget_all();
                Err(io::ErrorKind::StaleNetworkFileHandle.into())
            }
        }
    }

    /// Opens the folder again if that was asked for. If it cannot be, the one that is open goes on.
    fn follow_reopening(&mut self) {
        let asked = self.reopening.0.load(Ordering::Relaxed);
        if asked == self.reopened {
            return;
        }
        self.reopened = asked;
        match Folder::open(&self.path, self.rules.links) {
            Ok(folder) => {
                self.folder = Arc::new(folder);
                self.opened.forget_all();
            }
            Err(error) => {
                log::error!(
                    "the folder {} cannot be opened again, and the old one is served: {error}",
                    self.path.display()
                );
            }
        }
    }

    fn find_in_folder(&mut self, environ: &Environ<'_>) -> io::Result<Found> {
        let decoded = environ.get("PATH_INFO").unwrap_or_default();
        let path = path::file_path(&decoded)
            .filter(|_| !path::has_encoded_separator(environ.raw_path()))
            .ok_or(io::ErrorKind::NotFound)?;
        // Below a mount point a path is empty where that is asked for itself: its folder is elsewhere, too, though it would
        // have the same key.
        let is_folder_asked = environ.raw_path().ends_with('/');
        let has_key = is_folder_asked || !path.as_os_str().is_empty();
        let key = [self.key_of_codings(environ, None), key_of(&path, is_folder_asked)].concat();
        // Whether there is a coding for the client's dictionary is known once the file is found.
        let kept_key = match self.dictionary_of(environ) {
            None => key.clone(),
            Some(dictionary) => self.key_with_dictionary(environ, &key, &dictionary),
        };
        if has_key && self.opened.renew(&kept_key, &self.folder, environ.now()) {
            return Ok(Found::Kept(kept_key));
        }
        match self.folder.find(&path) {
            Ok(Node::File(..)) if is_folder_asked => Err(io::ErrorKind::NotFound.into()),
            Ok(Node::File(file, metadata)) => self.take(environ, key, path, Finding::First, file, metadata),
            Ok(Node::Folder(metadata)) if is_folder_asked => self.find_index(environ, key, path, &metadata),
            Ok(Node::Folder(_)) => Ok(Found::Moved(Moved { code: 301, location: with_slash(environ) })),
            Ok(Node::Other) => Err(io::ErrorKind::PermissionDenied.into()),
            Err(error) if status_of(&error) == Some(404) && !is_folder_asked => {
                self.find_page(environ, key, &path, error)
            }
            Err(error) => Err(error),
        }
    }

    /// Finds a page that was asked for without its extension.
    fn find_page(
        &mut self,
        environ: &Environ<'_>,
        key: Vec<u8>,
        path: &Path,
        error: io::Error,
    ) -> io::Result<Found> {
        let Some(page) = self.rules.page_of(path) else { return Err(error) };
        match self.folder.find(&page)? {
            Node::File(file, metadata) => self.take(environ, key, page, Finding::Later, file, metadata),
            Node::Folder(_) | Node::Other => Err(error),
        }
    }

    /// Chooses the form of a file that the client likes best: one of its codings that lies beside it, or the file itself. A
    /// coding that is older than the file is of another content.
    fn represent(
        &self,
        environ: &Environ<'_>,
        file: File,
        metadata: Metadata,
        path: &Path,
    ) -> Representation {
        let dictionary = self.dictionary_of(environ);
        let codings = match self.rules.siblings {
            Siblings::Ignored => Vec::new(),
            Siblings::Chosen => coding::accepted(environ.fields(), dictionary.as_ref()),
        };
        for coding in codings {
            if let Ok(Node::File(coded, of_coded)) =
                self.folder.find(&coding.path_of(path, dictionary.as_ref()))
                && of_coded.modified().ok() >= metadata.modified().ok()
                && coding.is_for_all(&coded, dictionary.as_ref()).unwrap_or(false)
            {
                let has_dictionary = coding.has_dictionary();
                let original = self
                    .rules
                    .has_dictionaries()
                    .then(|| Original { etag: etag_of(&metadata), has_dictionary });
                return Representation { file: coded, metadata: of_coded, coding: Some(coding), original };
            }
        }
        Representation { file, metadata, coding: None, original: None }
    }

    /// The dictionary that the client has, where that matters.
    fn dictionary_of(&self, environ: &Environ<'_>) -> Option<Dictionary> {
        self.rules.has_dictionaries().then(|| Dictionary::of(environ.fields())).flatten()
    }

    /// Returns the beginning of a key where the answer depends on the codings that the client takes: a letter for each, in
    /// its order. No path begins so.
    fn key_of_codings(&self, environ: &Environ<'_>, dictionary: Option<&Dictionary>) -> Vec<u8> {
        match self.rules.siblings {
            Siblings::Ignored => Vec::new(),
            Siblings::Chosen => {
                coding::accepted(environ.fields(), dictionary).into_iter().map(Coding::letter).collect()
            }
        }
    }

    /// Returns the key of a file that is coded against a dictionary. No other key begins so.
    fn key_with_dictionary(&self, environ: &Environ<'_>, key: &[u8], dictionary: &Dictionary) -> Vec<u8> {
        let codings = self.key_of_codings(environ, Some(dictionary));
        [b"d", dictionary.hash(), &codings, b" ", key].concat()
    }

    fn find_index(
        &mut self,
        environ: &Environ<'_>,
        key: Vec<u8>,
        folder_path: PathBuf,
        metadata: &Metadata,
    ) -> io::Result<Found> {
        let mut finding = Finding::First;
        let indexes: Vec<PathBuf> = self.rules.indexes(&folder_path).collect();
        for path in indexes {
            match self.folder.find(&path) {
                Ok(Node::File(file, metadata)) => {
                    return self.take(environ, key, path, finding, file, metadata);
                }
                Ok(Node::Folder(_) | Node::Other) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            finding = Finding::Later;
        }
        if self.rules.listings == Listings::Absent {
            return Err(io::ErrorKind::NotFound.into());
        }
        // Whether it can be read is said to HEAD, too.
        self.folder.open_folder(&folder_path)?;
        let version =
            Version { device: metadata.dev(), inode: metadata.ino(), modified: metadata.modified().ok() };
        Ok(Found::Listing(folder_path, version))
    }

    /// Takes in a file that was opened, and keeps it for the next who asks.
    fn take(
        &mut self,
        environ: &Environ<'_>,
        key: Vec<u8>,
        path: PathBuf,
        finding: Finding,
        file: File,
        metadata: Metadata,
    ) -> io::Result<Found> {
        let account = environ.client().memory;
        let represented = self.represent(environ, file, metadata, &path);
        // Only what is there has a key of its own: clients may name any number of dictionaries.
        let key = match self.dictionary_of(environ) {
            Some(dictionary) if represented.coding.is_some_and(Coding::has_dictionary) => {
                self.key_with_dictionary(environ, &key, &dictionary)
            }
            _ => key,
        };
        let opened = self.open(environ, &path, represented)?;
        // A coding may come to lie beside it, or be of another content than the file now has.
        let finding = if self.rules.siblings == Siblings::Chosen { Finding::Later } else { finding };
        match self.opened.keep(&key, path, finding, opened, environ.now(), account) {
            Ok(()) => Ok(Found::Kept(key)),
            Err(opened) => Ok(Found::File(opened)),
        }
    }

    fn open(
        &self,
        environ: &Environ<'_>,
        path: &Path,
        represented: Representation,
    ) -> io::Result<OpenedFile> {
        let content_bytes_max = self.opened.content_bytes_max(environ.client().memory);
        let Representation { file, metadata, coding, original } = represented;
        let describe = |validators: &Validators| head_of(&self.rules, path, coding, validators);
        OpenedFile::new(file, metadata, content_bytes_max, original, describe)
    }

    /// Answers where no file is, as the rules want it: another place, the page for all paths, or 404 with a page of the
    /// folder.
    fn answer_missing(
        &self,
        environ: &Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let form = Form::for_client(environ);
        if let Some(moved) = self.rules.place_of(environ.raw_path()) {
            return redirect(start_response, moved.with_query(environ.query()), form);
        }
        let page = |path: &Path| match self.folder.find(path) {
            Ok(Node::File(file, metadata)) => Some((file, metadata)),
            Ok(Node::Folder(_) | Node::Other) | Err(_) => None,
        };
        match &self.rules.missing {
            Missing::Page(path)
                if is_page(environ.raw_path())
                    && let Some((file, metadata)) = page(path) =>
            {
                let represented = self.represent(environ, file, metadata, path);
                send_file(environ, start_response, &self.open(environ, path, represented)?)
            }
            // Neither validators nor ranges are about an error (RFC 9110 §8.8, §14.2).
            Missing::NotFound(path) if let Some((file, metadata)) = page(path) => start_response
                .status(404)
                .field("Content-Type", self.rules.content_type(path).as_ref())
                .field("X-Content-Type-Options", "nosniff")
                .file(FileRange { file: file.into(), offset: 0, length: metadata.len() }),
            Missing::Page(_) | Missing::NotFound(_) => refuse(start_response.status(404), 404, form),
        }
    }
}

/// Whether a path looks like that of a page: its last segment has no extension.
fn is_page(path: &str) -> bool {
    !path.rsplit('/').next().unwrap_or_default().contains('.')
}

impl Gateway for StaticFiles {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        if !matches!(environ.method(), Method::GET | Method::HEAD) {
            let head = start_response.status(405).field("Allow", "GET, HEAD");
            return refuse(head, 405, Form::for_client(environ));
        }
        self.follow_reopening();
        // Most ask for a path as it is kept.
        if self.rules.siblings == Siblings::Ignored
            && environ.target().has_plain_path()
            && let Some(opened) = self.opened.fresh(environ.raw_path().as_bytes(), environ.now())
        {
            return send_file(environ, start_response, opened);
        }
        match self.find(environ) {
            Ok(Found::Kept(key)) => match self.opened.get(&key) {
                Some(opened) => send_file(environ, start_response, opened),
                None => self.answer_missing(environ, start_response),
            },
            Ok(Found::File(opened)) => send_file(environ, start_response, &opened),
            // How long it would be is not known before it is rendered, and need not be said (RFC 9110 §9.3.2).
            Ok(Found::Listing(..)) if environ.method() == Method::HEAD => {
                shown::head(start_response, View::of(environ).form).finish()
            }
            Ok(Found::Listing(path, version)) => {
                let listing = self.renderer.ask(
                    &self.folder,
                    (&path, View::of(environ)),
                    version,
                    environ.now(),
                    environ.client().memory,
                );
                shown::answer(listing, environ, start_response)
            }
            Ok(Found::Moved(moved)) => redirect(start_response, moved, Form::for_client(environ)),
            Err(error) if status_of(&error) == Some(404) => self.answer_missing(environ, start_response),
            Err(error) => fail(start_response, error, Form::for_client(environ)),
        }
    }

    /// Declines content: no method that is answered here has any (RFC 9110 §9.3.1).
    fn admit(&self, _environ: &Environ<'_>) -> Admission {
        Admission::FromHead
    }
}

/// Answers with the status for an error of the system.
fn fail(start_response: StartResponse<'_>, error: io::Error, form: Form) -> Result<Body, GatewayError> {
    match status_of(&error) {
        Some(503) => refuse(start_response.status(503).field("Retry-After", "1"), 503, form),
        Some(code) => refuse(start_response.status(code), code, form),
        None => Err(error.into()),
    }
}

fn redirect(start_response: StartResponse<'_>, moved: Moved, form: Form) -> Result<Body, GatewayError> {
    refuse(start_response.status(moved.code).field("Location", moved.location), moved.code, form)
}

/// Returns the key of the file at a path, or of the index of the folder there: the path as most clients send it.
fn key_of(path: &Path, is_folder: bool) -> Vec<u8> {
    let path = path.as_os_str().as_encoded_bytes();
    let mut key = Vec::with_capacity(path.len() + 2);
    key.push(b'/');
    key.extend_from_slice(path);
    if is_folder && !path.is_empty() {
        key.push(b'/');
    }
    key
}

/// The tag of a file as it is.
fn etag_of(metadata: &Metadata) -> String {
    let (identity, now) = (Identity::of(metadata), SystemTime::now());
    Validators::new(&identity, identity.certainty(now), now).etag
}

const CONTENT_TYPE: &str = "Content-Type";
const CACHE_CONTROL: &str = "Cache-Control";
const VARY: &str = "Vary";

/// Returns the fields of a response with all of a file.
fn head_of(rules: &Rules, path: &Path, coding: Option<Coding>, validators: &Validators) -> FieldBlock {
    let mut fields = FieldBlock::default();
    let mut push = |name: &str, value: &[u8]| {
        if let Err(error) = fields.push(name, value) {
            log::error!("{name} of {} is no field, and left out: {error}", path.display());
        }
    };
    push("Last-Modified", HttpDate::from_unix(validators.modified).as_bytes());
    push("ETag", validators.etag.as_bytes());
    push("Accept-Ranges", b"bytes");
    match rules.siblings {
        Siblings::Chosen if rules.has_dictionaries() => push(VARY, b"Accept-Encoding, Available-Dictionary"),
        Siblings::Chosen => push(VARY, b"Accept-Encoding"),
        Siblings::Ignored => {}
    }
    if let Some(dictionary) = rules.use_as_dictionary(path) {
        push("Use-As-Dictionary", dictionary.as_bytes());
    }
    if let Some(coding) = coding {
        push("Content-Encoding", coding.name().as_bytes());
    }
    if let Some(cache_control) = rules.cache_control(path) {
        push(CACHE_CONTROL, cache_control.as_bytes());
    }
    push(CONTENT_TYPE, rules.content_type(path).as_bytes());
    push("X-Content-Type-Options", b"nosniff");
    fields
}

/// Whether a request may want anything but the whole file: it has a Range, or a precondition.
fn has_conditions(fields: Fields<'_>) -> bool {
    let is_condition = |name: &str| match name.as_bytes() {
        [b'i' | b'I', b'f' | b'F', b'-', ..] => true,
        [b'r' | b'R', ..] => name.eq_ignore_ascii_case("Range"),
        _ => false,
    };
    fields.iter().any(|(name, _)| is_condition(name))
}

fn send_file(
    environ: &Environ<'_>,
    start_response: StartResponse<'_>,
    opened: &OpenedFile,
) -> Result<Body, GatewayError> {
    if has_conditions(environ.fields()) {
        return send_conditionally(environ, start_response, opened);
    }
    send_part(start_response.status(200).fields(&opened.fields), opened, 0, opened.identity.length)
}

fn send_conditionally(
    environ: &Environ<'_>,
    start_response: StartResponse<'_>,
    opened: &OpenedFile,
) -> Result<Body, GatewayError> {
    let (validators, length, fields) = (&opened.validators, opened.identity.length, environ.fields());
    let (verdict, etag) = (validators.evaluate(fields), validators.etag.as_bytes());
    // Only GET knows ranges, and two Range fields are none (RFC 9110 §14.2, §5.3).
    let mut ranges = fields.all("Range");
    let selection = match (ranges.next(), ranges.next()) {
        (Some(range), None) if environ.method() == Method::GET && validators.allows_range(fields) => {
            range::select(range, length)
        }
        _ => Selection::Whole,
    };
    let form = Form::for_client(environ);
    match (verdict, selection) {
        (Evaluation::NotModified, _) => {
            let caching = opened.fields.iter().filter(|(name, _)| [CACHE_CONTROL, VARY].contains(name));
            let head = about(start_response, 304, validators, validators.known_as(fields));
            caching.fold(head, |head, (name, value)| head.field(name, value)).finish()
        }
        (Evaluation::Failed, _) => refuse(about(start_response, 412, validators, etag), 412, form),
        (Evaluation::Proceed, Selection::Whole) => {
            send_part(start_response.status(200).fields(&opened.fields), opened, 0, length)
        }
        (Evaluation::Proceed, Selection::Part(part)) => {
            let Part { first, last } = part;
            let head = start_response.status(206).fields(&opened.fields);
            let head = head.field("Content-Range", format!("bytes {first}-{last}/{length}"));
            send_part(head, opened, first, part.length())
        }
        (Evaluation::Proceed, Selection::Parts(parts)) => send_parts(start_response, opened, &parts),
        (Evaluation::Proceed, Selection::Unsatisfiable) => {
            let head = about(start_response, 416, validators, etag);
            refuse(head.field("Content-Range", format!("bytes */{length}")), 416, form)
        }
    }
}

/// Begins a response about a version of a file that is not sent.
fn about<'a>(
    start_response: StartResponse<'a>,
    code: u16,
    validators: &Validators,
    etag: &[u8],
) -> ResponseHead<'a> {
    start_response
        .status(code)
        .field("Last-Modified", HttpDate::from_unix(validators.modified).as_bytes())
        .field("ETag", etag)
        .field("Accept-Ranges", "bytes")
}

/// Sends several parts of a file.
fn send_parts(
    start_response: StartResponse<'_>,
    opened: &OpenedFile,
    parts: &[Part],
) -> Result<Body, GatewayError> {
    let is_type = |name: &str| name == CONTENT_TYPE;
    let own_type = opened.fields.iter().find(|(name, _)| is_type(name)).map_or(&b""[..], |(_, value)| value);
    let multipart = Multipart::new(parts, opened.identity.length, own_type);
    let of_all = opened.fields.iter().filter(|(name, _)| !is_type(name));
    let head = of_all.fold(start_response.status(206), |head, (name, value)| head.field(name, value));
    let head = head.field(CONTENT_TYPE, multipart.content_type());
    match &opened.place {
        Place::Memory(content) => head.send(multipart.of_memory(content)),
        Place::Disk(file) => head
            .field("Content-Length", multipart.length().to_string())
            .stream(multipart.of_file(file.clone())),
    }
}

/// Sends a part of a file, or all of it.
fn send_part(
    head: ResponseHead<'_>,
    opened: &OpenedFile,
    offset: u64,
    length: u64,
) -> Result<Body, GatewayError> {
    match &opened.place {
        Place::Disk(file) => head.file(FileRange { file: file.clone(), offset, length }),
        // A whole file that is too long to be copied is lent.
        Place::Memory(content) if content.len() as u64 == length && length > COPIED_BYTES_MAX => {
            head.send(content.clone())
        }
        Place::Memory(content) => {
            let part = offset as usize..(offset + length) as usize;
            head.send(content.get(part).ok_or(io::ErrorKind::UnexpectedEof).map_err(io::Error::from)?)
        }
    }
}

/// The errors that the system, or this process, has no descriptor left. They have these numbers on every Unix.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// Whether no descriptor is left.
fn is_without_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Returns the status for an error of the system; none for an error that an operator has to mend, which is a
/// 500.
fn status_of(error: &io::Error) -> Option<u16> {
    match error.kind() {
        // The name of a file taken for a folder, or one that no file can have, is a wrong path too.
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => Some(404),
        io::ErrorKind::PermissionDenied => Some(403),
        io::ErrorKind::StaleNetworkFileHandle => Some(503),
        // No descriptor is left: others have them, and will give them back.
        _ if is_without_descriptors(error) => Some(503),
        _ => None,
    }
}

/// Returns the path of the requested folder with a slash at the end. The slashes at its start are reduced to
/// one, since two would make a host of the first segment (RFC 3986 §4.2).
fn with_slash(environ: &Environ<'_>) -> String {
    let path = environ.target().raw_path().trim_start_matches('/');
    match environ.query() {
        "" => format!("/{path}/"),
        query => format!("/{path}/?{query}"),
    }
}
