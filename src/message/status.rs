//! The status code (RFC 9110 §15) and what it says about content.

use std::fmt;

/// A status code that an exchange can end with: 200 to 599, or 101, which ends HTTP on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusCode(u16);

impl StatusCode {
    /// 101 Switching Protocols, which ends HTTP on its connection.
    pub const SWITCHING_PROTOCOLS: StatusCode = StatusCode(101);
    /// 426 Upgrade Required.
    pub const UPGRADE_REQUIRED: StatusCode = StatusCode(426);
    /// 200 OK.
    pub const OK: StatusCode = StatusCode(200);
    /// 404 Not Found.
    pub const NOT_FOUND: StatusCode = StatusCode(404);
    /// 500 Internal Server Error.
    pub const INTERNAL_SERVER_ERROR: StatusCode = StatusCode(500);

    /// Makes a status code, if a final response can have it.
    ///
    /// 1xx are interim responses, which an application does not end an exchange with; there is
    /// nothing above 599 (RFC 9110 §15).
    pub const fn new(code: u16) -> Option<StatusCode> {
        match code {
            200..=599 => Some(StatusCode(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// Whether a response with this code never has content, whatever its fields say
    /// (RFC 9110 §6.4.1). 205 is here because a server must not generate content in it (§15.3.6).
    pub const fn forbids_content(self) -> bool {
        matches!(self.0, 101 | 204 | 205 | 304)
    }

    /// The whole status line of a frequent code, so that encoding it is a single copy.
    pub fn status_line(self) -> Option<&'static [u8]> {
        Some(match self.0 {
            200 => b"HTTP/1.1 200 OK\r\n",
            204 => b"HTTP/1.1 204 No Content\r\n",
            206 => b"HTTP/1.1 206 Partial Content\r\n",
            301 => b"HTTP/1.1 301 Moved Permanently\r\n",
            302 => b"HTTP/1.1 302 Found\r\n",
            304 => b"HTTP/1.1 304 Not Modified\r\n",
            400 => b"HTTP/1.1 400 Bad Request\r\n",
            404 => b"HTTP/1.1 404 Not Found\r\n",
            500 => b"HTTP/1.1 500 Internal Server Error\r\n",
            _ => return None,
        })
    }

    /// The reason phrase that the standard gives the code; empty for a code without one.
    pub const fn reason_phrase(self) -> &'static str {
        match self.0 {
            101 => "Switching Protocols",
            200 => "OK",
            201 => "Created",
            202 => "Accepted",
            203 => "Non-Authoritative Information",
            204 => "No Content",
            205 => "Reset Content",
            206 => "Partial Content",
            207 => "Multi-Status",
            208 => "Already Reported",
            226 => "IM Used",
            300 => "Multiple Choices",
            301 => "Moved Permanently",
            302 => "Found",
            303 => "See Other",
            304 => "Not Modified",
            305 => "Use Proxy",
            307 => "Temporary Redirect",
            308 => "Permanent Redirect",
            400 => "Bad Request",
            401 => "Unauthorized",
            402 => "Payment Required",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            406 => "Not Acceptable",
            407 => "Proxy Authentication Required",
            408 => "Request Timeout",
            409 => "Conflict",
            410 => "Gone",
            411 => "Length Required",
            412 => "Precondition Failed",
            413 => "Content Too Large",
            414 => "URI Too Long",
            415 => "Unsupported Media Type",
            416 => "Range Not Satisfiable",
            417 => "Expectation Failed",
            418 => "I'm a Teapot",
            421 => "Misdirected Request",
            422 => "Unprocessable Content",
            423 => "Locked",
            424 => "Failed Dependency",
            425 => "Too Early",
            426 => "Upgrade Required",
            428 => "Precondition Required",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            451 => "Unavailable For Legal Reasons",
            500 => "Internal Server Error",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            505 => "HTTP Version Not Supported",
            506 => "Variant Also Negotiates",
            507 => "Insufficient Storage",
            508 => "Loop Detected",
            511 => "Network Authentication Required",
            _ => "",
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.reason_phrase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_made_status_lines_say_what_the_table_says() {
        for code in 200..=599 {
            let status = StatusCode::new(code).unwrap();
            if let Some(line) = status.status_line() {
                let said = format!("HTTP/1.1 {} {}\r\n", code, status.reason_phrase());
                assert_eq!(line, said.as_bytes());
            }
        }
    }

    #[test]
    fn interim_and_impossible_codes_are_no_final_status() {
        for code in [0, 99, 100, 199, 600, 999] {
            assert_eq!(StatusCode::new(code), None);
        }
    }
}
