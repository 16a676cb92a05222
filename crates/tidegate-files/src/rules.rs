//! The rules of a folder: which names stand for others, and what is said about a file.
//!
//! All of it is data, and each rule is asked in one place: names on the way from a path to a file, types and caching when
//! the head of that file is made.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::media_type;

/// The name of the page of a folder, unless rules name others.
const INDEX_NAME: &str = "index.html";
/// The file that is sent with a 404, unless rules name another.
const NOT_FOUND_NAME: &str = "404.html";
pub(super) const UNKNOWN_TYPE: &str = "application/octet-stream";
/// The extensions of files whose name may contain a hash of their content. Pages are not among them: they name the
/// others, and have to be asked for.
const HASHED_EXTENSIONS: [&str; 16] = [
    "avif", "css", "gif", "ico", "jpeg", "jpg", "js", "map", "mjs", "png", "svg", "ttf", "wasm", "webp",
    "woff", "woff2",
];
/// Fewest hexadecimal digits of a hash in a name. 8: what the usual tools put there.
const HASH_DIGITS_MIN: usize = 8;
/// The `Cache-Control` of a file whose name changes with its content: it can be kept for a year, without asking (RFC 8246).
/// Not `public`: a cache that many share would then keep what only those may read who know a password (RFC 9111 §3.5).
const IMMUTABLE: &str = "max-age=31536000, immutable";

/// Rules for the files of a folder. The default ones are those of a plain site.
///
/// ```
/// use tidegate_files::{Links, Rules};
///
/// let rules = Rules::default()
///     .index_names(["index.htm"])
///     .without_listings()
///     .not_found("errors/404.html")
///     .media_type("mjs", "text/javascript")
///     .caching(|path| path.starts_with("assets").then(|| "max-age=3600".to_string()))
///     .links(Links::Anywhere);
/// # let _ = rules;
/// ```
#[derive(Clone)]
pub struct Rules {
    index_names: Vec<String>,
    pub(super) listings: Listings,
    pages: Pages,
    pub(super) siblings: Siblings,
    pub(super) missing: Missing,
    media_types: Vec<(String, String)>,
    caching: Arc<Caching>,
    moved: Option<Arc<Moving>>,
    dictionaries: Option<Arc<Dictionaries>>,
    pub(super) links: Links,
}

/// Says the paths for which a file is a dictionary.
type Dictionaries = dyn Fn(&Path) -> Option<String> + Send + Sync;

/// Says where the file of a path has gone.
type Moving = dyn Fn(&str) -> Option<Moved> + Send + Sync;

/// Says the `Cache-Control` of a file.
type Caching = dyn Fn(&Path) -> Option<String> + Send + Sync;

/// A redirect: the place to which a client is sent instead of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The status of the redirect, 301 for one.
    pub code: u16,
    /// The URI reference of the place. The query of a request is passed on to it, unless it has one of its own.
    pub location: String,
}

impl Moved {
    /// Passes on the query of a request.
    pub(super) fn with_query(mut self, query: &str) -> Moved {
        let (place, fragment) =
            self.location.split_at(self.location.find('#').unwrap_or(self.location.len()));
        if !query.is_empty() && !place.contains('?') {
            self.location = format!("{place}?{query}{fragment}");
        }
        self
    }
}

/// The links of a folder that are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// Links to places in the folder are followed, unless these are hidden.
    #[default]
    Inside,
    /// All links are followed, also out of the folder: whoever can make one in it decides what is served.
    Anywhere,
}

/// Whether a folder without an index is listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Listings {
    Shown,
    Absent,
}

/// Whether a page can be asked for without its extension.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pages {
    AsNamed,
    AlsoWithoutExtension,
}

/// Whether codings of a file that lie beside it are sent instead of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Siblings {
    Ignored,
    Chosen,
}

/// The answer where no file is.
#[derive(Clone)]
pub(super) enum Missing {
    /// A file of the folder, if it is there, with status 404.
    NotFound(PathBuf),
    /// A file of the folder that is a page for all paths which look like pages, with status 200.
    Page(PathBuf),
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            index_names: vec![INDEX_NAME.to_string()],
            listings: Listings::Shown,
            pages: Pages::AsNamed,
            siblings: Siblings::Ignored,
            missing: Missing::NotFound(NOT_FOUND_NAME.into()),
            media_types: Vec::new(),
            caching: Arc::new(|path| is_hashed(path).then(|| IMMUTABLE.to_string())),
            moved: None,
            dictionaries: None,
            links: Links::Inside,
        }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("index_names", &self.index_names).finish_non_exhaustive()
    }
}

