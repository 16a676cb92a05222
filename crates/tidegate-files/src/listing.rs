//! The page that shows what is in a folder, for people and for programs.
//!
//! Names are foreign text: they are escaped where they are shown, and percent-encoded where they are linked
//! to. Names with a leading dot are left out, and so is whatever a client could not open.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tidegate::message::Calendar;

use super::folder::{Folder, Kind};
use super::path::name_bytes;
use super::view::{Direction, Form, Sort, View};
use crate::html::{Escaped, UriSegment};

/// Most entries of one folder that are looked at. 100,000: to sort their names takes a thread a tenth of a second, and to
/// look at each of them half a second.
const ENTRIES_MAX: usize = 100_000;
/// Entries on a page. 1,000: 150 KB, and a few milliseconds of the thread that renders.
const PAGE_ENTRIES: usize = 1_000;

const STYLE: &str = include_str!("listing.css");
/// The two pictures that stand before names.
const ICONS: &str = "<svg class=\"icons\"><symbol id=\"d\" viewBox=\"0 0 16 16\"><path d=\"M1 3h5l2 2h7v8H1z\"/></symbol>\
    <symbol id=\"f\" viewBox=\"0 0 16 16\"><path d=\"M3.5 1.5h6l3 3v10h-9z\"/></symbol></svg>\n";

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

/// The entries of a page, and where it stands among the others.
struct Page<'a> {
    relative: &'a Path,
    view: View,
    entries: Vec<Entry>,
    pages: usize,
    /// Whether the folder has more entries than are looked at.
    is_cut: bool,
}

/// Renders a view of the folder at a relative path.
///
/// # Errors
/// Returns the error of the system when the folder cannot be read. An entry that cannot be looked at is left
/// out.
pub fn page(folder: &Folder, relative: &Path, view: View) -> io::Result<String> {
    let (names, is_cut) = folder.names(relative, ENTRIES_MAX)?;
    let pages = names.len().div_ceil(PAGE_ENTRIES).max(1);
    let view = view.of_page(view.page.min(pages - 1));
    let start = view.page * PAGE_ENTRIES;
    let look = |(name, _)| Entry::look(folder, relative, name);
    let entries = match view.sort {
        // Only those that are shown need to be looked at.
        Sort::Name => {
            let names = sorted_by_name(folder, relative, view, names);
            names.into_iter().skip(start).take(PAGE_ENTRIES).filter_map(look).collect()
        }
        Sort::Size | Sort::Date => {
            let mut entries: Vec<_> = names.into_iter().filter_map(look).collect();
            entries.sort_by(|one, other| {
                let ordering = match view.sort {
                    Sort::Size => one.bytes.cmp(&other.bytes),
                    Sort::Name | Sort::Date => one.modified.cmp(&other.modified),
                };
                let is_file = one.is_folder.cmp(&other.is_folder).reverse();
                is_file.then(view.directed(ordering)).then_with(|| one.name.cmp(&other.name))
            });
            entries.into_iter().skip(start).take(PAGE_ENTRIES).collect()
        }
    };
    let page = Page { relative, view, entries, pages, is_cut };
    let mut text = String::with_capacity(4_096 + page.entries.len() * 192);
    // Writing to a String does not fail.
    let _ = match view.form {
        Form::Html => page.write_html(&mut text),
        Form::Json => page.write_json(&mut text),
    };
    Ok(text)
}

/// Sorts names as people do, folders first.
fn sorted_by_name(
    folder: &Folder,
    relative: &Path,
    view: View,
    names: Vec<(OsString, Kind)>,
) -> Vec<(OsString, Kind)> {
    let is_folder = |name: &OsStr, kind| match kind {
        Kind::Folder => true,
        Kind::File => false,
        Kind::Unknown => folder.look(&relative.join(name)).is_ok_and(|metadata| metadata.is_dir()),
    };
    let keyed =
        names.into_iter().map(|(name, kind)| (!is_folder(&name, kind), natural_key(&name), name, kind));
    let mut keyed: Vec<_> = keyed.collect();
    keyed.sort_unstable_by(|one, other| {
        one.0.cmp(&other.0).then_with(|| view.directed(one.1.cmp(&other.1).then_with(|| one.2.cmp(&other.2))))
    });
    keyed.into_iter().map(|(_, _, name, kind)| (name, kind)).collect()
}

