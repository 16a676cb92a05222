//! The names of the states that a conversation can be in, for whoever looks at a running server.

use std::fmt;

use crate::protocol::{RequestState, ResponseState};

/// The stage of a conversation, by the name that the state has in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StageName {
    /// No request has come since the connection was accepted.
    Fresh,
    /// No request has come since the last exchange ended.
    Kept,
    /// A part of a head has come, not its end; or bytes that wait for another turn to be read.
    Head,
    /// The head is complete, and its content is collected before the application is called.
    Content,
    /// The application was called, and will answer later.
    Deferred,
    /// The answer is drawn from a stream.
    Stream,
    /// A file stands in the output queue.
    QueuedFile,
    /// The answer is read from a file.
    ReadFile,
    /// The application has taken over the connection.
    Tunnel,
    /// The conversation has ended: nothing more will be sent.
    Finished,
}

impl StageName {
    /// All stages, in the order in which an exchange passes them.
    pub const ALL: [StageName; 10] = [
        StageName::Fresh,
        StageName::Kept,
        StageName::Head,
        StageName::Content,
        StageName::Deferred,
        StageName::Stream,
        StageName::QueuedFile,
        StageName::ReadFile,
        StageName::Tunnel,
        StageName::Finished,
    ];

    /// The name of the stage, behind that of its type in the code.
    pub fn path(self) -> &'static str {
        match self {
            StageName::Fresh => "Awaited::First",
            StageName::Kept => "Awaited::Next",
            StageName::Head => "Intake::Head",
            StageName::Content => "Intake::Content",
            StageName::Deferred => "Delivery::Deferred",
            StageName::Stream => "Delivery::Stream",
            StageName::QueuedFile => "Delivery::QueuedFile",
            StageName::ReadFile => "Delivery::ReadFile",
            StageName::Tunnel => "Delivery::Tunnel",
            StageName::Finished => "Phase::Finished",
        }
    }
}

/// The state of a conversation: its stage, and the states of the [two machines](crate::protocol::RequestState) of its
/// exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationState {
    /// The stage.
    pub stage: StageName,
    /// The state of the request.
    pub request: RequestState,
    /// The state of the response.
    pub response: ResponseState,
}

impl fmt::Display for ConversationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConversationState { stage, request, response } = self;
        write!(f, "{} (request {}, response {})", stage.path(), request.name(), response.name())
    }
}

impl ConversationState {
    /// The state of a conversation without an exchange.
    pub(super) fn at_rest(stage: StageName) -> ConversationState {
        ConversationState { stage, request: RequestState::Idle, response: ResponseState::Unstarted }
    }
}
