//! The filter that codes one answer.

use std::sync::Arc;

use tidegate::gateway::middleware::{Filter, Passage, PassingHead};
use tidegate::gateway::{Content, Environ, GatewayError, MemoryAccount};
use tidegate::message::{ContentLength, Method, list_items};

use crate::coder::{Coder, Coding, Effort};
use crate::{Compression, Hired};

/// Shortest content that is coded, in bytes. 512, as Caddy: below that, the fields that announce a coding take up what
/// it saves.
const CODED_BYTES_MIN: u64 = 512;
/// Longest content that is coded with some effort, in bytes. 1 MiB: longer content would take the loop's time for more than
/// some 30 ms in all, at the expense of everybody else.
const EFFORT_BYTES_MAX: u64 = 1 << 20;
/// Most content that is coded in one go, in bytes. 64 KiB: less than a millisecond for gzip, some for br, while
/// others wait; and what a file gives at once. What the turn around it costs is a hundredth of that.
pub const SLICE_BYTES: usize = 64 << 10;

/// Whether content of a media type is text, and so becomes shorter by a coding: `text/` (but `text/event-stream`), JSON, XML,
/// scripts, SVG, WebAssembly, and fonts and images that are not coded by themselves.
pub fn is_text(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((top, sub)) = essence.split_once('/') else { return false };
    match top {
        "text" => sub != "event-stream",
        "application" => {
            [
                "json",
                "javascript",
                "xml",
                "wasm",
                "x-javascript",
                "ecmascript",
                "x-ndjson",
                "rtf",
                "xhtml+xml",
            ]
            .contains(&sub)
                || sub.ends_with("+json")
                || sub.ends_with("+xml")
                || ["manifest", "vnd.ms-fontobject", "x-sh", "sql", "toml", "yaml"].contains(&sub)
        }
        "image" => ["svg+xml", "bmp", "x-icon", "vnd.microsoft.icon"].contains(&sub),
        "font" => ["ttf", "otf", "collection"].contains(&sub),
        _ => false,
    }
}

/// Whether the content is several ranges of another (RFC 9110 §14.6).
fn is_of_ranges(media_type: &str) -> bool {
    let start = media_type.trim_start().get(..20);
    start.is_some_and(|start| start.eq_ignore_ascii_case("multipart/byteranges"))
}

/// The name of a result: content of one tag and type at one place, in one coding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Host, target, tag and media type, with blanks between them.
    place: Box<str>,
    coding: Coding,
}

impl Key {
    pub fn new([host, target, tag, media_type]: [&str; 4], coding: Coding) -> Key {
        Key { place: format!("{host} {target} {tag} {media_type}").into(), coding }
    }

    pub fn held_bytes(&self) -> usize {
        2 * size_of::<Key>() + self.place.len()
    }
}

/// The part of a request that matters for how its answer is coded.
pub struct Asked {
    /// The coding that the client is to have; none if the content stays as it is.
    coding: Option<Coding>,
    host: String,
    target: String,
    /// The value of If-None-Match.
    known: Vec<u8>,
    method: Asking,
    account: Option<MemoryAccount>,
}

/// The kinds of requests that are told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    ForAll,
    ForTheHead,
    /// The method is another: the answer is about what was done, and kept for nobody.
    Otherwise,
}

impl Asked {
    pub fn by(environ: &Environ<'_>, coding: Option<Coding>) -> Asked {
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        let method = match environ.method() {
            Method::GET => Asking::ForAll,
            Method::HEAD => Asking::ForTheHead,
            _ => Asking::Otherwise,
        };
        Asked {
            coding,
            host: text(environ.field("Host")),
            target: [environ.target().raw_path(), "?", environ.query()].concat(),
            known: environ.fields().all("If-None-Match").collect::<Vec<_>>().join(&b","[..]),
            method,
            account: environ.client().memory.cloned(),
        }
    }

    /// Whether the client knows the content by the weak form of this tag.
    fn knows_weakly(&self, tag: &[u8]) -> bool {
        let weak = [b"W/", tag].concat();
        self.known.windows(weak.len()).any(|part| part == weak)
    }
}

/// The head of an answer as far as it was seen, and what it says about coding.
#[derive(Default)]
struct Seen {
    code: u16,
    /// The entity tag, held back until it is known to hold.
    tag: Option<Vec<u8>>,
    /// The value of Accept-Ranges, which is held back, too.
    accept_ranges: Option<Vec<u8>>,
    kind: Kind,
    /// The media type, if it is one of text.
    media_type: Box<str>,
    ban: Ban,
    vary: Vary,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    Text,
    /// Ranges of something, which may be text.
    Ranges,
    #[default]
    Other,
}

/// The use of an answer that something forbids.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Ban {
    #[default]
    None,
    /// The answer is not kept for others: it depends on what they ask for, and applications may give all of it one tag.
    Keeping,
    /// The answer is not coded: it is secret, or coded already, or says that its bytes are to stay.
    Coding,
}

/// Whether the application itself says that the answer depends on Accept-Encoding.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Vary {
    #[default]
    Unsaid,
    Said,
}

