//! The options of a folder.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use glob::{MatchOptions, Pattern};
use tidegate::message::{is_field_name, is_field_value};
use tidegate_bench::Span;
use tidegate_files::FileCache;

/// The heading of these options in the help.
pub const FILES: &str = "Files";

/// The options of the command `static`, and of folders beside an application.
#[derive(Args, Debug)]
#[command(next_help_heading = FILES)]
pub struct FolderOptions {
    /// Whether folders without an index are listed, or answered with 404 [default: on; off beside an application]
    #[arg(long, value_name = "WHETHER")]
    pub listing: Option<Shown>,
    /// Name of the page of a folder; may be repeated, the first that is there counts [default: index.html]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub index: Vec<String>,
    /// Serve about.html for /about, too
    #[arg(long)]
    pub clean_urls: bool,
    /// Send app.js.zst, app.js.br or app.js.gz for app.js, where it is there and the client takes that coding
    ///
    /// One that is older than its file is passed over, and so is one of zstd that needs a window of more than 8 MiB.
    #[arg(long)]
    pub precompressed: bool,
    /// Have browsers keep files as dictionaries for others, "js/app-*.js=/js/app-*.js" for instance; may be repeated, the
    /// first that matches counts
    ///
    /// The pattern after the = says for which paths, as URLs have them, a browser is to use such a file, by RFC 9842: the next
    /// version of a script, say. With its next request it names what it has, and is sent app-2.js.HASH.dcz or .dcb for app-2.js,
    /// where that is there (precompress --against makes it). HASH is the SHA-256 of the dictionary in hexadecimal digits.
    /// Browsers do so over HTTPS only, or on this machine, and for files that may be kept for some time (--cache-control).
    /// Includes --precompressed.
    #[arg(long, value_name = "GLOB=PATTERN", value_parser = parse_dictionary)]
    pub use_as_dictionary: Vec<(Pattern, String)>,
    /// Code texts on the fly for clients that take that: gzip, and br and zstd where they are built in
    ///
    /// Never to requests with a password (Authorization), and no answer whose Cache-Control is private or no-store. Results
    /// are kept, in an eighth of --memory-max; coders take another. What lies beside a file comes first, with
    /// --precompressed.
    #[arg(long)]
    pub compress: bool,
    /// File of the folder to send with a 404 [default: 404.html, if it is there]
    #[arg(long, value_name = "FILE", value_parser = parse_relative)]
    pub not_found: Option<PathBuf>,
    /// Serve the page at the top for every path without a file and an extension, as applications want it that route in
    /// the browser
    #[arg(long, conflicts_with = "not_found")]
    pub spa: bool,
    /// File with lines such as "/old/* /new/:splat 301", for paths where no file is
    ///
    /// The format is Netlify's: source, destination, and a status (301, 302, 303, 307 or 308; 301 if there is none). A *
    /// at the end stands for the rest of a path, which is :splat in the destination, and :name for one segment. The query
    /// is passed on, unless the destination has one. The file is read at the start only: SIGHUP does not read it again.
    #[arg(long, value_name = "FILE")]
    pub redirects: Option<PathBuf>,
    /// Field to add to every answer, in place of one of its name; may be repeated
    #[arg(long = "header", value_name = "NAME:VALUE", value_parser = parse_header)]
    pub headers: Vec<(String, String)>,
    /// Cache-Control of files by path, "assets/*=max-age=3600" for instance; may be repeated, the first that matches
    /// counts
    ///
    /// In a pattern, * stands for anything but a slash and ** for any folders; one without a slash is about names
    /// in every folder. By default a script, style, image or font that has eight hexadecimal digits or more in its name is
    /// "max-age=31536000, immutable". Only files have the field, and no error such as a 404.
    #[arg(long, value_name = "GLOB=VALUE", value_parser = parse_cache_control)]
    pub cache_control: Vec<(Pattern, String)>,
    /// Media type of an extension, ".ext=text/plain; charset=latin1" for instance; may be repeated
    #[arg(long = "media-type", value_name = ".EXT=TYPE", value_parser = parse_media_type)]
    pub media_types: Vec<(String, String)>,
    /// Let pages of other sites read the files: all, or those of one origin
    #[arg(long, value_name = "ORIGIN", num_args = 0..=1, require_equals = true, default_missing_value = "*")]
    pub cors: Option<String>,
    /// File with names and passwords, one of which a client has to know
    ///
    /// The format is that of Apache's htpasswd, with bcrypt (htpasswd -B). Passwords travel as they are: put a
    /// proxy that speaks TLS before it. The file is read at the start only: SIGHUP does not read it again.
    #[arg(long, value_name = "FILE")]
    pub auth: Option<PathBuf>,
    /// How long a file is sent as it was when it was last looked at
    ///
    /// Short files are kept in memory meanwhile, long ones open, within a quarter of --memory-max and an eighth of the
    /// descriptors. With off, each request opens its file.
    #[arg(long, value_name = "TIME|off", default_value = "1s")]
    pub file_cache: Validity,
    /// Symbolic links to follow
    #[arg(long, value_name = "WHERE", default_value = "inside")]
    pub follow_links: Followed,
}

/// A time for which something holds, or `off` for not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity(Duration);

