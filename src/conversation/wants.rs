//! The wishes of a conversation, and the ways in which it ends.

/// The wish of a [`Conversation`](super::Conversation): what its loop is to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Bytes from the peer.
    Read,
    /// Bytes from the peer, or room: whichever comes first.
    ReadOrWrite,
    /// Room: the peer must take some of what it is owed, and nothing is read before.
    Write,
    /// A wake-up by the application, or its moment.
    Application,
    /// Another turn: it could go on at once, but others come first.
    Turn,
    /// The end of the connection; everything owed has left.
    Close(Farewell),
}

/// The way in which a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The peer knows of the end, and sends nothing more: close.
    Clean,
    /// The peer may still be sending: end our side, and read for a while before closing, so that
    /// the last response is not lost to a reset (RFC 9112 §9.6).
    Linger,
    /// An ordinary end would pass for the end of the content: reset.
    Reset,
}