/// Returns a text that sorts as people would sort the name: without regard to case, and numbers by their value. A number
/// is preceded by how many digits it has.
fn natural_key(name: &OsStr) -> String {
    let name = name.to_string_lossy().to_lowercase();
    let mut key = String::with_capacity(name.len() + 4);
    let mut rest = name.as_str();
    while let Some(start) = rest.find(|character: char| character.is_ascii_digit()) {
        let (before, tail) = rest.split_at(start);
        let end = tail.find(|character: char| !character.is_ascii_digit()).unwrap_or(tail.len());
        let (number, after) = tail.split_at(end);
        let digits = number.trim_start_matches('0');
        key.push_str(before);
        key.push('0');
        key.push(char::from(u8::try_from(digits.len()).unwrap_or(u8::MAX)));
        key.push_str(digits);
        rest = after;
    }
    key + rest
}

impl Entry {
    fn look(folder: &Folder, relative: &Path, name: OsString) -> Option<Entry> {
        let metadata = folder.look(&relative.join(&name)).ok()?;
        let is_served = metadata.is_dir() || metadata.is_file();
        is_served.then(|| Entry {
            name,
            is_folder: metadata.is_dir(),
            bytes: if metadata.is_dir() { 0 } else { metadata.len() },
            modified: metadata.modified().ok(),
        })
    }

    fn write_html(&self, html: &mut String) -> fmt::Result {
        let (href, text) = (UriSegment(name_bytes(&self.name)), self.name.to_string_lossy());
        let (slash, icon) = if self.is_folder { ("/", 'd') } else { ("", 'f') };
        let text = Escaped(&text);
        write!(
            html,
            "<tr><td><svg><use href=\"#{icon}\"/></svg><a href=\"{href}{slash}\">{text}{slash}</a>"
        )?;
        match self.is_folder {
            true => html.push_str("<td class=\"size\">"),
            false => {
                let bytes = self.bytes;
                write!(html, "<td class=\"size\" title=\"{bytes} bytes\">{}", HumanSize(bytes))?;
            }
        }
        html.push_str("<td class=\"date\">");
        if let Some(modified) = self.modified {
            write!(html, "{}", Minute(modified))?;
        }
        html.push('\n');
        Ok(())
    }

    fn write_json(&self, json: &mut String) -> fmt::Result {
        let kind = if self.is_folder { "folder" } else { "file" };
        write!(json, "{{\"name\":{},\"type\":\"{kind}\"", JsonString(&self.name.to_string_lossy()))?;
        if !self.is_folder {
            write!(json, ",\"size\":{}", self.bytes)?;
        }
        if let Some(modified) = self.modified {
            write!(json, ",\"modified\":{}", since_1970(modified).as_secs())?;
        }
        json.push('}');
        Ok(())
    }
}

