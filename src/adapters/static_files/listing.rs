//! The page that shows what is in a folder.
//!
//! Names are foreign text: they are escaped where they are shown, and percent-encoded where they are linked
//! to. Names with a leading dot are left out, and so is whatever a client could not open.

use std::ffi::OsString;
use std::fmt::{self, Write};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::folder::Folder;
use super::path::name_bytes;
use crate::adapters::html::{Escaped, UriSegment};
use crate::message::Calendar;

/// Most entries that are shown of one folder. 5,000: a page of about a megabyte, as long as anybody would read;
/// each entry costs a few system calls, all of them some twenty milliseconds of the thread that renders.
const ENTRIES_MAX: usize = 5_000;

const STYLE: &str = include_str!("listing.css");

/// The policy of the page: it may be styled by itself, and load and do nothing else.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// One line of the page.
struct Entry {
    name: OsString,
    is_folder: bool,
    bytes: u64,
    modified: Option<SystemTime>,
}

/// Renders the folder at a relative path.
///
/// # Errors
/// Returns the error of the system when the folder cannot be read. An entry that cannot be looked at is left
/// out.
pub fn page(folder: &Folder, relative: &Path) -> io::Result<String> {
    let (names, is_cut) = folder.names(relative, ENTRIES_MAX)?;
    let mut entries: Vec<_> =
        names.into_iter().filter_map(|name| Entry::look(folder, relative, name)).collect();
    entries.sort_by_cached_key(|entry| {
        (!entry.is_folder, entry.name.to_string_lossy().to_lowercase(), entry.name.clone())
    });
    let mut html = String::with_capacity(2_048 + entries.len() * 192);
    // Writing to a String does not fail.
    let _ = render(&mut html, relative, &entries, is_cut);
    Ok(html)
}

impl Entry {
    fn look(folder: &Folder, relative: &Path, name: OsString) -> Option<Entry> {
        let metadata = folder.look(&relative.join(&name)).ok()?;
        let is_served = metadata.is_dir() || metadata.is_file();
        is_served.then(|| Entry {
            name,
            is_folder: metadata.is_dir(),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }
}

fn render(html: &mut String, relative: &Path, entries: &[Entry], is_cut: bool) -> fmt::Result {
    let is_top = relative.as_os_str().is_empty();
    let place = relative.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
    let title = if is_top { "/".to_string() } else { format!("/{place}/") };
    let title = Escaped(&title);
    write!(
        html,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Index of {title}</title>\n<style>\n{STYLE}</style>\n<h1>Index of {title}</h1>\n\
         <table>\n<thead><tr><th>Name<th class=\"size\">Size<th class=\"date\">Modified (UTC)\
         </thead>\n<tbody>\n"
    )?;
    if !is_top {
        html.push_str("<tr><td><a href=\"../\">../</a><td class=\"size\"><td class=\"date\">\n");
    }
    for entry in entries {
        render_entry(html, entry)?;
    }
    html.push_str("</tbody>\n</table>\n");
    if is_cut {
        writeln!(html, "<p>There is more; {ENTRIES_MAX} entries are shown.</p>")?;
    } else if entries.is_empty() {
        html.push_str("<p>Nothing here.</p>\n");
    }
    Ok(())
}

fn render_entry(html: &mut String, entry: &Entry) -> fmt::Result {
    let (href, text) = (UriSegment(name_bytes(&entry.name)), entry.name.to_string_lossy());
    let slash = if entry.is_folder { "/" } else { "" };
    write!(html, "<tr><td><a href=\"{href}{slash}\">{}{slash}</a><td class=\"size\"", Escaped(&text))?;
    if entry.is_folder {
        html.push('>');
    } else {
        write!(html, " title=\"{} bytes\">{}", entry.bytes, HumanSize(entry.bytes))?;
    }
    html.push_str("<td class=\"date\">");
    if let Some(modified) = entry.modified {
        write!(html, "{}", Minute(modified))?;
    }
    html.push('\n');
    Ok(())
}

/// A length that people can read at a glance.
struct HumanSize(u64);

impl fmt::Display for HumanSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unit_bytes = 1_u64;
        for unit in ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] {
            let whole = self.0 / unit_bytes;
            if whole < 10 && unit_bytes > 1 {
                let tenth = self.0 % unit_bytes * 10 / unit_bytes;
                return write!(f, "{whole}.{tenth} {unit}");
            }
            if whole < 1_024 {
                return write!(f, "{whole} {unit}");
            }
            unit_bytes *= 1_024;
        }
        write!(f, "{} EiB", self.0 >> 60)
    }
}

/// A time to the minute, in UTC.
struct Minute(SystemTime);

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since_1970 = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let Calendar { year, month, day, hour, minute, .. } = Calendar::from_unix(since_1970.as_secs());
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: u64, expected: &str) {
        assert_eq!(HumanSize(bytes).to_string(), expected);
    }

    #[test]
    fn sizes_can_be_read_at_a_glance() {
        check(0, "0 B");
        check(1_023, "1023 B");
        check(1_024, "1.0 KiB");
        check(10_239, "9.9 KiB");
        check(10_240, "10 KiB");
        check(1_536 * 1_024, "1.5 MiB");
        check(u64::MAX, "15 EiB");
    }

    #[test]
    fn times_are_told_to_the_minute() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(Minute(time).to_string(), "1994-11-06 08:49");
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Minute(before).to_string(), "1970-01-01 00:00");
    }
}
