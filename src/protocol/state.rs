//! The two state machines of one exchange, as tables.
//!
//! A request and its response proceed side by side, and each has a small state machine of its own. The data
//! of a state lives inside its variant. A pair that is not in the table is a bug of this server: the
//! transition returns `None`, and nothing is changed.
//!
//! The request:
//!
//! | state \ event | HeadBegun | HeadEnded | ContentAwaited | ContentEnded | ContentDeclined | Refused | NextExchange |
//! |---|---|---|---|---|---|---|---|
//! | Idle | Head | Complete | Body | – | – | Refused | – |
//! | Head | Head | Complete | Body | – | – | Refused | – |
//! | Body | – | – | – | Complete | Complete | Refused | – |
//! | Complete | – | – | – | – | – | Refused | Idle |
//! | Refused | – | – | – | – | – | Refused | – |
//!
//! The response:
//!
//! | state \ event | ContinueSent | HeadEnded | ContentEnded | Failed | NextExchange |
//! |---|---|---|---|---|---|
//! | Unstarted | Continue | Body | – | Unstarted | – |
//! | Continue | – | Body | – | Continue | – |
//! | Body | – | – | Complete | Aborted | – |
//! | Complete | – | – | – | Complete | Unstarted |
//! | Aborted | – | – | – | Aborted | – |

use super::error::ProtocolError;
use super::framing::BodyDecoder;
use super::response_encoder::BodyEncoder;

/// The state of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// No byte of the request has come.
    Idle,
    /// A part of the head has come, not its end.
    Head,
    /// The head is complete; content is being decoded.
    Body(BodyDecoder),
    /// The request is complete, or all that is read of it.
    Complete,
    /// The request broke the rules. No byte of this connection is a request any more.
    Refused(ProtocolError),
}

/// An event in the life of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEvent {
    /// Bytes came that are not yet a whole head.
    HeadBegun,
    /// The head ended, and no content follows.
    HeadEnded,
    /// The head ended, and content follows.
    ContentAwaited(BodyDecoder),
    /// The content ended.
    ContentEnded,
    /// Nobody wants the content that is still to come.
    ContentDeclined,
    /// A rule was broken, or a limit or deadline passed.
    Refused(ProtocolError),
    /// The exchange is over and the connection lives on.
    NextExchange,
}

/// The state of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseState {
    /// Nothing of the response has been encoded.
    Unstarted,
    /// An interim response 100 (Continue) has been encoded.
    Continue,
    /// The head has been encoded; content is being encoded.
    Body(BodyEncoder),
    /// The whole response has been encoded.
    Complete,
    /// The response cannot be completed: the client must see the connection break off. How that can be seen
    /// depends on the framing.
    Aborted(BodyEncoder),
}

/// An event in the life of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEvent {
    /// 100 (Continue) was encoded.
    ContinueSent,
    /// The head was encoded.
    HeadEnded(BodyEncoder),
    /// The last byte of content was encoded.
    ContentEnded,
    /// The application, or the connection, has failed.
    Failed,
    /// The exchange is over and the connection lives on.
    NextExchange,
}

impl RequestState {
    /// Returns the state after the event; none if the table has no such pair.
    #[must_use]
    pub fn after(self, event: RequestEvent) -> Option<RequestState> {
        use RequestEvent as E;
        use RequestState as S;
        match (self, event) {
            (S::Idle | S::Head, E::HeadBegun) => Some(S::Head),
            (S::Idle | S::Head, E::HeadEnded) => Some(S::Complete),
            (S::Idle | S::Head, E::ContentAwaited(decoder)) => Some(S::Body(decoder)),
            (S::Body(_), E::ContentEnded | E::ContentDeclined) => Some(S::Complete),
            // Even a complete one: there may be no place for the last of its content.
            (S::Idle | S::Head | S::Body(_) | S::Complete, E::Refused(error)) => Some(S::Refused(error)),
            // The first error is the one that is answered.
            (S::Refused(first), E::Refused(_)) => Some(S::Refused(first)),
            (S::Complete, E::NextExchange) => Some(S::Idle),
            (S::Idle | S::Head, E::ContentEnded | E::ContentDeclined | E::NextExchange)
            | (S::Body(_), E::HeadBegun | E::HeadEnded | E::ContentAwaited(_) | E::NextExchange)
            | (
                S::Complete,
                E::HeadBegun | E::HeadEnded | E::ContentAwaited(_) | E::ContentEnded | E::ContentDeclined,
            )
            | (
                S::Refused(_),
                E::HeadBegun
                | E::HeadEnded
                | E::ContentAwaited(_)
                | E::ContentEnded
                | E::ContentDeclined
                | E::NextExchange,
            ) => None,
        }
    }

    /// The name of the state, as in the table.
    pub fn name(self) -> &'static str {
        match self {
            RequestState::Idle => "Idle",
            RequestState::Head => "Head",
            RequestState::Body(_) => "Body",
            RequestState::Complete => "Complete",
            RequestState::Refused(_) => "Refused",
        }
    }
}

impl ResponseState {
    /// Returns the state after the event; none if the table has no such pair.
    #[must_use]
    pub fn after(self, event: ResponseEvent) -> Option<ResponseState> {
        use ResponseEvent as E;
        use ResponseState as S;
        match (self, event) {
            (S::Unstarted, E::ContinueSent) => Some(S::Continue),
            (S::Unstarted | S::Continue, E::HeadEnded(encoder)) => Some(S::Body(encoder)),
            // Nothing of the answer is out yet: it can still be a 500.
            (S::Unstarted, E::Failed) => Some(S::Unstarted),
            (S::Continue, E::Failed) => Some(S::Continue),
            (S::Body(_), E::ContentEnded) => Some(S::Complete),
            (S::Body(encoder), E::Failed) => Some(S::Aborted(encoder)),
            (S::Complete, E::Failed) => Some(S::Complete),
            (S::Complete, E::NextExchange) => Some(S::Unstarted),
            (S::Aborted(encoder), E::Failed) => Some(S::Aborted(encoder)),
            (S::Unstarted, E::ContentEnded | E::NextExchange)
            | (S::Continue, E::ContinueSent | E::ContentEnded | E::NextExchange)
            | (S::Body(_), E::ContinueSent | E::HeadEnded(_) | E::NextExchange)
            | (S::Complete, E::ContinueSent | E::HeadEnded(_) | E::ContentEnded)
            | (S::Aborted(_), E::ContinueSent | E::HeadEnded(_) | E::ContentEnded | E::NextExchange) => None,
        }
    }

    /// The name of the state, as in the table.
    pub fn name(self) -> &'static str {
        match self {
            ResponseState::Unstarted => "Unstarted",
            ResponseState::Continue => "Continue",
            ResponseState::Body(_) => "Body",
            ResponseState::Complete => "Complete",
            ResponseState::Aborted(_) => "Aborted",
        }
    }
}
