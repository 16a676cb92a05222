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
//! use tidegate_middleware::Mounts;
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
mod sending;
mod shown;
mod static_files;
mod validators;
mod view;

#[cfg(test)]
mod recording;
#[cfg(test)]
mod tests;

pub use self::file_cache::FileCache;
pub use self::media_type::media_type;
pub use self::rules::{Links, Moved, Rules, is_hash};
pub use self::static_files::{Reopening, StaticFiles};
