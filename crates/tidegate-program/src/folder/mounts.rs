//! Folders beside an application, each below a path of its own (`--mount /static=DIR`).
//!
//! ```text
//! request ─▶ its path lies below a mount? ─ yes ─▶ the folder   (the application hears nothing of it)
//!                                         └ no ──▶ the application
//! ```

use std::cmp::Reverse;
use std::io;
use std::path::PathBuf;

use tidegate::gateway::{Admission, Body, Environ, Gateway, GatewayError, StartResponse};

use super::{FolderOptions, Site};

/// A folder, and the path below which it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The path, with a slash at its start and none at its end.
    pub prefix: String,
    /// The folder.
    pub folder: PathBuf,
}

/// Reads the value of `--mount`: `/static=DIR`.
///
/// # Errors
/// Returns a sentence about what is wrong with it.
pub fn parse_mount(text: &str) -> Result<Mount, String> {
    let (prefix, folder) = text.split_once('=').ok_or("it is /PATH=DIR")?;
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() {
        return Err("a folder at / would leave nothing to the application: it is /PATH=DIR".to_string());
    }
    let is_plain = prefix.split('/').skip(1).all(|segment| !matches!(segment, "" | "." | ".."));
    if !prefix.starts_with('/') || !is_plain {
        return Err(format!("{prefix} is no path such as /static"));
    }
    match folder {
        "" => Err("the folder is missing: it is /PATH=DIR".to_string()),
        folder => Ok(Mount { prefix: prefix.to_string(), folder: PathBuf::from(folder) }),
    }
}

/// The folders beside an application.
pub struct Mounts<'a> {
    /// Paths and folders; the longest path comes first.
    sites: Vec<(&'a str, Site<'a>)>,
}

impl<'a> Mounts<'a> {
    /// Checks that all folders are there, and the files that options name.
    ///
    /// # Errors
    /// Returns a sentence about what is missing or wrong.
    pub fn new(mounts: &'a [Mount], options: &'a FolderOptions) -> Result<Mounts<'a>, String> {
        let site = |mount: &'a Mount| {
            let site = Site::mounted(&mount.folder, options, mounts.len())?;
            Ok::<_, String>((&*mount.prefix, site))
        };
        let mut sites: Vec<_> = mounts.iter().map(site).collect::<Result<_, _>>()?;
        sites.sort_by_key(|(prefix, _)| Reverse(prefix.len()));
        Ok(Mounts { sites })
    }

    /// Whether there is no folder.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// The number of descriptors that are kept for files at most, of all folders together.
    pub fn descriptors_kept_max(&self) -> usize {
        // Each has its part of what one would have alone.
        self.sites.first().map_or(0, |(_, site)| site.descriptors_kept_max())
    }

    /// Puts the folders beside an application.
    ///
    /// # Errors
    /// Returns the error of the system when a folder cannot be opened.
    pub fn beside<G: Gateway>(&self, application: G) -> io::Result<BesideFolders<G>> {
        let folders = self.sites.iter().map(|(prefix, site)| Ok((prefix.to_string(), site.gateway()?)));
        Ok(BesideFolders { folders: folders.collect::<io::Result<_>>()?, application })
    }
}

/// A gateway to an application, and to the folders beside it.
pub struct BesideFolders<G> {
    folders: Vec<(String, Box<dyn Gateway>)>,
    application: G,
}

impl<G: Gateway> Gateway for BesideFolders<G> {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        match self.folders.iter_mut().find(|(prefix, _)| environ.enter(prefix)) {
            Some((_, folder)) => folder.call(environ, start_response),
            None => self.application.call(environ, start_response),
        }
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        let mut below = environ.without_content();
        match self.folders.iter().find(|(prefix, _)| below.enter(prefix)) {
            Some((_, folder)) => folder.admit(&below),
            None => self.application.admit(environ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_paths_and_folders() {
        for (text, prefix, folder) in
            [("/static=dist", "/static", "dist"), ("/a/b/=/x=y", "/a/b", "/x=y"), ("/s=../up", "/s", "../up")]
        {
            let mount = Mount { prefix: prefix.to_string(), folder: PathBuf::from(folder) };
            assert_eq!(parse_mount(text), Ok(mount), "{text}");
        }
        for (text, reason) in [
            ("/static", "/PATH=DIR"),
            ("/=dist", "nothing to the application"),
            ("=dist", "nothing to the application"),
            ("static=dist", "no path"),
            ("/a//b=dist", "no path"),
            ("/a/../b=dist", "no path"),
            ("/static=", "folder is missing"),
        ] {
            assert!(parse_mount(text).unwrap_err().contains(reason), "{text}");
        }
    }
}