impl Rules {
    /// Sets the names of a folder's page, the first of which that is there counts: `index.html` by default.
    #[must_use]
    pub fn index_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Rules {
        self.index_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Answers 404 for folders that have no page, instead of listing them.
    #[must_use]
    pub fn without_listings(mut self) -> Rules {
        self.listings = Listings::Absent;
        self
    }

    /// Serves `about.html` for `/about`, too.
    #[must_use]
    pub fn clean_urls(mut self) -> Rules {
        self.pages = Pages::AlsoWithoutExtension;
        self
    }

    /// Sends `app.js.zst`, `app.js.br` or `app.js.gz` for `app.js`, if it is there, not older, and the client takes that
    /// coding. One of zstd that needs a window of more than 8 MiB is for no browser, and passed over.
    #[must_use]
    pub fn precompressed(mut self) -> Rules {
        self.siblings = Siblings::Chosen;
        self
    }

    /// Says which files clients are to keep as dictionaries, and for which paths: a pattern as `Use-As-Dictionary` has it,
    /// `/js/app-*.js` for the versions of a script (RFC 9842 §2.1). A client that has such a file, and asks for another
    /// one, is sent `app-2.js.HASH.dcz` or `.dcb` for `app-2.js`, if that is there and not older. HASH is the SHA-256 of the
    /// dictionary in hexadecimal digits, and the coded file must begin with it, too. Everything is as with
    /// [`precompressed`](Rules::precompressed) otherwise, which this includes.
    ///
    /// Browsers want HTTPS for this (or this machine), and a dictionary that may be kept for some time: see
    /// [`caching`](Rules::caching).
    #[must_use]
    pub fn dictionaries(
        mut self,
        pattern: impl Fn(&Path) -> Option<String> + Send + Sync + 'static,
    ) -> Rules {
        self.dictionaries = Some(Arc::new(pattern));
        self.precompressed()
    }

    /// Sends this file of the folder with each 404. By default it is the folder's own `404.html`, if there is one.
    #[must_use]
    pub fn not_found(mut self, path: impl Into<PathBuf>) -> Rules {
        self.missing = Missing::NotFound(path.into());
        self
    }

    /// Serves the page at the top for every path that has no file, as applications want it that route in the browser.
    /// Paths with an extension are not among them: a script that is missing is not a page.
    #[must_use]
    pub fn single_page(mut self) -> Rules {
        self.missing = Missing::Page(self.index_names.first().map_or(INDEX_NAME, String::as_str).into());
        self
    }

    /// Sets the media type of an extension, which is written without its dot. `text/…` is said to be UTF-8 unless the
    /// type says more.
    #[must_use]
    pub fn media_type(mut self, extension: &str, media_type: &str) -> Rules {
        self.media_types.insert(0, (extension.to_ascii_lowercase(), media_type.to_string()));
        self
    }

    /// Sets `Cache-Control` by the path below the folder. Where this says nothing the default holds: a script, style, image
    /// or font with eight hexadecimal digits or more in its name is immutable, and others say nothing. An answer
    /// without the file, such as a 404, never has the field.
    #[must_use]
    pub fn caching(mut self, caching: impl Fn(&Path) -> Option<String> + Send + Sync + 'static) -> Rules {
        let before = self.caching;
        self.caching = Arc::new(move |path| caching(path).or_else(|| before(path)));
        self
    }

    /// Sends clients elsewhere by the path as they have sent it, where no file is.
    #[must_use]
    pub fn moved(mut self, moved: impl Fn(&str) -> Option<Moved> + Send + Sync + 'static) -> Rules {
        self.moved = Some(Arc::new(moved));
        self
    }

    /// Sets the links that are followed.
    #[must_use]
    pub fn links(mut self, links: Links) -> Rules {
        self.links = links;
        self
    }

    /// Yields the paths of the pages that a folder may have, the best first.
    pub(super) fn indexes(&self, folder: &Path) -> impl Iterator<Item = PathBuf> {
        self.index_names.iter().map(|name| folder.join(name))
    }

    /// The path of a page that was asked for without its extension.
    pub(super) fn page_of(&self, path: &Path) -> Option<PathBuf> {
        let name = path.file_name().filter(|_| self.pages == Pages::AlsoWithoutExtension)?;
        let mut name = name.to_os_string();
        name.push(".html");
        Some(path.with_file_name(name))
    }

    /// The other place of a path where no file is.
    pub(super) fn place_of(&self, path: &str) -> Option<Moved> {
        self.moved.as_ref().and_then(|moved| moved(path))
    }

    /// The `Content-Type` of a file.
    pub(super) fn content_type(&self, path: &Path) -> Cow<'_, str> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let own = self.media_types.iter().find(|(own, _)| own.eq_ignore_ascii_case(extension));
        let media_type = own.map(|(_, media_type)| media_type.as_str());
        match media_type.or_else(|| media_type::of_extension(extension)) {
            Some(text) if text.starts_with("text/") && !text.contains(';') => {
                format!("{text}; charset=utf-8").into()
            }
            Some(other) => other.into(),
            None => UNKNOWN_TYPE.into(),
        }
    }

