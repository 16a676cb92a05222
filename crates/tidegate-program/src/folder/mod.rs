//! A folder with what its options put around it: that of the command `static`, or one beside an application.
//!
//! ```text
//! request ─▶ coding ─▶ fields for every answer ─▶ cross-origin ─▶ name and password ─▶ a copy to keep ─▶ the folder, by its rules
//!        (--compress)    (--header)                 (--cors)        (--auth)             (?download)
//! ```

mod auth;
mod cors;
mod download;
mod mounts;
mod options;
mod redirects;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tidegate::gateway::Gateway;
use tidegate_compress::{Compressed, Compression};
use tidegate_files::{Links, Reopening, Rules, StaticFiles};
use tidegate_middleware::WithFields;

use self::auth::{Auth, Users};
use self::cors::Cors;
use self::download::Download;
pub use self::mounts::{BesideFolders, Mount, Mounts, parse_mount};
pub use self::options::{FILES, FolderOptions};
use self::options::{Followed, Shown};
use self::redirects::Redirects;

/// A folder as its options want it, from which each event loop makes a gateway of its own.
pub struct Site<'a> {
    folder: &'a Path,
    options: &'a FolderOptions,
    rules: Rules,
    /// Into how many parts that which may be kept is divided: one for each event loop, or mounted folder.
    parts: usize,
    users: Option<Arc<Users>>,
    reopening: Reopening,
    /// Coders and results, where answers are coded.
    compression: Option<Compression>,
}

impl<'a> Site<'a> {
    /// Checks that everything is there: the folder, and the files that options name. It is for this number of event loops.
    ///
    /// # Errors
    /// Returns a sentence about what is missing or wrong.
    pub fn new(folder: &'a Path, options: &'a FolderOptions, reactors: usize) -> Result<Site<'a>, String> {
        Site::checked(folder, options, options.listing.unwrap_or(Shown::On), reactors)
    }

    /// Checks the same for one of several folders beside an application. Nobody looks around in those, so they are not
    /// listed unless that was asked for.
    ///
    /// # Errors
    /// Returns a sentence about what is missing or wrong.
    pub fn mounted(folder: &'a Path, options: &'a FolderOptions, count: usize) -> Result<Site<'a>, String> {
        Site::checked(folder, options, options.listing.unwrap_or(Shown::Off), count)
    }

    fn checked(
        folder: &'a Path,
        options: &'a FolderOptions,
        listing: Shown,
        parts: usize,
    ) -> Result<Site<'a>, String> {
        let users =
            options.auth.as_deref().map(|file| Ok::<_, String>(Arc::new(Users::parse(&read(file)?)?)));
        let rules = rules(options, listing)?;
        let users = users.transpose()?;
        let compression = options.compress.then(shared_compression);
        let reopening = Reopening::default();
        let site = Site { folder, options, rules, parts, users, reopening, compression };
        let files = site.files().map_err(|error| error.to_string())?;
        if listing == Shown::On {
            files.check_listing().map_err(|error| {
                let reason = cannot_serve(folder, &error);
                format!("{reason}; files whose names are known can be served with --listing off")
            })?;
        }
        Ok(site)
    }

    /// A handle by which the folder is opened again by its name.
    pub fn reopening(&self) -> Reopening {
        self.reopening.clone()
    }

    /// The number of descriptors that the caches of all event loops keep at most.
    pub fn descriptors_kept_max(&self) -> usize {
        let bounds = self.options.file_cache.bounds();
        if bounds.valid_for.is_zero() { 0 } else { bounds.divided(1).descriptors_max }
    }

    /// The users who have a password, if there are some.
    pub fn users(&self) -> Option<Arc<Users>> {
        self.users.clone()
    }

    /// Makes the gateway of one event loop.
    ///
    /// # Errors
    /// Returns the error of the system when the folder cannot be opened.
    pub fn gateway(&self) -> io::Result<Box<dyn Gateway>> {
        let gateway: Box<dyn Gateway> = Box::new(Download(self.files()?));
        let gateway = match &self.users {
            None => gateway,
            Some(users) => Box::new(Auth::new(gateway, users.clone())),
        };
        // A browser asks its question without a password, and shows no 401 to a page that may not read it.
        let gateway = match &self.options.cors {
            None => gateway,
            Some(origin) => Box::new(Cors::new(gateway, origin).map_err(io::Error::other)?),
        };
        let gateway = match &self.options.headers[..] {
            [] => gateway,
            fields => {
                let set = |site: WithFields<_>, (name, value): &(String, String)| site.set(name, value);
                Box::new(fields.iter().try_fold(WithFields::new(gateway), set).map_err(io::Error::other)?)
            }
        };
        // Outermost, so that it sees what all others say. Files do not depend on cookies.
        Ok(match &self.compression {
            None => gateway,
            Some(compression) => Box::new(Compressed::new(gateway, compression).regardless_of_cookies()),
        })
    }

    fn files(&self) -> io::Result<StaticFiles> {
        let files = StaticFiles::with_rules(self.folder, self.rules.clone());
        let files = files.map_err(|error| io::Error::new(error.kind(), cannot_serve(self.folder, &error)))?;
        // By now the limit of descriptors is what it will be.
        let cache = self.options.file_cache.bounds().divided(self.parts);
        Ok(files.file_cache(cache).reopened_by(&self.reopening))
    }
}

/// Coders and results of all folders and event loops of the process, which have one bound.
fn shared_compression() -> Compression {
    static SHARED: OnceLock<Compression> = OnceLock::new();
    SHARED.get_or_init(Compression::default).clone()
}

fn cannot_serve(folder: &Path, error: &io::Error) -> String {
    format!("cannot serve the folder {}: {error}", folder.display())
}

/// Reads a file that an option names.
fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

/// Makes the rules of the folder.
fn rules(options: &FolderOptions, listing: Shown) -> Result<Rules, String> {
    let mut rules = Rules::default();
    if !options.index.is_empty() {
        rules = rules.index_names(options.index.iter().cloned());
    }
    if listing == Shown::Off {
        rules = rules.without_listings();
    }
    if options.clean_urls {
        rules = rules.clean_urls();
    }
    if options.precompressed {
        rules = rules.precompressed();
    }
    let dictionaries = options.use_as_dictionary.clone();
    if !dictionaries.is_empty() {
        rules = rules.dictionaries(move |path| {
            dictionaries
                .iter()
                .find(|(glob, _)| options::is_match(glob, path))
                .map(|(_, pattern)| pattern.clone())
        });
    }
    if options.spa {
        rules = rules.single_page();
    }
    if let Some(file) = &options.not_found {
        rules = rules.not_found(file);
    }
    if options.follow_links == Followed::Anywhere {
        rules = rules.links(Links::Anywhere);
    }
    for (extension, media_type) in &options.media_types {
        rules = rules.media_type(extension, media_type);
    }
    let globs = options.cache_control.clone();
    if !globs.is_empty() {
        rules = rules.caching(move |path| {
            globs.iter().find(|(glob, _)| options::is_match(glob, path)).map(|(_, value)| value.clone())
        });
    }
    if let Some(file) = &options.redirects {
        let redirects = read(file).and_then(|text| {
            Redirects::parse(&text).map_err(|reason| format!("{}, {reason}", file.display()))
        })?;
        rules = rules.moved(move |path| redirects.find(path));
    }
    Ok(rules)
}
