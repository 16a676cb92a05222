//! Makes the keys of the environ that belong to field names: `User-Agent` → `HTTP_USER_AGENT`.
//!
//! Clients send the same dozen names all day. Each name's key is made once and found again by the bytes
//! of the name. The table has a fixed number of places, and names longer than any in use are never kept:
//! a client that invents names costs itself time, and the server no memory.

use pyo3::prelude::*;
use pyo3::types::PyString;

/// Places in the table. 256: browsers, proxies and programming languages together send about 100 names.
const PLACES: usize = 256;
/// Longest name that is kept, in bytes. 64: the longest registered field name has 45.
const NAME_BYTES_MAX: usize = 64;

/// Variables whose names are interned, so that an application's lookup compares two addresses. No others are:
/// in Python 3.12 an interned string is never freed, and clients invent names.
const INTERNED: [&str; 26] = [
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_CHARSET",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_AUTHORIZATION",
    "HTTP_CACHE_CONTROL",
    "HTTP_CONNECTION",
    "HTTP_COOKIE",
    "HTTP_EXPECT",
    "HTTP_FORWARDED",
    "HTTP_HOST",
    "HTTP_IF_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_RANGE",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_ORIGIN",
    "HTTP_RANGE",
    "HTTP_REFERER",
    "HTTP_UPGRADE",
    "HTTP_USER_AGENT",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_HTTP_METHOD_OVERRIDE",
    "HTTP_X_REQUESTED_WITH",
];

/// The place of a field in the environ.
pub(super) enum Key {
    /// The field is a variable of this name.
    Variable(Py<PyString>),
    /// The field is a variable of this name, and may say how the client has reached the proxy in front:
    /// `X-Forwarded-Proto`.
    ForwardedProto(Py<PyString>),
    /// The field is CONTENT_TYPE.
    ContentType,
    /// The field has no place: its name would pass for another one, or the server has decoded it already.
    Hidden,
}

/// Keys by field name.
pub(super) struct FieldNames {
    places: Vec<Option<(Box<str>, Key)>>,
}

impl FieldNames {
    pub fn new() -> FieldNames {
        FieldNames { places: std::iter::repeat_with(|| None).take(PLACES).collect() }
    }

    /// Returns the key that belongs to a name.
    pub fn key(&mut self, py: Python<'_>, name: &str) -> &Key {
        let place = &mut self.places[place_of(name)];
        let is_known = place.as_ref().is_some_and(|(known, _)| **known == *name);
        if !is_known {
            // Too long to be kept: whoever comes here next replaces it.
            let kept = if name.len() <= NAME_BYTES_MAX { name } else { "" };
            *place = Some((kept.into(), make_key(py, name)));
        }
        // It was just put there, if it was not there before.
        place.as_ref().map_or(&Key::Hidden, |(_, key)| key)
    }
}

/// Chooses a place by length, first and last letters; names of the same place are told apart by comparing
/// them.
fn place_of(name: &str) -> usize {
    let letters = |from: usize| {
        let bytes = &name.as_bytes()[from..];
        bytes.first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
    };
    let mixed =
        letters(0).wrapping_mul(0x9e37_79b1) ^ letters(name.len().saturating_sub(4)) ^ name.len() as u32;
    (mixed.wrapping_mul(0x85eb_ca6b) >> 24) as usize % PLACES
}

fn make_key(py: Python<'_>, name: &str) -> Key {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    // Content-Length is set from the content itself; see the environ's own chapter for the others.
    let is_hidden =
        ["Content-Length", "Transfer-Encoding", "Proxy"].into_iter().any(is) || name.contains('_');
    if is_hidden {
        return Key::Hidden;
    }
    if is("Content-Type") {
        return Key::ContentType;
    }
    let variable = format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"));
    let variable = match INTERNED.contains(&&*variable) {
        true => PyString::intern(py, &variable),
        false => PyString::new(py, &variable),
    };
    let variable = variable.unbind();
    if is("X-Forwarded-Proto") { Key::ForwardedProto(variable) } else { Key::Variable(variable) }
}
