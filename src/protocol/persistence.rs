//! Decides whether the connection persists after this exchange (RFC 9112 §9.3).

use crate::message::{ConnectionOption, Version};

/// The fate of the connection when the exchange is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// The next request may follow.
    KeepAlive,
    /// The connection ends, for this reason.
    Close(CloseReason),
}

/// The reason why a connection is not kept.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client sent `Connection: close`.
    ClientAsked,
    /// The client speaks HTTP/1.0 and did not ask to keep the connection.
    Http10,
    /// The application sent `Connection: close`.
    ApplicationAsked,
    /// The end of the connection is the end of the content (RFC 9112 §6.3).
    EndsContent,
    /// The connection speaks another protocol (RFC 9110 §7.8).
    Upgraded,
    /// Content of the request was left unread, so it is unknown where the next request begins.
    ContentUnread,
    /// The request was refused, so it is unknown where the next one begins.
    Refused,
    /// The response could not be completed.
    Failed,
    /// The server is shutting down.
    ShuttingDown,
}

impl Persistence {
    /// Decides what a request asks for.
    pub fn of_request(version: Version, option: ConnectionOption) -> Persistence {
        match (version, option) {
            (_, ConnectionOption::Close) => Persistence::Close(CloseReason::ClientAsked),
            (Version::Http11, _) | (Version::Http10, ConnectionOption::KeepAlive) => Persistence::KeepAlive,
            (Version::Http10, ConnectionOption::Neither) => Persistence::Close(CloseReason::Http10),
        }
    }

    /// Closes for this reason, unless there is one already: the first reason is the cause.
    pub fn close(&mut self, reason: CloseReason) {
        if *self == Persistence::KeepAlive {
            *self = Persistence::Close(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_options_decide_together() {
        use CloseReason::{ClientAsked, Http10};
        use Persistence::{Close, KeepAlive};
        for (version, value, expected) in [
            (Version::Http11, "", KeepAlive),
            (Version::Http11, "keep-alive", KeepAlive),
            (Version::Http11, "TE, Close", Close(ClientAsked)),
            (Version::Http11, "close, keep-alive", Close(ClientAsked)),
            (Version::Http11, "closed", KeepAlive),
            (Version::Http10, "", Close(Http10)),
            (Version::Http10, "Keep-Alive", KeepAlive),
            (Version::Http10, "keep-alive, close", Close(ClientAsked)),
        ] {
            let option = ConnectionOption::default().and(value.as_bytes());
            assert_eq!(Persistence::of_request(version, option), expected, "{version:?} {value:?}");
        }
    }
}
