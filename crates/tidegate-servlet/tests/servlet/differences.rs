//! The list of what the two connectors differ in, and why. An entry whose difference has vanished fails.

/// An answer of Tomcat's own connector that is another, and why.
pub struct Difference {
    pub probe: &'static str,
    pub tomcat: &'static str,
    #[expect(dead_code, reason = "said to those who read the list")]
    pub why: &'static str,
}

pub const DIFFERENCES: &[Difference] = &[
    Difference {
        probe: "line without a version",
        tomcat: "short",
        why: "HTTP/0.9 is gone (RFC 9112, appendix A): no client of today means it.",
    },
    Difference {
        probe: "line with two blanks",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8}: short",
        why: "RFC 9112, section 3: one blank; a server may be lenient, and others on the way may read another target.",
    },
    Difference {
        probe: "line with tabs",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8}: short",
        why: "The same.",
    },
    Difference {
        probe: "line of HTTP/2",
        tomcat: "Fin instead of a response",
        why: "Tomcat waits for it with another connector; tidegate says that it does not speak it.",
    },
    Difference {
        probe: "target with brackets and braces",
        tomcat: "400 length: page of 400",
        why: "Browsers send them. Tomcat has an attribute for it, `relaxedPathChars`; servlets see them as they were sent.",
    },
    Difference {
        probe: "host without a name",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8}",
        why: "RFC 9110, section 7.2, allows it; `getServerName` has a name here all the same, as it has for a client of HTTP/1.0 without the field.",
    },
    Difference {
        probe: "host with an underscore",
        tomcat: "400 length: page of 400",
        why: "RFC 3986, section 3.2.2, allows it, and there are such names.",
    },
    Difference {
        probe: "host with two dots",
        tomcat: "400 length: page of 400",
        why: "The same: what a name may be is its registry's.",
    },
    Difference {
        probe: "host with an empty port",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8}: a | 0",
        why: "RFC 3986, section 3.2.3: it is the default, 80.",
    },
    Difference {
        probe: "host with a port of ten digits",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8}: a | 80",
        why: "No port has more than five digits.",
    },
    Difference {
        probe: "coding that is none",
        tomcat: "501 length: page of 501",
        why: "RFC 9112, section 7.4, has no such coding any more, and with a length it is an attempt at smuggling.",
    },
    Difference {
        probe: "head of nine thousand bytes",
        tomcat: "400 length: page of 400",
        why: "`maxHttpRequestHeaderSize` is 8 KiB with Tomcat and 32 KiB here, as with nginx: cookies take more than they did.",
    },
    Difference {
        probe: "target of nine thousand bytes",
        tomcat: "400 length: page of 400",
        why: "Tidegate says what is too long.",
    },
    Difference { probe: "fields beyond a hundred", tomcat: "400 length: page of 400", why: "The same." },
    Difference {
        probe: "chunk with a long extension",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8}: 3:352441c2",
        why: "Nobody reads extensions. Each has 256 bytes at most here, all of a request 8 KiB with Tomcat.",
    },
    Difference {
        probe: "target absolute and another host",
        tomcat: "400 length: page of 400",
        why: "RFC 9112, section 3.2.2: a server ignores Host where the target is absolute.",
    },
    Difference {
        probe: "folder without a slash",
        tomcat: "302 chunked {Location: /probe/}",
        why: "Tidegate knows that nothing follows; Tomcat sends an empty body in chunks.",
    },
    Difference {
        probe: "field that goes on",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8}: [1 2]",
        why: "RFC 9112, section 5.2: a server may refuse a folded line, in which filters disagree.",
    },
    Difference {
        probe: "content with a length and chunks",
        tomcat: "200 length close {Content-Type: text/plain;charset=UTF-8}: 3:352441c2",
        why: "RFC 9112, section 6.1: both together are an attempt at smuggling.",
    },
    Difference {
        probe: "trailers",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8}: false | 3:352441c2 | true {}",
        why: "Tomcat drops trailers unless an attribute of the connector names each. Tidegate hands out those that RFC 9110, section 6.5.1, allows. They are there when the content has come.",
    },
    Difference {
        probe: "trailers that may not be",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8}: 3:352441c2 | true {}",
        why: "The same.",
    },
    Difference {
        probe: "client that leaves in the middle of its content",
        tomcat: "broken",
        why: "A servlet that is not asynchronous is called once all content is there: a slow client holds no thread.",
    },
    Difference {
        probe: "content that is refused before 100",
        tomcat: "100 none; 413 length: page of 413",
        why: "Content is asked for when a servlet reads; Tomcat asks for it at once.",
    },
    Difference {
        probe: "content that is ignored before 100",
        tomcat: "100 none; 200 length {Content-Type: text/plain;charset=UTF-8}: ignored",
        why: "Content is asked for when a servlet reads; Tomcat asks for it at once.",
    },
    Difference {
        probe: "expectation of another kind",
        tomcat: "417 length: page of 417",
        why: "After it nobody knows whether content follows; tidegate closes.",
    },
    Difference {
        probe: "trailers of an answer to a client that did not ask",
        tomcat: "200 chunked {Content-Type: text/plain;charset=UTF-8}: content + x-more: a b + x-sum: 7",
        why: "RFC 9110, section 6.5.1: trailers are for clients that say they keep them.",
    },
    Difference {
        probe: "trailers that may not be sent",
        tomcat: "200 chunked {Content-Type: text/plain;charset=UTF-8}: content + x-bad: a  X-Injected: 1 + x-good: 1",
        why: "A CR LF in a value is an error of the application; Tomcat sends blanks instead.",
    },
    Difference {
        probe: "early hints to a client of 1996",
        tomcat: "103 none {Link: </style.css>; rel=preload}; 200 length close {Content-Type: text/plain;charset=UTF-8, Link: </style.css>; rel=preload}: final",
        why: "RFC 9110, section 15.2: no 1xx to a client of HTTP/1.0.",
    },
    Difference {
        probe: "name of the server",
        tomcat: "none",
        why: "Tomcat says no name, since it is its own default.",
    },
    Difference {
        probe: "page of an error",
        tomcat: "text/html;charset=utf-8",
        why: "Errors before a context is known are the server's own.",
    },
    Difference {
        probe: "connection after an error",
        tomcat: "is closed",
        why: "Tomcat closes after 400, 408, 411, 413, 414, 500, 501 and 503; tidegate where the request is not at its end.",
    },
    Difference {
        probe: "answers one after the other",
        tomcat: "closes after 100",
        why: "Tomcat closes after `maxKeepAliveRequests`, which is 100.",
    },
    Difference {
        probe: "field with CR LF",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8, X-A: b  X-Injected: 1}: ok",
        why: "What is no field is an error of the application (500); Tomcat sends something else in its stead.",
    },
    Difference {
        probe: "field with LF",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8, X-A: b X-Injected: 1}: ok",
        why: "What is no field is an error of the application (500); Tomcat sends something else in its stead.",
    },
    Difference {
        probe: "field with NUL",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8, X-A: b c}: ok",
        why: "What is no field is an error of the application (500); Tomcat sends something else in its stead.",
    },
    Difference {
        probe: "field with another control",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8, X-A: b c}: ok",
        why: "What is no field is an error of the application (500); Tomcat sends something else in its stead.",
    },
    Difference {
        probe: "field with a letter of Unicode",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8}: ok",
        why: "Tomcat leaves the field out; tidegate sends what ISO 8859-1 has of it.",
    },
    Difference {
        probe: "field whose name has CR LF",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8, X-A  X-Injected: 1: b}: ok",
        why: "What is no field is an error of the application (500); Tomcat sends something else in its stead.",
    },
    Difference {
        probe: "field whose name has a blank",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8}: ok",
        why: "What is no field is an error of the application (500); Tomcat sends something else in its stead.",
    },
    Difference {
        probe: "field whose name has a colon",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8, X-A:: b}: ok",
        why: "What is no field is an error of the application (500); Tomcat sends something else in its stead.",
    },
    Difference {
        probe: "field added with CR LF",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8, X-A: b  X-Injected: 1, X-A: first}: ok",
        why: "What is no field is an error of the application (500); Tomcat sends something else in its stead.",
    },
    Difference {
        probe: "type with CR LF",
        tomcat: "200 length {Content-Type: text/x  X-Injected: 1;charset=UTF-8}: ok",
        why: "What is no field is an error of the application (500); Tomcat sends something else in its stead.",
    },
    Difference {
        probe: "redirect with CR LF",
        tomcat: "302 length {Content-Type: text/plain;charset=UTF-8, Location: /a  X-Injected: 1}",
        why: "What is no field is an error of the application (500); Tomcat sends something else in its stead.",
    },
    Difference {
        probe: "transfer coding",
        tomcat: "both Content-Length and Transfer-Encoding",
        why: "The framing is the server's; Tomcat sends it beside its Content-Length, which clients read in two ways.",
    },
    Difference {
        probe: "transfer coding of another kind",
        tomcat: "both Content-Length and Transfer-Encoding",
        why: "The same.",
    },
    Difference {
        probe: "upgrade that nobody asked for",
        tomcat: "200 length {Content-Type: text/plain;charset=UTF-8, Upgrade: h2c}: ok",
        why: "A protocol is switched by an upgrade handler, not by a field.",
    },
    Difference {
        probe: "status 99",
        tomcat: "code \"99\"",
        why: "A code that is none, or no final one, is an error of the application; Tomcat sends it.",
    },
    Difference {
        probe: "status 0",
        tomcat: "code \"0\"",
        why: "A code that is none, or no final one, is an error of the application; Tomcat sends it.",
    },
    Difference {
        probe: "status -1",
        tomcat: "code \"-1\"",
        why: "A code that is none, or no final one, is an error of the application; Tomcat sends it.",
    },
    Difference {
        probe: "status 100",
        tomcat: "100 none; hangs",
        why: "A code that is none, or no final one, is an error of the application; Tomcat sends it.",
    },
    Difference {
        probe: "status 101",
        tomcat: "hangs",
        why: "A code that is none, or no final one, is an error of the application; Tomcat sends it.",
    },
    Difference {
        probe: "status 199",
        tomcat: "199 none; hangs",
        why: "A code that is none, or no final one, is an error of the application; Tomcat sends it.",
    },
    Difference {
        probe: "status 600",
        tomcat: "600 length {Content-Type: text/plain;charset=UTF-8}: ok",
        why: "A code that is none, or no final one, is an error of the application; Tomcat sends it.",
    },
    Difference {
        probe: "status 999",
        tomcat: "999 length {Content-Type: text/plain;charset=UTF-8}: ok",
        why: "A code that is none, or no final one, is an error of the application; Tomcat sends it.",
    },
    Difference {
        probe: "status 1000",
        tomcat: "code \"1000\"",
        why: "A code that is none, or no final one, is an error of the application; Tomcat sends it.",
    },
    Difference {
        probe: "content with 204",
        tomcat: "204 none {Content-Type: text/plain;charset=UTF-8}",
        why: "Tomcat sends the type of content that there is none of.",
    },
    Difference {
        probe: "content with 304",
        tomcat: "304 none",
        why: "The type that the servlet has set; Tomcat sends none.",
    },
    Difference {
        probe: "length too long for its content",
        tomcat: "hangs",
        why: "Tomcat leaves the client waiting for the rest.",
    },
    Difference {
        probe: "length too long for its content, flushed",
        tomcat: "hangs",
        why: "Tomcat leaves the client waiting for the rest.",
    },
    Difference {
        probe: "length that is negative",
        tomcat: "length \"-5\"",
        why: "Tomcat sends the wrong number.",
    },
    Difference {
        probe: "async read of bad chunks",
        tomcat: "Fin instead of a response",
        why: "Tomcat breaks off; tidegate has seen it before the servlet was called, and says what is wrong.",
    },
];
