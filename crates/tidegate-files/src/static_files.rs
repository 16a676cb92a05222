//! Finds what a request asks for: a file that is kept, or in the folder, or what stands in for it.

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tidegate::gateway::{Admission, Body, Environ, FileRange, Gateway, GatewayError, StartResponse};
use tidegate::message::Method;

use super::coding::{self, Coding};
use super::dictionary::Dictionary;
use super::file_cache::{FileCache, Finding, OpenedFiles};
use super::folder::{Folder, FoundFile, Node};
use super::opened::{OpenedFile, Original};
use super::path;
use super::refusal::{Form, fail, is_without_descriptors, redirect, refuse, status_of};
use super::renderer::{Renderer, Version};
use super::rules::{Listings, Missing, Moved, Rules, Siblings};
use super::sending::{head_of, send_file};
use super::shown;
use super::validators::{Identity, Validators};
use super::view::View;

/// Tells which folder an error is about, and keeps its kind.
fn cannot_serve(folder: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot serve the folder {}: {error}", folder.display()))
}

/// A gateway to the files of one folder.
pub struct StaticFiles {
    /// The path as it was given.
    path: PathBuf,
    pub(crate) folder: Arc<Folder>,
    standing: Standing,
    rules: Rules,
    /// How often the folder was to be opened again, when it was last opened.
    reopened: usize,
    reopening: Reopening,
    pub(crate) opened: OpenedFiles,
    pub(crate) renderer: Renderer,
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
    /// A regular file that is not kept.
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
    /// The file that this is a coding of, where clients may know another coding.
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
        if has_key && kept_key != key && !self.may_have_coding(environ, &key) {
            // It is as for those who have no dictionary.
            if self.opened.renew(&key, &self.folder, environ.now()) {
                return Ok(Found::Kept(key));
            }
        }
        match self.folder.find(&path) {
            Ok(Node::File(_)) if is_folder_asked => Err(io::ErrorKind::NotFound.into()),
            Ok(Node::File(file)) => self.take(environ, key, path, Finding::First, file),
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
            Node::File(file) => self.take(environ, key, page, Finding::Later, file),
            Node::Folder(_) | Node::Other => Err(error),
        }
    }

    /// Chooses the form of a file that the client likes best, and opens it: one of its codings that lies beside it, or the file
    /// itself. A coding that is older than the file is of another content.
    fn represent(&self, environ: &Environ<'_>, found: FoundFile, path: &Path) -> io::Result<Representation> {
        let dictionary = self.dictionary_of(environ);
        let codings = match self.rules.siblings {
            Siblings::Ignored => Vec::new(),
            Siblings::Chosen => coding::accepted(environ.fields(), dictionary.as_ref()),
        };
        for coding in codings {
            let coded_path = coding.path_of(path, dictionary.as_ref());
            if let Ok(Node::File(coded)) = self.folder.find(&coded_path)
                && coded.metadata.modified().ok() >= found.metadata.modified().ok()
                && let Ok((file, metadata)) = self.folder.open_file(coded, &coded_path)
                && coding.is_for_all(&file, dictionary.as_ref()).unwrap_or(false)
            {
                let has_dictionary = coding.has_dictionary();
                let original = self
                    .rules
                    .has_dictionaries()
                    .then(|| Original { etag: etag_of(&found.metadata), has_dictionary });
                return Ok(Representation { file, metadata, coding: Some(coding), original });
            }
        }
        let (file, metadata) = self.folder.open_file(found, path)?;
        Ok(Representation { file, metadata, coding: None, original: None })
    }

    /// Whether a coding against the client's dictionary may lie beside the file of this key. Clients may name any number of
    /// dictionaries, so it is not kept that there is none, but looked for.
    fn may_have_coding(&self, environ: &Environ<'_>, key: &[u8]) -> bool {
        let (Some(dictionary), Some(path)) = (self.dictionary_of(environ), self.opened.path(key)) else {
            return true;
        };
        let codings = coding::accepted(environ.fields(), Some(&dictionary)).into_iter();
        let mut codings = codings.filter(|coding| coding.has_dictionary());
        codings.any(|coding| self.folder.look(&coding.path_of(path, Some(&dictionary))).is_ok())
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
                Ok(Node::File(file)) => return self.take(environ, key, path, finding, file),
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

    /// Takes in a file that was found, and keeps it for the next who asks.
    fn take(
        &mut self,
        environ: &Environ<'_>,
        key: Vec<u8>,
        path: PathBuf,
        finding: Finding,
        found: FoundFile,
    ) -> io::Result<Found> {
        let account = environ.client().memory;
        let represented = self.represent(environ, found, &path)?;
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
            Ok(Node::File(found)) => Some(found),
            Ok(Node::Folder(_) | Node::Other) | Err(_) => None,
        };
        match &self.rules.missing {
            Missing::Page(path)
                if is_page(environ.raw_path())
                    && let Some(represented) =
                        page(path).and_then(|found| self.represent(environ, found, path).ok()) =>
            {
                send_file(environ, start_response, &self.open(environ, path, represented)?)
            }
            // Neither validators nor ranges are about an error (RFC 9110 §8.8, §14.2).
            Missing::NotFound(path)
                if let Some((file, metadata)) =
                    page(path).and_then(|found| self.folder.open_file(found, path).ok()) =>
            {
                start_response
                    .status(404)
                    .field("Content-Type", self.rules.content_type(path).as_ref())
                    .field("X-Content-Type-Options", "nosniff")
                    .file(FileRange { file: file.into(), offset: 0, length: metadata.len() })
            }
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

/// Returns the path of the requested folder with a slash at the end. The slashes at its start are reduced to
/// one, since two would make a host of the first segment (RFC 3986 §4.2).
fn with_slash(environ: &Environ<'_>) -> String {
    let path = environ.target().raw_path().trim_start_matches('/');
    match environ.query() {
        "" => format!("/{path}/"),
        query => format!("/{path}/?{query}"),
    }
}
