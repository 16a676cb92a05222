//! The files of one folder, for GET and HEAD.
//!
//! ```text
//! path ──▶ a regular file ──▶ 200, 206 of a range, 304, 412, 416
//!      ──▶ a folder ──▶ its index.html, else a listing; without the slash at its end, 301
//!      ──▶ nothing, or hidden ──▶ 404 with the folder's own page, or what [`Rules`] say
//!      ──▶ not to be read, or no regular file ──▶ 403
//!      ──▶ anything, when the folder itself has gone ──▶ 503
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
//! - Every file has a strong ETag and a Last-Modified; preconditions (RFC 9110 §13) and one range
//!   of bytes (§14) are obeyed.
//! - A type comes from the name's extension; text is said to be UTF-8. Without a known extension
//!   it is `application/octet-stream`, and browsers are told not to guess.
//! - Content of a request is not waited for, nor read: who sends some gets its answer at once, and the end of the
//!   connection.
//! - `index.html` and `404.html` aside, no name is special, unless [`Rules`] want codings that lie beside
//!   their files (`app.js.br`). No compression on the fly, no language negotiation.
//!
//! ```no_run
//! use tidegate::adapters::StaticFiles;
//! use tidegate::{ListenAddress, Server};
//!
//! # fn main() -> std::io::Result<()> {
//! let files = StaticFiles::new("public")?;
//! let address = ListenAddress::Tcp(([127, 0, 0, 1], 8000).into());
//! Server::new().listen(address).bind()?.run(files)
//! # }
//! ```

mod coding;
mod folder;
mod listing;
mod media_type;
mod path;
mod range;
mod refusal;
mod renderer;
mod rules;
mod shown;
mod validators;
mod view;

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

use self::coding::Coding;
use self::folder::{Folder, Node};
use self::range::Selection;
use self::refusal::{Form, refuse};
use self::renderer::{Renderer, Version};
pub use self::rules::{Links, Moved, Rules};
use self::rules::{Listings, Missing, Siblings};
use self::validators::{Evaluation, Validators};
use self::view::View;
use crate::gateway::{Admission, Body, Environ, FileRange, Gateway, GatewayError, StartResponse};
use crate::message::{HttpDate, Method};

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

/// A file in the form in which it is sent.
struct Representation {
    file: File,
    metadata: Metadata,
    /// The path of the file as it was asked for, whatever its coding.
    path: PathBuf,
    coding: Option<Coding>,
}

/// The result of looking for the target of a request.
enum Found {
    /// A regular file, at this path below the folder.
    File(File, Metadata, PathBuf),
    /// A folder without an index, which can be read and is to be listed.
    Listing(PathBuf, Version),
    /// Another place: the right path of a folder that was asked for without a slash at the end, or what rules say.
    Moved(Moved),
}

impl StaticFiles {
    /// Serves this folder. It is opened now, and stays the same if it is renamed. Once it was removed, all
    /// requests are answered with 503, until there is a folder of this name again.
    ///
    /// # Errors
    /// Returns the error of the system when the folder is missing, is no folder, or must not be entered.
    pub fn new(folder: impl AsRef<Path>) -> io::Result<StaticFiles> {
        StaticFiles::with_rules(folder, Rules::default())
    }