/// The work that is done on the content.
enum Work {
    /// The content passes as it is, or has not begun.
    None,
    /// The content is coded as it passes, and what has come out is collected where it may be kept.
    Coding {
        coder: Box<Coder>,
        hired: Hired,
        kept: Option<(Key, Vec<u8>)>,
        /// The bytes that are still to come, if the application has said how many.
        rest: Option<u64>,
    },
    /// The content is replaced by what is kept.
    Kept(Arc<[u8]>),
}

/// The filter of one answer.
pub struct Coded {
    compression: Compression,
    asked: Asked,
    seen: Seen,
    work: Work,
    /// The piece that leaves.
    leaving: Vec<u8>,
}

impl Coded {
    pub fn new(compression: &Compression, asked: Asked) -> Coded {
        let seen = Seen::default();
        Coded { compression: compression.clone(), asked, seen, work: Work::None, leaving: Vec::new() }
    }

    /// Decides how the content passes, and starts the work.
    fn start(&mut self, length: ContentLength) -> Passage {
        let Some(coding) = self.asked.coding else { return Passage::Unseen };
        let length = match length {
            ContentLength::Known(length) if length < CODED_BYTES_MIN => return Passage::Unseen,
            ContentLength::Nothing => return Passage::Unseen,
            ContentLength::Known(length) => Some(length),
            ContentLength::Unknown => None,
        };
        if self.seen.kind != Kind::Text || self.seen.ban == Ban::Coding {
            return Passage::Unseen;
        }
        let key = self.key(coding);
        if let Some(result) = key.as_ref().and_then(|key| self.compression.result(key)) {
            self.work = Work::Kept(result);
            return Passage::Replaced;
        }
        // Nobody sees the content, and what the fields say is the same.
        if self.asked.method == Asking::ForTheHead {
            return Passage::Changed;
        }
        let effort = match length {
            Some(length) if length > EFFORT_BYTES_MAX => Effort::Least,
            _ if key.is_some() => Effort::Much,
            _ => Effort::Little,
        };
        let hire =
            |effort| Some((effort, self.compression.hire(coding, effort, self.asked.account.as_ref())?));
        let efforts = || std::iter::successors(Some(effort), |effort| effort.less());
        let Some((possible, hired)) = efforts().find_map(hire) else { return Passage::Unseen };
        let Ok(coder) = Coder::new(coding, possible) else { return Passage::Unseen };
        // What is kept is sent many times: worth the effort that there is no memory for at the moment.
        let kept = key.filter(|_| possible == effort).map(|key| (key, Vec::new()));
        self.work = Work::Coding { coder: Box::new(coder), hired, kept, rest: length };
        Passage::Changed
    }

    /// The name of the result, where it may be kept: it is known by a strong tag, the same for all, and not about an
    /// error.
    fn key(&self, coding: Coding) -> Option<Key> {
        let tag = self.seen.tag.as_deref().and_then(|tag| std::str::from_utf8(tag).ok())?;
        let may_be_kept = tag.starts_with('"')
            && self.seen.code == 200
            && self.seen.ban == Ban::None
            && self.asked.method != Asking::Otherwise;
        let Asked { host, target, .. } = &self.asked;
        may_be_kept.then(|| Key::new([host, target, tag, &self.seen.media_type], coding))
    }

    /// Sends what the coder has put out, and collects it where it may be kept.
    fn leave(&mut self, out: Vec<u8>) -> &[u8] {
        if let Work::Coding { kept, .. } = &mut self.work
            && let Some((_, all)) = kept
        {
            all.extend_from_slice(&out);
            if !self.compression.is_kept(all.len()) {
                *kept = None;
            }
        }
        self.leaving = out;
        &self.leaving
    }

    fn add_fields(&mut self, head: &mut PassingHead<'_>, passage: Passage) {
        let is_coded = passage != Passage::Unseen;
        // A range and "not modified" say what the whole would have said (RFC 9110 §15.3.7, §15.4.5).
        let may_be_coded = match self.seen.code {
            206 => self.seen.kind != Kind::Other,
            304 => true,
            _ => self.seen.kind == Kind::Text && self.seen.ban != Ban::Coding,
        };
        if let Some(tag) = self.seen.tag.take() {
            let is_weak = is_coded || self.seen.code == 304 && self.asked.knows_weakly(&tag);
            match is_weak && tag.starts_with(b"\"") {
                true => head.field("ETag", [b"W/", &tag[..]].concat()),
                false => head.field("ETag", tag),
            }
        }
        if let Some(value) = self.seen.accept_ranges.take().filter(|_| !is_coded) {
            head.field("Accept-Ranges", value);
        }
        if may_be_coded && self.seen.vary == Vary::Unsaid {
            head.field("Vary", "Accept-Encoding");
        }
        if let (true, Some(coding)) = (is_coded, self.asked.coding) {
            head.field("Content-Encoding", coding.name());
        }
        if let Work::Kept(content) = &self.work {
            head.field("Content-Length", content.len().to_string());
        }
    }
}

