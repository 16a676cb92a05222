//! The frames of the live view, pushed as server-sent events (WHATWG HTML §9.2).
//!
//! All browsers share the frames: the server is asked once for all of them, and each frame is rendered once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate::GatewayError;
use tidegate::gateway::{BodyStream, Piece, Wakeup};
use tidegate::now::Moment;
use tidegate::server::Observer;

use crate::facts::Facts;
use crate::frame::{frame, hello};
use crate::inbox::Inbox;

/// The time between two frames. Half a second: often enough to see something move, and seldom enough that ten thousand
/// connections are looked at twenty thousand times a second.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long a loop may take to answer before a frame says that it does not. One second: no turn takes as long unless the
/// application blocks it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The frames that are made for all browsers.
pub(crate) struct Frames {
    observer: Observer,
    facts: Facts,
    state: Mutex<State>,
    /// Each stream has a share.
    viewers: Arc<()>,
}

struct State {
    /// The last frame, as an event.
    frame: Arc<[u8]>,
    /// The number of that frame; 0 before there is one.
    number: u64,
    asked: Asked,
    /// The streams that wait for the next frame.
    waiting: Vec<Wakeup>,
}

/// Whether the loops were asked for what the next frame shows.
enum Asked {
    /// The last frame was made at this moment.
    No(Option<Moment>),
    /// The loops were asked at this moment.
    Since(Moment, Inbox),
}

impl Frames {
    pub fn new(observer: Observer, facts: Facts) -> Frames {
        let asked = Asked::No(None);
        let state = Mutex::new(State { frame: Arc::new([]), number: 0, asked, waiting: Vec::new() });
        Frames { observer, facts, state, viewers: Arc::default() }
    }

    /// The number of streams that are open.
    pub fn viewers(&self) -> usize {
        Arc::strong_count(&self.viewers) - 1
    }

    /// Returns the number after which a browser that comes now is shown frames. Only a fresh one is shown at once: an old one
    /// has connections that are gone, and the next one's rates would be means over the time since then.
    fn number_for_newcomer(&self, now: Moment) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.asked {
            Asked::No(Some(made)) if now.since(made) < INTERVAL => 0,
            Asked::No(_) | Asked::Since(..) => state.number,
        }
    }

    /// Returns a frame after the one of this number; or the moment when to ask again, if not woken before.
    fn after(&self, seen: u64, wakeup: &Wakeup, now: Moment) -> Result<(u64, Arc<[u8]>), Moment> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.asked {
            _ if state.number > seen => Ok((state.number, state.frame.clone())),
            Asked::No(Some(made)) if now.since(*made) < INTERVAL => Err(*made + INTERVAL),
            Asked::Since(asked, inbox) if now.since(*asked) < 2 * PATIENCE => {
                let asked = *asked;
                if !inbox.is_complete() && now.since(asked) < PATIENCE {
                    state.waiting.push(wakeup.clone());
                    return Err(asked + PATIENCE);
                }
                // One loop that is blocked does not hide the others.
                let rendered = frame(&self.facts, &self.observer.counters(), &inbox.arrived());
                state.frame = event("frame", &rendered).into();
                state.number += 1;
                state.asked = Asked::No(Some(now));
                state.waiting.drain(..).for_each(|waiting| waiting.wake());
                Ok((state.number, state.frame.clone()))
            }
            // An old question is that of browsers that have left.
            Asked::No(_) | Asked::Since(..) => {
                let inbox = Inbox::ask(&self.observer);
                inbox.wake_when_complete(wakeup);
                state.asked = Asked::Since(now, inbox);
                Err(now + PATIENCE)
            }
        }
    }
}

fn event(name: &str, data: &str) -> Vec<u8> {
    format!("event: {name}\ndata: {data}\n\n").into_bytes()
}

/// One browser's stream of frames.
pub(crate) struct Events {
    frames: Arc<Frames>,
    wakeup: Wakeup,
    /// The number of the frame after which the next one is sent; none before the first event.
    seen: Option<u64>,
    piece: Arc<[u8]>,
    _viewer: Arc<()>,
}

impl Events {
    pub fn new(frames: &Arc<Frames>, wakeup: Wakeup) -> Events {
        let (frames, _viewer) = (frames.clone(), frames.viewers.clone());
        Events { frames, wakeup, seen: None, piece: Arc::new([]), _viewer }
    }
}

impl BodyStream for Events {
    fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError> {
        let Some(seen) = self.seen else {
            self.seen = Some(self.frames.number_for_newcomer(now));
            self.piece = event("hello", &hello(&self.frames.facts)).into();
            return Ok(Piece::Data(&self.piece));
        };
        match self.frames.after(seen, &self.wakeup, now) {
            Ok((number, piece)) => {
                (self.seen, self.piece) = (Some(number), piece);
                Ok(Piece::Data(&self.piece))
            }
            Err(until) => Ok(Piece::Pending { until: Some(until) }),
        }
    }
}