    /// Serves this folder as [`StaticFiles::new`] does, by other rules.
    ///
    /// # Errors
    /// Returns the same errors.
    pub fn with_rules(folder: impl AsRef<Path>, rules: Rules) -> io::Result<StaticFiles> {
        // So that a later change of the working directory does not move it.
        let path = std::path::absolute(folder)?;
        let folder = Arc::new(Folder::open(&path, rules.links)?);
        Ok(StaticFiles {
            path,
            folder,
            standing: Standing::There,
            rules,
            reopened: 0,
            reopening: Reopening::default(),
            renderer: Renderer::default(),
        })
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
        self.follow_reopening();
        let found = self.find_in_folder(environ);
        match &found {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.folder.is_gone() => {}
            _ => return found,
        }
        match Folder::open(&self.path, self.rules.links) {
            Ok(folder) => {
                log::info!("the folder {} is there again", self.path.display());
                (self.folder, self.standing) = (Arc::new(folder), Standing::There);
                self.find_in_folder(environ)
            }
            Err(error) => {
                if self.standing == Standing::There {
                    log::error!("the folder {} has gone: {error}", self.path.display());
                }
                self.standing = Standing::Gone;
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
            Ok(folder) => self.folder = Arc::new(folder),
            Err(error) => {
                log::error!(
                    "the folder {} cannot be opened again, and the old one is served: {error}",
                    self.path.display()
                );
            }
        }
    }

    fn find_in_folder(&self, environ: &Environ<'_>) -> io::Result<Found> {
        let decoded = environ.get("PATH_INFO").unwrap_or_default();
        let path = path::file_path(&decoded)
            .filter(|_| !path::has_encoded_separator(environ.raw_path()))
            .ok_or(io::ErrorKind::NotFound)?;
        // Below a mount point a path is empty where that is asked for itself: its folder is elsewhere, too.
        let is_folder_asked = environ.raw_path().ends_with('/');
        match self.folder.find(&path) {
            Ok(Node::File(..)) if is_folder_asked => Err(io::ErrorKind::NotFound.into()),
            Ok(Node::File(file, metadata)) => Ok(Found::File(file, metadata, path)),
            Ok(Node::Folder(metadata)) if is_folder_asked => self.find_index(path, &metadata),
            Ok(Node::Folder(_)) => Ok(Found::Moved(Moved { code: 301, location: with_slash(environ) })),
            Ok(Node::Other) => Err(io::ErrorKind::PermissionDenied.into()),
            Err(error) if status_of(&error) == Some(404) && !is_folder_asked => self.find_page(&path, error),
            Err(error) => Err(error),
        }
    }

    /// Finds a page that was asked for without its extension.
    fn find_page(&self, path: &Path, error: io::Error) -> io::Result<Found> {
        let Some(page) = self.rules.page_of(path) else { return Err(error) };
        match self.folder.find(&page)? {
            Node::File(file, metadata) => Ok(Found::File(file, metadata, page)),
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
        path: PathBuf,
    ) -> Representation {
        let codings = match self.rules.siblings {
            Siblings::Ignored => Vec::new(),
            Siblings::Chosen => coding::accepted(environ.fields()),
        };
        for coding in codings {
            if let Ok(Node::File(coded, of_coded)) = self.folder.find(&coding.path_of(&path))
                && of_coded.modified().ok() >= metadata.modified().ok()
                && coding.is_for_all(&coded).unwrap_or(false)
            {
                return Representation { file: coded, metadata: of_coded, path, coding: Some(coding) };
            }
        }
        Representation { file, metadata, path, coding: None }
    }

    fn find_index(&self, folder_path: PathBuf, metadata: &Metadata) -> io::Result<Found> {
        for path in self.rules.indexes(&folder_path) {
            match self.folder.find(&path) {
                Ok(Node::File(file, metadata)) => return Ok(Found::File(file, metadata, path)),
                Ok(Node::Folder(_) | Node::Other) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
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

    /// Answers where no file is, as the rules want it: another place, the page for all paths, or 404 with a page of the
    /// folder.
    fn answer_missing(
        &self,
        environ: &Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let form = Form::for_client(environ);
        if let Some(moved) = self.rules.place_of(environ.raw_path()) {
            return redirect(start_response, moved, form);
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
                let chosen = self.represent(environ, file, metadata, path.clone());
                send_file(environ, start_response, &self.rules, chosen)
            }
            // Neither validators nor ranges are about an error (RFC 9110 §8.8, §14.2).
            Missing::NotFound(path) if let Some((file, metadata)) = page(path) => start_response
                .status(404)
                .field("Content-Type", self.rules.content_type(path).as_ref())
                .field("X-Content-Type-Options", "nosniff")
                .file(FileRange { file, offset: 0, length: metadata.len() }),
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
        match self.find(environ) {
            Ok(Found::File(file, metadata, path)) => {
                let chosen = self.represent(environ, file, metadata, path);
                send_file(environ, start_response, &self.rules, chosen)
            }
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

fn send_file(
    environ: &Environ<'_>,
    start_response: StartResponse<'_>,
    rules: &Rules,
    Representation { file, metadata, path, coding }: Representation,
) -> Result<Body, GatewayError> {
    let (length, fields) = (metadata.len(), environ.fields());
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let mut validators = Validators::new(modified, length, SystemTime::now());
    if let Some(coding) = coding {
        // Before the quotation mark: each coding has a tag of its own (RFC 9110 §8.8.3.3).
        validators.etag.insert_str(validators.etag.len() - 1, &format!("-{}", coding.name()));
    }
    let verdict = validators.evaluate(fields);
    // Only GET knows ranges, and two Range fields are none (RFC 9110 §14.2, §5.3).
    let mut ranges = fields.all("Range");
    let selection = match (ranges.next(), ranges.next()) {
        (Some(range), None) if environ.method() == Method::GET && validators.allows_range(fields) => {
            range::select(range, length)
        }
        _ => Selection::Whole,
    };
    let (code, offset, part_length) = match (verdict, selection) {
        (Evaluation::NotModified, _) => (304, 0, 0),
        (Evaluation::Failed, _) => (412, 0, 0),
        (Evaluation::Proceed, Selection::Whole) => (200, 0, length),
        (Evaluation::Proceed, Selection::Part { first, last }) => (206, first, last - first + 1),
        (Evaluation::Proceed, Selection::Unsatisfiable) => (416, 0, 0),
    };
    let mut head = start_response
        .status(code)
        .field("Last-Modified", HttpDate::from_unix(validators.modified).as_bytes())
        .field("ETag", &validators.etag)
        .field("Accept-Ranges", "bytes");
    let form = Form::for_client(environ);
    match code {
        412 => return refuse(head, code, form),
        416 => return refuse(head.field("Content-Range", format!("bytes */{length}")), code, form),
        206 => {
            let last = offset + part_length - 1;
            head = head.field("Content-Range", format!("bytes {offset}-{last}/{length}"));
        }
        _ => {}
    }
    if rules.siblings == Siblings::Chosen {
        head = head.field("Vary", "Accept-Encoding");
    }
    if let Some(cache_control) = rules.cache_control(&path) {
        head = head.field("Cache-Control", cache_control);
    }
    if code == 304 {
        return head.finish();
    }
    if let Some(coding) = coding {
        head = head.field("Content-Encoding", coding.name());
    }
    head.field("Content-Type", rules.content_type(&path).as_ref())
        .field("X-Content-Type-Options", "nosniff")
        .file(FileRange { file, offset, length: part_length })
}

/// The errors that the system, or this process, has no descriptor left. They have these numbers on every Unix.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

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
        _ if matches!(error.raw_os_error(), Some(ENFILE | EMFILE)) => Some(503),
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