impl Filter for Coded {
    fn begin(&mut self, code: u16) {
        (self.seen, self.work) = (Seen { code, ..Seen::default() }, Work::None);
        if !matches!(code, 200 | 203 | 404) {
            self.seen.ban = Ban::Coding;
        }
    }

    fn field(&mut self, name: &str, value: &[u8]) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let lists = |words: &[&str]| {
            list_items(value).any(|item| {
                let word = item.split(|byte| *byte == b'=').next().unwrap_or_default();
                words.iter().any(|other| word.eq_ignore_ascii_case(other.as_bytes()))
            })
        };
        if is("ETag") {
            self.seen.tag = Some(value.to_vec());
            return false;
        }
        if is("Accept-Ranges") {
            self.seen.accept_ranges = Some(value.to_vec());
            return false;
        }
        if is("Content-Type") {
            self.seen.kind = match std::str::from_utf8(value) {
                Ok(media_type) if is_text(media_type) => {
                    self.seen.media_type = media_type.into();
                    Kind::Text
                }
                Ok(media_type) if is_of_ranges(media_type) => Kind::Ranges,
                _ => Kind::Other,
            };
        } else if is("Vary") {
            if lists(&["Accept-Encoding", "*"]) {
                self.seen.vary = Vary::Said;
            }
            // A dictionary changes the coding only, and what has one passes as it is (RFC 9842 §6.2).
            let is_of_codings = |item: &[u8]| {
                ["Accept-Encoding", "Available-Dictionary"]
                    .iter()
                    .any(|name| item.eq_ignore_ascii_case(name.as_bytes()))
            };
            if !list_items(value).all(is_of_codings) {
                self.seen.ban = self.seen.ban.max(Ban::Keeping);
            }
        } else if is("Cache-Control") && lists(&["private", "no-store", "no-transform"])
            || ["Set-Cookie", "Content-Encoding", "Content-Range"].iter().any(|other| is(other))
            || ["Content-Digest", "Repr-Digest", "Digest", "Content-MD5"].iter().any(|other| is(other))
        {
            self.seen.ban = Ban::Coding;
        }
        true
    }

    fn head(&mut self, head: &mut PassingHead<'_>) -> Passage {
        let passage = self.start(head.length());
        self.add_fields(head, passage);
        passage
    }

    fn content<'p>(&'p mut self, content: &'p [u8]) -> Result<&'p [u8], GatewayError> {
        let Work::Coding { coder, rest, .. } = &mut self.work else { return Ok(content) };
        if let Some(rest) = rest {
            let more = rest.checked_sub(content.len() as u64);
            *rest = more.ok_or_else(|| GatewayError::new("more content than its Content-Length says"))?;
        }
        coder.write(content)?;
        let out = coder.take();
        Ok(self.leave(out))
    }

    fn slice_bytes(&self) -> usize {
        SLICE_BYTES
    }

    fn pause(&mut self) -> Result<&[u8], GatewayError> {
        let Work::Coding { coder, .. } = &mut self.work else { return Ok(&[]) };
        coder.flush()?;
        let out = coder.take();
        Ok(self.leave(out))
    }

    fn end(&mut self) -> Result<&[u8], GatewayError> {
        match std::mem::replace(&mut self.work, Work::None) {
            // What is kept has been given as the replacement.
            Work::None | Work::Kept(_) => Ok(&[]),
            // Nobody but us can tell that it is not all: the client knows no length.
            Work::Coding { rest: Some(1..), .. } => {
                Err(GatewayError::new("less content than its Content-Length says"))
            }
            Work::Coding { coder, hired, kept, .. } => {
                self.leaving = coder.finish()?;
                drop(hired);
                if let Some((key, mut all)) = kept {
                    all.extend_from_slice(&self.leaving);
                    if self.compression.is_kept(all.len()) {
                        self.compression.keep(key, all, self.asked.account.as_ref());
                    }
                }
                Ok(&self.leaving)
            }
        }
    }

    fn replacement(&mut self) -> Result<Content<'_>, GatewayError> {
        Ok(match std::mem::replace(&mut self.work, Work::None) {
            Work::Kept(content) => Content::Shared(content),
            Work::None | Work::Coding { .. } => Content::Borrowed(&[]),
        })
    }

    fn held_bytes(&self) -> usize {
        let of_work = match &self.work {
            // It counts where it is kept.
            Work::None | Work::Kept(_) => 0,
            Work::Coding { hired, kept, .. } => {
                hired.bytes + kept.as_ref().map_or(0, |(_, all)| all.capacity())
            }
        };
        of_work + self.leaving.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_text_or_not() {
        for text in [
            "text/html; charset=utf-8",
            "application/json",
            "image/svg+xml",
            "TEXT/CSS",
            "application/ld+json",
        ] {
            assert!(is_text(text), "{text}");
        }
        for other in
            ["text/event-stream", "image/png", "video/mp4", "application/zip", "font/woff2", "", "text"]
        {
            assert!(!is_text(other), "{other}");
        }
    }
}
