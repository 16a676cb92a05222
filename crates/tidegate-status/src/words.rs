//! Says of a connection in plain words what it waits for, and what becomes of it if that does not come.

use tidegate::conversation::{StageName, Wants};
use tidegate::server::{ConnectionSnapshot, OurSideState};

/// The letters by which the live view knows the stages, in the order of [`StageName::ALL`]. In lower case, its client has
/// not taken everything.
const LETTERS: &str = "FKHCDSQRTE";
/// The letter of a connection that waits for the gateway.
const WAITING: char = 'W';
/// The letter of a connection whose last answer is out, while its client may still be sending.
const LINGERING: char = 'L';

/// The kinds of marks that the live view draws: letter, name in the code, and meaning.
pub fn legend() -> Vec<(char, &'static str, &'static str)> {
    let stages = StageName::ALL.into_iter().zip(LETTERS.chars());
    let mut legend: Vec<_> = stages.map(|(stage, letter)| (letter, stage.path(), meaning(stage))).collect();
    legend.push((WAITING, "OurSide::Waiting", "waits for the application to take requests again"));
    legend.push((LINGERING, "OurSide::Ended", "has its last answer; what it still sends is thrown away"));
    legend
}

/// Says what is true of a connection in this stage, as the predicate of "it …".
pub fn meaning(stage: StageName) -> &'static str {
    match stage {
        StageName::Fresh => "was accepted, and has sent nothing yet",
        StageName::Kept => "was answered, and may send its next request",
        StageName::Head => "has sent a head, or a part of one, that is still to be read",
        StageName::Content => "is sending the content of its request",
        StageName::Deferred => "waits for the application, which answers later",
        StageName::Stream => "gets an answer that is drawn piece by piece",
        StageName::QueuedFile => "gets a file that the kernel sends",
        StageName::ReadFile => "gets a file that is read piece by piece",
        StageName::Tunnel => "was taken over by the application, as a WebSocket is",
        StageName::Finished => "has said and heard its last",
    }
}

/// The letter of a connection in the live view.
pub fn letter(connection: &ConnectionSnapshot) -> char {
    let letter = match connection.our_side {
        OurSideState::Waiting => WAITING,
        OurSideState::Ended => LINGERING,
        OurSideState::Clear | OurSideState::Backlog => {
            let stages = StageName::ALL.into_iter().zip(LETTERS.chars());
            let found = stages.into_iter().find(|(stage, _)| *stage == connection.state.stage);
            found.map_or('?', |(_, letter)| letter)
        }
    };
    if connection.our_side == OurSideState::Backlog { letter.to_ascii_lowercase() } else { letter }
}

/// Says what a connection waits for, as the object of "waits for …".
pub fn wish(connection: &ConnectionSnapshot) -> &'static str {
    wish_of(connection.our_side, connection.wants, connection.state.stage)
}

/// Says what a connection in this state waits for.
pub fn wish_of(our_side: OurSideState, wants: Wants, stage: StageName) -> &'static str {
    match our_side {
        OurSideState::Ended => return "the client to end its side, too",
        OurSideState::Waiting => return "the application to take requests again",
        OurSideState::Clear | OurSideState::Backlog => {}
    }
    match (wants, stage) {
        (Wants::Read, StageName::Fresh) => "the first byte of its first request",
        (Wants::Read, StageName::Kept) => "the first byte of its next request",
        (Wants::Read, StageName::Head) => "the rest of a head",
        (Wants::Read, StageName::Content) => "more of the request's content",
        (Wants::Read, _) => "bytes from the client",
        (Wants::ReadOrWrite, _) => "bytes from the client, or room in its socket",
        (Wants::Write, _) => "room in its socket: the client must read what it is owed",
        (Wants::Application, StageName::Deferred) => "the application's answer",
        (Wants::Application, _) => "the application's next piece",
        (Wants::Turn, _) => "another turn: it can go on at once, and others come first",
        (Wants::Close(_), _) => "nothing more: it is being closed",
    }
}

/// Says what happens at the deadline.
pub fn otherwise(connection: &ConnectionSnapshot) -> &'static str {
    match (connection.our_side, connection.wants, connection.state.stage) {
        (OurSideState::Ended, ..) => "it is closed (linger_timeout)",
        (OurSideState::Waiting, ..) => "it is answered 503 (gateway_timeout)",
        (OurSideState::Backlog, ..) => "it is cut, since the client does not read (write_timeout)",
        // Its deadline is set in any case, and the application may name an earlier moment.
        (.., StageName::Tunnel) => "it is cut if nothing has moved (tunnel_timeout)",
        (_, Wants::Application, _) => "the application is asked again",
        (.., StageName::Fresh) => "it is closed without an answer (head_timeout)",
        (.., StageName::Kept) => "it is closed (idle_timeout)",
        (.., StageName::Head) => "it is answered 408 (head_timeout)",
        (.., StageName::Content) => "it is answered 408 (body_timeout)",
        // The answer has begun, or is awaited, and the request's content still comes.
        (
            _,
            Wants::Read | Wants::ReadOrWrite,
            StageName::Deferred | StageName::Stream | StageName::QueuedFile | StageName::ReadFile,
        ) => "it is answered 408, or cut if its answer has begun (body_timeout)",
        (
            ..,
            StageName::Deferred
            | StageName::Stream
            | StageName::QueuedFile
            | StageName::ReadFile
            | StageName::Finished,
        ) => "it has another turn",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_mark_has_a_letter_of_its_own() {
        let mut letters: Vec<char> = legend().into_iter().map(|(letter, ..)| letter).collect();
        assert_eq!(letters.len(), StageName::ALL.len() + 2);
        assert!(letters.iter().all(char::is_ascii_uppercase));
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), StageName::ALL.len() + 2);
    }
}
