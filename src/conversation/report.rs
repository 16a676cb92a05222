//! What the journal wants to know of an exchange, kept until its response has ended.
//!
//! Only what was [wanted](Wanted) is copied: of the request when the application is called, of the
//! response when its head has been written, from the bytes that will leave.

use super::journal::{RequestLine, Wanted};
use crate::gateway::Environ;
use crate::message::{RequestHead, Version};

/// The value of each thing that was wanted, in that order; none for what there was not.
type Values = Vec<Option<Vec<u8>>>;

/// The parts of an exchange that stand in logs.
#[derive(Default)]
pub(super) struct Report {
    line: Option<Line>,
    pub request_fields: Values,
    pub response_fields: Values,
    pub variables: Values,
}

/// A request line of its own.
struct Line {
    /// Method and target, one behind the other: each request that is not answered at once has one.
    text: String,
    method_bytes: usize,
    version: Version,
}

impl Report {
    /// Makes a report of the request line alone, where no more is known or wanted: enough to log a failure.
    pub fn of_line(line: RequestLine<'_>) -> Box<Report> {
        let text = [line.method, line.target].concat();
        let line = Some(Line { text, method_bytes: line.method.len(), version: line.version });
        Box::new(Report { line, ..Report::default() })
    }

    /// Of a request, as its application sees it before it has changed anything.
    pub fn of_request(head: &RequestHead<'_>, environ: &Environ<'_>, wanted: &Wanted) -> Box<Report> {
        let mut report = Report::of_line(line_of(head));
        let field = |name: &String| head.fields.get(name).map(<[u8]>::to_vec);
        report.request_fields = wanted.request_fields.iter().map(field).collect();
        let variable = |name: &String| environ.get(name).map(|value| value.into_owned());
        report.variables = wanted.variables.iter().map(variable).collect();
        report
    }

    /// Notes the fields of a response whose head was just written; content may follow it.
    pub fn note_response(&mut self, head: &[u8], wanted: &Wanted) {
        let field = |name: &String| encoded_field(head, name).map(<[u8]>::to_vec);
        self.response_fields = wanted.response_fields.iter().map(field).collect();
    }

    /// The response was taken back.
    pub fn forget_response(&mut self) {
        self.response_fields.clear();
    }

    /// The request line, if it could be read.
    pub fn line(&self) -> Option<RequestLine<'_>> {
        let Line { text, method_bytes, version } = self.line.as_ref()?;
        let (method, target) = text.split_at(*method_bytes);
        Some(RequestLine { method, target, version: *version })
    }
}

/// The request line of a head that could be read.
pub(super) fn line_of<'h>(head: &RequestHead<'h>) -> RequestLine<'h> {
    RequestLine { method: head.method.0, target: head.target.as_str(), version: head.version }
}

/// The value of the first field of this name in a head as it was encoded.
fn encoded_field<'h>(head: &'h [u8], name: &str) -> Option<&'h [u8]> {
    let lines = head.split(|&byte| byte == b'\n').skip(1).take_while(|line| *line != b"\r");
    lines.filter(|line| line.get(name.len()) == Some(&b':')).find_map(|line| {
        let (own_name, value) = line.split_at(name.len());
        own_name.eq_ignore_ascii_case(name.as_bytes()).then(|| value[1..].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_field_of_a_name_is_found_in_an_encoded_head() {
        let head = b"HTTP/1.1 200 Date: x\r\nDate: 1\r\nX-Date: 2\r\nEmpty: \r\nx-date: 3\r\n\r\nLate: 4\r\n";
        for (name, expected) in
            [("date", Some(&b"1"[..])), ("X-DATE", Some(b"2")), ("Empty", Some(b"")), ("Late", None)]
        {
            assert_eq!(encoded_field(head, name), expected, "{name}");
        }
        assert_eq!(encoded_field(b"", "Date"), None);
    }
}
