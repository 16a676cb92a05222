//! The straight way: whole requests that are answered at once, as nearly all are.
//!
//! Nothing of such an exchange outlasts the call of the application, so it lives on the stack, and no state
//! is stored, looked up and taken apart between its steps. That is a third of the instructions that a
//! request costs otherwise. It uses the same protocol and the same [`Exchange`] as everything else, and
//! whatever is not so simple (half a head, an error, content that has not come, an application that
//! streams, waits or fails) goes on in [`Active`](super::active::Active).

use super::active::Active;
use super::exchange::{Exchange, Next};
use super::journal::Outcome;
use super::output_queue::OutputQueue;
use super::turn::Turn;
use super::{Conversation, Phase};
use crate::gateway::{BodyKind, RequestContent};
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
        while self.is_idle() && used < bytes.len() && turn.budget.requests > 0 {
            if out.owed() >= turn.around.limits.output_bytes_high {
                break;
            }
            match self.answer_first(&bytes[used..], turn, out) {
                0 => break,
                request_bytes => used += request_bytes,
            }
        }
        used
    }

    /// Answers the first request, if it is whole: how many bytes it was.
    fn answer_first(&mut self, bytes: &[u8], turn: &mut Turn<'_>, out: &mut OutputQueue) -> usize {
        let mut exchange = Exchange::new(turn.around.now.moment);
        let mut slots = FieldSlots::new();
        let Ok(Some(parsed)) = exchange.http.read_head(bytes, 0, &mut slots, &turn.around.limits) else {
            return 0;
        };
        let Some(content) = exchange.take_content(&parsed, &bytes[parsed.length..]) else {
            return 0;
        };
        turn.budget.requests -= 1;
        let used = parsed.length + content.bytes.len();
        let (head, mut report) = (parsed.head(), None);
        let body = RequestContent::borrowed(content.bytes);
        let answer = exchange.answer(&head, body, content.length, &mut report, turn, out);
        let answer = answer.and_then(|kind| exchange.end_if_complete(kind, out));
        if !matches!(answer, Ok(BodyKind::Complete)) {
            self.take(Active::take_over(exchange, answer, &head, report, turn, out));
            return used;
        }
        if report.is_some() {
            exchange.report(report, Outcome::Complete, turn);
        }
        self.phase = match exchange.end() {
            Next::Exchange => Phase::Kept(turn.around.now.moment),
            Next::End(farewell) => Phase::Finished(farewell),
        };
        used
    }
}