impl Validity {
    /// The bounds of a cache whose files hold for this long.
    pub fn bounds(self) -> FileCache {
        FileCache { valid_for: self.0, ..FileCache::default() }
    }
}

impl FromStr for Validity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Validity, &'static str> {
        match text {
            "off" => Ok(Validity(Duration::ZERO)),
            _ => Span::from_str(text).map(|span| Validity(span.time())),
        }
    }
}

/// Whether something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shown {
    /// Yes, it is
    On,
    /// No, it is not
    Off,
}

/// The links that are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Followed {
    /// Links to places in the folder
    Inside,
    /// All links, also out of the folder: whoever can make one in it decides what is served
    Anywhere,
}

/// Whether a pattern is about this path. One without a slash is about names, wherever they are.
pub fn is_match(glob: &Pattern, path: &Path) -> bool {
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    let path = match glob.as_str().contains('/') {
        true => path,
        false => Path::new(path.file_name().unwrap_or_default()),
    };
    glob.matches_path_with(path, options)
}

fn parse_name(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && !text.contains('/') && !text.starts_with('.');
    is_name.then(|| text.to_string()).ok_or_else(|| "the name of a file in a folder, not hidden".to_string())
}

fn parse_relative(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let is_below = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    (is_below && !text.is_empty())
        .then(|| path.to_path_buf())
        .ok_or_else(|| "a path below the folder".to_string())
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a field is NAME:VALUE")?;
    let value = value.trim();
    if !is_field_name(name.as_bytes()) || !is_field_value(value.as_bytes()) {
        return Err("a field's name is one word, and its value one line".to_string());
    }
    let is_servers =
        ["Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade", "Trailer"];
    match is_servers.iter().any(|other| other.eq_ignore_ascii_case(name)) {
        true => Err(format!("{name} is the server's own")),
        false => Ok((name.to_string(), value.to_string())),
    }
}

fn parse_cache_control(text: &str) -> Result<(Pattern, String), String> {
    let (glob, value) = text.split_once('=').ok_or("it is GLOB=VALUE")?;
    let glob = Pattern::new(glob.trim_start_matches('/')).map_err(|error| error.to_string())?;
    match is_field_value(value.as_bytes()) && !value.is_empty() {
        true => Ok((glob, value.to_string())),
        false => Err("the value is one line".to_string()),
    }
}

fn parse_dictionary(text: &str) -> Result<(Pattern, String), String> {
    let (glob, pattern) = text.split_once('=').ok_or("it is GLOB=PATTERN")?;
    let glob = Pattern::new(glob.trim_start_matches('/')).map_err(|error| error.to_string())?;
    let is_text = !pattern.is_empty() && pattern.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_text {
        return Err("a pattern is of letters, digits and signs of ASCII".to_string());
    }
    match pattern.contains('(') {
        true => Err("a pattern of RFC 9842 has no regular expressions in parentheses".to_string()),
        false => Ok((glob, pattern.to_string())),
    }
}

fn parse_media_type(text: &str) -> Result<(String, String), String> {
    let (extension, media_type) = text.split_once('=').ok_or("it is .EXT=TYPE")?;
    let extension = extension.trim_start_matches('.');
    let is_type = is_field_value(media_type.as_bytes()) && media_type.contains('/');
    if extension.is_empty() || extension.contains(['.', '/']) || !is_type {
        return Err("it is .EXT=TYPE/SUBTYPE, with one extension".to_string());
    }
    Ok((extension.to_string(), media_type.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(glob: &str, path: &str, expected: bool) {
        assert_eq!(is_match(&Pattern::new(glob).unwrap(), Path::new(path)), expected, "{glob} {path}");
    }

    #[test]
    fn patterns_match_paths_and_names() {
        check("*.js", "a.js", true);
        check("*.js", "x/y/a.js", true);
        check("assets/*", "assets/a.js", true);
        check("assets/*", "assets/x/a.js", false);
        check("assets/**/*", "assets/x/a.js", true);
        check("assets/**/*", "assets/a.js", true);
        check("assets/*", "other/a.js", false);
    }

    #[test]
    fn values_are_split_at_their_first_sign() {
        assert_eq!(parse_header("X-A: b:c").unwrap(), ("X-A".to_string(), "b:c".to_string()));
        assert!(parse_header("X A: b").is_err() && parse_header("X-A").is_err());
        assert!(parse_header("content-length: 3").unwrap_err().contains("server's"));
        let (glob, value) = parse_cache_control("/assets/*=max-age=3").unwrap();
        assert_eq!((glob.as_str(), value.as_str()), ("assets/*", "max-age=3"));
        let (glob, pattern) = parse_dictionary("js/app-*.js=/js/app-*.js?v=*").unwrap();
        assert_eq!((glob.as_str(), pattern.as_str()), ("js/app-*.js", "/js/app-*.js?v=*"));
        assert!(parse_dictionary("app.js").is_err() && parse_dictionary("app.js=").is_err());
        assert!(parse_dictionary("app.js=/a\r\nb").is_err() && parse_dictionary("a=/(.*)").is_err());
        assert_eq!(parse_media_type(".md=text/plain").unwrap(), ("md".to_string(), "text/plain".to_string()));
        assert!(parse_media_type(".md=text").is_err());
        assert!(parse_relative("../x").is_err() && parse_relative("/x").is_err());
    }
}
