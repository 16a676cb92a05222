//! Writes JSON (RFC 8259), as little as is needed here.

use std::fmt::{Display, Write};

/// An object that is being written. Its members are separated as they come; [`Object::end`] closes it.
pub(crate) struct Object<'o> {
    out: &'o mut String,
    is_empty: bool,
}

impl<'o> Object<'o> {
    pub fn begin(out: &'o mut String) -> Object<'o> {
        out.push('{');
        Object { out, is_empty: true }
    }

    /// Begins a member, and returns where its value is written.
    pub fn value(&mut self, name: &str) -> &mut String {
        if !self.is_empty {
            self.out.push(',');
        }
        self.is_empty = false;
        text(self.out, name);
        self.out.push(':');
        self.out
    }

    /// Adds a number, or a truth value.
    pub fn number(&mut self, name: &str, value: impl Display) -> &mut Self {
        display(self.value(name), value);
        self
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        text(self.value(name), value);
        self
    }

    /// Adds a number, or null.
    pub fn optional(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.number(name, value),
            None => self.number(name, "null"),
        }
    }

    /// Adds a list.
    pub fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        write: impl FnMut(&mut String, T),
    ) -> &mut Self {
        list(self.value(name), items, write);
        self
    }

    pub fn end(self) {
        self.out.push('}');
    }
}

/// Writes a list.
pub(crate) fn list<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// Writes a value as it is shown.
pub(crate) fn display(out: &mut String, value: impl Display) {
    // A string takes everything.
    let _ = write!(out, "{value}");
}

/// Writes a text in quotes.
pub(crate) fn text(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            // Also what would end a script or a line, for whoever pastes it somewhere.
            '\0'..='\x1f' | '<' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_members_separated() {
        let mut out = String::new();
        let mut object = Object::begin(&mut out);
        object.text("a\"b", "\\ \n </script> ü").number("n", 1.5).optional("none", None::<u8>);
        object.list("l", [1, 2], display);
        object.end();
        let read: serde_json::Value = serde_json::from_str(&out).unwrap();
        let expected =
            serde_json::json!({ "a\"b": "\\ \n </script> ü", "n": 1.5, "none": null, "l": [1, 2] });
        assert_eq!(read, expected);
        assert!(!out.contains('<'));
    }
}