impl Page<'_> {
    fn write_html(&self, html: &mut String) -> fmt::Result {
        let path = self.path();
        let title = Escaped(&path);
        write!(
            html,
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <title>Index of {title}</title>\n<style>\n{STYLE}</style>\n{ICONS}<main>\n<h1>Index of "
        )?;
        self.write_way(html)?;
        html.push_str("</h1>\n<table>\n<thead><tr>");
        for (sort, name, class) in [
            (Sort::Name, "Name", "name"),
            (Sort::Size, "Size", "size"),
            (Sort::Date, "Modified (UTC)", "date"),
        ] {
            let sorted = match self.view.direction {
                _ if self.view.sort != sort => "none",
                Direction::Up => "ascending",
                Direction::Down => "descending",
            };
            let view = self.view.sorted_by(sort);
            write!(html, "<th class=\"{class}\" aria-sort=\"{sorted}\"><a href=\"{view}\">{name}</a>")?;
        }
        html.push_str("</thead>\n<tbody>\n");
        if !self.relative.as_os_str().is_empty() {
            html.push_str("<tr><td><svg><use href=\"#d\"/></svg><a href=\"../\">../</a><td class=\"size\"><td class=\"date\">\n");
        }
        for entry in &self.entries {
            entry.write_html(html)?;
        }
        html.push_str("</tbody>\n</table>\n");
        if self.entries.is_empty() {
            html.push_str("<p>Nothing here.</p>\n");
        }
        self.write_pages(html)?;
        html.push_str("</main>\n</html>\n");
        Ok(())
    }

    /// Writes the folders on the way from the top, each with a link.
    fn write_way(&self, html: &mut String) -> fmt::Result {
        let parts: Vec<_> = self.relative.iter().collect();
        for (depth, name) in [OsStr::new("")].into_iter().chain(parts.iter().copied()).enumerate() {
            let name = name.to_string_lossy();
            match parts.len() - depth {
                0 => write!(html, "{}/", Escaped(&name))?,
                up => write!(html, "<a href=\"{}\">{}/</a>", "../".repeat(up), Escaped(&name))?,
            }
        }
        Ok(())
    }

    /// Writes where this page stands, and links to those around it.
    fn write_pages(&self, html: &mut String) -> fmt::Result {
        let (page, pages) = (self.view.page, self.pages);
        if pages > 1 {
            html.push_str("<nav aria-label=\"Pages\">");
            if page > 0 {
                write!(html, "<a rel=\"prev\" href=\"{}\">Previous</a> ", self.view.of_page(page - 1))?;
            }
            write!(html, "Page {} of {pages}", page + 1)?;
            if page + 1 < pages {
                write!(html, " <a rel=\"next\" href=\"{}\">Next</a>", self.view.of_page(page + 1))?;
            }
            html.push_str("</nav>\n");
        }
        if self.is_cut {
            writeln!(html, "<p>There is more than can be listed: {ENTRIES_MAX} entries.</p>")?;
        }
        Ok(())
    }

    fn write_json(&self, json: &mut String) -> fmt::Result {
        let (path, page, pages) = (self.path(), self.view.page + 1, self.pages);
        let (path, is_cut) = (JsonString(&path), self.is_cut);
        write!(json, "{{\"path\":{path},\"page\":{page},\"pages\":{pages},\"cut\":{is_cut},\"entries\":[")?;
        for (at, entry) in self.entries.iter().enumerate() {
            json.push_str(if at == 0 { "\n" } else { ",\n" });
            entry.write_json(json)?;
        }
        json.push_str("\n]}\n");
        Ok(())
    }

    fn path(&self) -> String {
        match self.relative.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/") {
            top if top.is_empty() => "/".to_string(),
            place => format!("/{place}/"),
        }
    }
}

/// A text as JSON has it (RFC 8259 §7).
struct JsonString<'a>(&'a str);

impl fmt::Display for JsonString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                control if u32::from(control) < 0x20 => write!(f, "\\u{:04x}", u32::from(control))?,
                other => f.write_char(other)?,
            }
        }
        f.write_char('"')
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO)
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
        let Calendar { year, month, day, hour, minute, .. } =
            Calendar::from_unix(since_1970(self.0).as_secs());
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
    fn names_are_sorted_as_people_do() {
        let sorted = ["a", "File-2", "file-10", "file-10b", "file-010c", "file-x", "z1.2", "z1.10", "z02"];
        let mut names = sorted;
        names.reverse();
        names.sort_by_key(|name| natural_key(OsStr::new(name)));
        assert_eq!(names, sorted);
    }

    #[test]
    fn text_of_json_is_escaped() {
        assert_eq!(JsonString("a\"b\\c\n\u{e9}").to_string(), "\"a\\\"b\\\\c\\u000a\u{e9}\"");
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