    /// Whether clients may have dictionaries of this folder.
    pub(super) fn has_dictionaries(&self) -> bool {
        self.dictionaries.is_some()
    }

    /// The `Use-As-Dictionary` of a file.
    pub(super) fn use_as_dictionary(&self, path: &Path) -> Option<String> {
        let pattern = self.dictionaries.as_ref()?(path)?;
        // A string of a structured field (RFC 9651 §3.3.3).
        Some(format!("match=\"{}\"", pattern.replace('\\', "\\\\").replace('"', "\\\"")))
    }

    /// The `Cache-Control` of a file.
    pub(super) fn cache_control(&self, path: &Path) -> Option<String> {
        (self.caching)(path)
    }
}

/// Whether a name tells one content of its file from another: it has a [hash](is_hash).
fn is_hashed(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    HASHED_EXTENSIONS.contains(&extension) && stem.split(['.', '-', '_']).any(is_hash)
}

/// Whether a part of a name, between dots, hyphens and underscores, is a hash in hexadecimal digits. A date has no letters, and
/// a word no digits.
///
/// A hash in base64url, as Vite writes it, is none here: it cannot be told from a word with certainty, and a file that is taken
/// for immutable by mistake stays with its readers for a year.
pub fn is_hash(part: &str) -> bool {
    part.len() >= HASH_DIGITS_MIN
        && part.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
        && part.bytes().any(|byte| byte.is_ascii_digit())
        && part.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: bool) {
        assert_eq!(is_hashed(Path::new(name)), expected, "{name}");
    }

    #[test]
    fn names_with_a_hash_are_told_from_dates_and_words() {
        check("assets/app.3f2a9c1b.js", true);
        check("main-0a1b2c3d4e5f60718293.chunk.css", true);
        check("app.js", false);
        check("photo-20240131.jpg", false);
        check("facade-decade.png", false);
        check("photo-iphone15.jpg", false);
        check("page.3f2a9c1b.html", false);
        check("3f2a9c1b/app.js", false);
    }

    #[test]
    fn type_of_an_extension_can_be_set_and_text_says_how_it_is_written() {
        let rules =
            Rules::default().media_type("Foo", "text/foo").media_type("html", "text/html; charset=latin1");
        for (name, expected) in [
            ("a.foo", "text/foo; charset=utf-8"),
            ("a.FOO", "text/foo; charset=utf-8"),
            ("a.html", "text/html; charset=latin1"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.wasm", "application/wasm"),
            ("a", UNKNOWN_TYPE),
        ] {
            assert_eq!(rules.content_type(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn own_rule_of_caching_comes_before_the_default_one() {
        let rules = Rules::default().caching(|path| path.ends_with("a.js").then(|| "no-cache".to_string()));
        assert_eq!(rules.cache_control(Path::new("x/a.js")).as_deref(), Some("no-cache"));
        assert_eq!(rules.cache_control(Path::new("a.3f2a9c1b.js")).as_deref(), Some(IMMUTABLE));
        assert_eq!(rules.cache_control(Path::new("a.html")), None);
    }
}
