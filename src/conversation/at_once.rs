//! The straight way: whole requests that are answered at once, as nearly all are.
//!
//! Nothing of such an exchange outlasts the call of the application, so it lives on the stack, and no state
//! is stored, looked up and taken apart between its steps. It uses the same protocol and the same [`Exchange`]
//! as everything else, and whatever is not so simple (half a head, an error, content that has not come or is
//! chunked, an application that streams, waits or fails) goes on in [`Active`].
//!
//! Most of what is called from here is inlined into the turn of the loop, by `#[inline(always)]` where the
//! compiler would not: without it a request takes a tenth more instructions.

use super::active::Active;
use super::exchange::{Exchange, Next};
use super::journal::Outcome;
use super::output_queue::OutputQueue;
use super::turn::Turn;
use super::{Conversation, Phase};
use crate::gateway::RequestContent;
use crate::protocol::FieldSlots;

impl Conversation {
    /// Answers the requests at the front of these bytes, one after the other. How many bytes they were;
    /// with what remains something else is to be done, or later.
    #[inline]
    pub(super) fn answer_at_once(
        &mut self,
        bytes: &[u8],
        turn: &mut Turn<'_>,
        out: &mut OutputQueue,
    ) -> usize {
        let mut used = 0;
        while self.is_idle() && used < bytes.len() && turn.may_begin(out) {
            match self.answer_first(&bytes[used..], turn, out) {
                0 => break,
                request_bytes => used += request_bytes,
            }
            if used < bytes.len() {
                turn.look_at_watch();
            }
        }
        used
    }

    /// Answers the first request, if it is whole: how many bytes were used up. What has come of one that is
    /// not is kept, and not read again. 0 where [`Active`] is to begin with it: an error, or empty lines
    /// before the head, which it counts.
    #[inline]
    fn answer_first(&mut self, bytes: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) -> usize {
        if let [b'\r' | b'\n', ..] = bytes {
            return 0;
        }
        let now = turn.around.now.moment;
        let mut exchange = Exchange::new(now);
        let mut slots = FieldSlots::new();
        let parsed = match exchange.http.read_head(bytes, 0, &mut slots, &turn.around.limits) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                // The first head of a connection counts from when that was accepted.
                if let Phase::Fresh(accepted, _) = self.phase {
                    exchange.begun = accepted;
                }
                self.take(Active::in_head(exchange, bytes));
                return bytes.len();
            }
            Err(_) => return 0,
        };
        turn.budget.requests -= 1;
        let Some(content) = exchange.take_content(&parsed, &bytes[parsed.length..]) else {
            self.take(Active::in_content(exchange, &parsed, bytes, turn, out));
            return parsed.length;
        };
        let used = parsed.length + content.bytes.len();
        let (head, mut report) = (parsed.head(), None);
        let body = RequestContent::borrowed(content.bytes);
        let answer = exchange.answer(&head, body, content.length, &mut report, turn, out);
        if let Some(answer) = answer.or_else(|| exchange.end_response(out)) {
            self.take(Active::take_over(exchange, answer, &head, report, turn, out));
            return used;
        }
        if report.is_some() {
            exchange.report(report, Outcome::Complete, turn);
        }
        match (exchange.end(), &mut self.phase) {
            (Next::Exchange, Phase::Kept(since, empty_lines)) => (*since, *empty_lines) = (now, 0),
            (Next::Exchange, phase) => *phase = Phase::Kept(now, 0),
            (Next::End(farewell), phase) => *phase = Phase::Finished(farewell),
        }
        used
    }
}
