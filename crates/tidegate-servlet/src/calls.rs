//! Answers the calls from Java, in terms of the crate: the safe side of [`ffi`](crate::ffi).

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tidegate::gateway::FileRange;
use tidegate::message::may_be_trailer;

use crate::connector::{self, Connector};
use crate::exchanges;
use crate::handoff::{Asker, Direction, Given, Job, Reading};
use crate::head::{Head, Reader};
use crate::request::{KIND_EVENT, KIND_TASK, write_trailers};

/// The answer to a thread that takes a job: no more jobs come, and the thread ends.
pub(crate) const CLOSED: i32 = i32::MIN;
/// The answer to a thread that reads: the content broke off.
pub(crate) const BROKEN: i32 = -2;
/// The answer to a thread that reads: the content has ended.
const END: i32 = -1;

/// Bits of a part of a response, as `Native` in Java has them.
const FLAG_LAST: i32 = 1;
const FLAG_NO_CONTENT: i32 = 2;
const FLAG_UPGRADE: i32 = 4;
/// The bit of a block's first byte that has a thread start another one.
const NEEDS_THREAD: u8 = 0x80;

/// Bytes that are read at a time. 64 KiB: as many as are kept.
const READ_BYTES_MAX: usize = 64 * 1024;

/// A job that a thread has taken, as it is told to Java.
pub(crate) struct Taken {
    pub block: Vec<u8>,
}

/// Takes the next job.
///
/// # Errors
/// Returns 0 if there is none, [`CLOSED`] if none will come.
pub(crate) fn take(connector: &Connector, how: Taking) -> Result<Taken, i32> {
    let queue = &connector.queue;
    let mut is_waking_worker = how == Taking::WaitAsNew;
    loop {
        let next = queue.try_take(is_waking_worker);
        if let Some(handoff) = next.uncollected {
            handoff.wake();
        }
        let mut block = match next.job {
            Some(Job::Request(handoff)) => {
                let id = exchanges::insert(handoff.clone());
                match handoff.take(id) {
                    Some(block) => block,
                    // Nobody waits for it any more, and nothing was begun.
                    None => {
                        exchanges::remove(id);
                        vec![KIND_TASK]
                    }
                }
            }
            Some(Job::Event(id, event)) => {
                let mut block = vec![KIND_EVENT];
                block.extend_from_slice(&id.to_be_bytes());
                block.push(event as u8);
                block
            }
            Some(Job::Task) => vec![KIND_TASK],
            None if how == Taking::Now => return Err(0),
            None if queue.wait() => {
                is_waking_worker = true;
                continue;
            }
            None => {
                connector::forget_if_done(connector);
                return Err(CLOSED);
            }
        };
        if next.needs_thread {
            block[0] |= NEEDS_THREAD;
        }
        return Ok(Taken { block });
    }
}

/// Gives a part of a response: its head, if it is not empty, and content. Java is told a [`Given`].
pub(crate) fn respond(id: i64, head: &[u8], content: Vec<u8>, flags: i32) -> i32 {
    let Some(handoff) = exchanges::find(id) else { return Given::Gone as i32 };
    let head = match head {
        [] => None,
        head => match Head::read(head) {
            Ok(head) => Some(head),
            Err(reason) => {
                handoff.fail(reason);
                return Given::Invalid as i32;
            }
        },
    };
    let given = match head {
        Some(head) if flags & FLAG_UPGRADE != 0 => handoff.upgrade(head),
        Some(head) if flags & FLAG_LAST != 0 => {
            handoff.answer(head, (flags & FLAG_NO_CONTENT == 0).then_some(content))
        }
        head => {
            let given = handoff.push(head, content);
            if flags & FLAG_LAST != 0 {
                handoff.end(Vec::new());
            }
            given
        }
    };
    given as i32
}

/// Gives a response whose content is part of a file.
pub(crate) fn send_file(id: i64, head: &[u8], path: &Path, offset: u64, length: u64) -> i32 {
    let Some(handoff) = exchanges::find(id) else { return Given::Gone as i32 };
    let opened = Head::read(head).and_then(|head| {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok((head, FileRange { file: file.into(), offset, length }))
    });
    match opened {
        Ok((head, range)) => handoff.answer_with_file(head, range) as i32,
        Err(reason) => {
            handoff.fail(reason);
            Given::Invalid as i32
        }
    }
}

/// Gives the fields of an interim response.
pub(crate) fn hint(id: i64, fields: &[u8]) -> i32 {
    let Some(handoff) = exchanges::find(id) else { return Given::Gone as i32 };
    match Head::of_fields(fields) {
        Ok(fields) => handoff.hint(fields) as i32,
        Err(_) => Given::Invalid as i32,
    }
}

/// Ends a response, with trailer fields. One that cannot be a trailer breaks the response off.
pub(crate) fn finish(id: i64, block: &[u8]) {
    let Some(handoff) = exchanges::find(id) else { return };
    let mut reader = Reader::new(block);
    let mut trailers = Vec::new();
    for _ in 0..reader.number().unwrap_or(0) {
        let (Some(name), Some(value)) = (reader.text(), reader.text()) else { break };
        let name = String::from_utf8_lossy(name).into_owned();
        if !may_be_trailer(&name) {
            return handoff.fail(format!("the field {name} cannot be a trailer"));
        }
        trailers.push((name, value.to_vec()));
    }
    handoff.end(trailers);
}

/// Reads up to `length` bytes, and hands them to `write`. Returns their number, 0 if there is nothing yet, -1 at the end,
/// or [`BROKEN`].
pub(crate) fn read(id: i64, length: usize, write: impl FnOnce(&[u8]) -> bool) -> i32 {
    let Some(handoff) = exchanges::find(id) else { return BROKEN };
    let mut bytes = vec![0; length.min(READ_BYTES_MAX)];
    match handoff.read(&mut bytes) {
        Reading::Bytes(count) if write(&bytes[..count]) => i32::try_from(count).unwrap_or(BROKEN),
        Reading::Pending => 0,
        Reading::End => END,
        Reading::Bytes(_) | Reading::Broken => BROKEN,
    }
}

/// Returns the trailer fields of content that came by itself, as [`write_trailers`] has them.
pub(crate) fn trailers(id: i64) -> Vec<u8> {
    exchanges::find(id).map_or_else(Vec::new, |handoff| handoff.with_trailers(write_trailers))
}

/// Asks whether a [`Direction`] is ready, and to have an [`Asker`] told once it is.
pub(crate) fn await_readiness(id: i64, direction: i32, asker: i32) -> bool {
    let direction = if direction == Direction::Read as i32 { Direction::Read } else { Direction::Write };
    let asker = match asker {
        asker if asker == Asker::Thread as i32 => Asker::Thread,
        asker if asker == Asker::Anybody as i32 => Asker::Anybody,
        _ => Asker::Nobody,
    };
    exchanges::find(id).is_none_or(|handoff| handoff.await_readiness(direction, asker))
}

/// Declares what Java says by a number, as `Native` in Java has it.
macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident { $($(#[$of_one:meta])* $one:ident = $number:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$of_one])* $one,)+ }

        impl $name {
            /// Returns what the number says; none if it is nobody's.
            pub fn of(number: i32) -> Option<$name> {
                match number {
                    $($number => Some($name::$one),)+
                    _ => None,
                }
            }
        }
    };
}

numbers! {
    /// The way in which a thread takes a job.
    Taking {
        /// The thread takes a job that is there.
        Now = 0,
        /// The thread waits for a job.
        Wait = 1,
        /// The thread waits for a job, and was just started.
        WaitAsNew = 2,
    }
}

numbers! {
    /// A word of Java's on an exchange.
    Said {
        /// The exchange goes on after its thread has returned.
        GoesOn = 1,
        /// Nobody reads on.
        StopsReading = 2,
        /// The response cannot be completed.
        Fails = 3,
        IsOver = 4,
    }
}

numbers! {
    /// A command to a connector.
    Command {
        Pause = 1,
        Resume = 2,
        Drain = 3,
        Stop = 4,
        Unbind = 5,
        /// A task of Java's waits.
        RunTask = 6,
        /// A thread has begun to work.
        Enter = 7,
        /// A thread that was needed could not be started.
        StartFailed = 8,
    }
}

/// Notes what Java says of an exchange.
pub(crate) fn tell(id: i64, said: Said) {
    if said == Said::IsOver {
        return close(id);
    }
    let Some(handoff) = exchanges::find(id) else { return };
    match said {
        Said::GoesOn => handoff.go_async(),
        Said::StopsReading => handoff.stop_reading(),
        Said::Fails => handoff.fail("the application has failed; Tomcat's log says how".to_string()),
        Said::IsOver => {}
    }
}

/// Forgets an exchange that is over. If no end was given, it is broken off.
pub(crate) fn close(id: i64) {
    if let Some(handoff) = exchanges::remove(id) {
        handoff.close();
    }
}

/// Carries out a command to a connector.
///
/// # Errors
/// Returns an error for a task that no thread would come for.
pub(crate) fn command(connector: &Arc<Connector>, command: Command) -> io::Result<()> {
    match command {
        Command::Pause => connector.pause(true),
        Command::Resume => connector.pause(false),
        Command::Drain => connector.drain(),
        Command::Stop => connector.stop(),
        Command::Unbind => connector::unbind(connector),
        Command::RunTask => {
            if !connector.queue.push_now(Job::Task) {
                return Err(io::Error::other("the connector has ended"));
            }
            connector.wake();
        }
        Command::Enter => connector.queue.enter(),
        Command::StartFailed => connector.queue.start_failed(),
    }
    Ok(())
}
