//! Finds the connection that makes room in a full house, when a new one waits for a place.
//!
//! First go kept connections that have waited for their next request for [`ROOM_PATIENCE`]; then those that
//! have brought no whole request within that time; and if there are none, those that were answered just now.
//! So silent clients and half heads, however many there are, take a place from nobody who sends one request
//! after another. A connection whose client waits for an answer, or sends content, stays.
//!
//! Clients that wait for a place stand in the system's queue, one behind the other. Behind three hundred half
//! heads a whole request would wait for a second as often as the house fills up with them. So that second is
//! shared: while the queue is not found empty although room is made, the time halves [again and
//! again](HALVING_INTERVAL).
//!
//! Only a number of places is looked at in a turn of the loop: if nearly all are busy, looking at sixteen
//! thousand for each that is to make room would stop everybody else.

use std::collections::BinaryHeap;
use std::mem;
use std::time::Duration;

use super::connection_id::ConnectionId;
use crate::now::Moment;

/// How long a connection that brings no whole request keeps its place although others wait for one. 1 s: a
/// head arrives in one piece, or its next piece after a lost segment within that.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);
/// How long others must come without a pause before that time halves. 50 ms: after a second and a third it is
/// at its least, and clients that have waited until then in the queue have had time to send the rest.
const HALVING_INTERVAL: Duration = Duration::from_millis(50);
/// How often the time halves. 7: down to 8 ms, a turn or two of the loop. So the whole queue (4,096) passes through 50
/// places within two seconds.
const HALVINGS_MAX: u32 = 7;
/// Places that are looked at in a turn of the loop. 4,096: a quarter of the house as it is by default, and
/// some 100 µs.
pub(super) const LOOKS_PER_TURN: usize = 4096;
/// Places that are looked at even if some of them make room at no cost to anybody. 256: a microsecond or two.
const LOOKS_MIN: usize = 256;
/// Candidates that are remembered of the places looked at. 32: as many as are accepted in a turn.
const CANDIDATES_MAX: usize = 32;
/// How long candidates are remembered. 100 ms: others may be better meanwhile.
const CANDIDATES_AGE: Duration = Duration::from_millis(100);

/// The activity of a connection that makes room. Earlier variants go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// The connection waits for its next request.
    Kept,
    /// The connection has its last answer, and only lingers.
    Lingering,
    /// The client has sent nothing.
    Silent,
    /// The client has sent half a head.
    InHead,
}

/// A connection that could make room, and since when it does nothing else. The least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// The client was answered just now: its next request may be on its way, which none of the others has brought.
    is_active: bool,
    standing: Standing,
    since: Moment,
    id: ConnectionId,
}

/// The result of looking for a connection that makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This connection makes room, in this standing.
    One(ConnectionId, Standing),
    /// No connection makes room before this moment, unless one [becomes idle](Room::somebody_is_idle).
    Nobody(Moment),
    /// All places of this turn were looked at, and the result is not known yet.
    NotYet,
}

/// The search for connections that make room.
#[derive(Default)]
pub(super) struct Room {
    /// The connections that make room, the best last.
    candidates: Vec<Candidate>,
    /// The time when the candidates were found.
    found_at: Moment,
    /// The moment before which no connection makes room.
    nobody_until: Moment,
    /// The time since which room has been made without the queue having been found empty.
    crowded_since: Option<Moment>,
    /// The place that was last looked at.
    place: usize,
    pass: Pass,
}

/// One look at all places, which may take several turns.
#[derive(Default)]
struct Pass {
    /// The number of places that were looked at.
    looks: usize,
    /// The best connections that make room now, the worst of them first.
    best: BinaryHeap<Candidate>,
    /// The moment when the next one does.
    next: Option<Moment>,
}

impl Room {
    /// Whether a search has found nobody, and no connection has become idle since. The result is relied on
    /// until then, even if a place has become free meanwhile; so every connection that becomes idle must be
    /// reported.
    pub fn is_known_to_be_full(&self) -> bool {
        self.nobody_until > Moment::START
    }

    /// Notes that a connection has become idle.
    pub fn somebody_is_idle(&mut self) {
        self.nobody_until = Moment::START;
    }

    /// Notes that a connection makes room for one that waits: others may wait behind that.
    pub fn make(&mut self, now: Moment) {
        self.crowded_since.get_or_insert(now);
    }

    /// Notes that nobody waits for a place any more.
    pub fn nobody_waits(&mut self) {
        if self.crowded_since.take().is_some() {
            // Some of them were found when they had less time.
            self.candidates.clear();
        }
    }

    /// Returns how often the time of connections that bring no whole request has halved.
    fn halvings(&self, now: Moment) -> u32 {
        let crowded = self.crowded_since.map_or(Duration::ZERO, |since| now.since(since));
        let halvings = crowded.as_nanos() / HALVING_INTERVAL.as_nanos();
        u32::try_from(halvings).map_or(HALVINGS_MAX, |halvings| halvings.min(HALVINGS_MAX))
    }

    /// Finds a connection that makes room. `look` returns which one is at a place, and since when it does
    /// nothing but what its standing says.
    pub fn find(
        &mut self,
        places: usize,
        now: Moment,
        looks: &mut usize,
        look: impl Fn(usize) -> Option<(ConnectionId, Standing, Moment)>,
    ) -> Found {
        if now.since(self.found_at) > CANDIDATES_AGE {
            self.candidates.clear();
        }
        let halvings = self.halvings(now);
        let patience = ROOM_PATIENCE / (1 << halvings);
        loop {
            while let Some(&Candidate { standing, since, id, .. }) = self.candidates.last() {
                // It may have gone since, or have begun something.
                if look(id.index()) == Some((id, standing, since)) {
                    return Found::One(id, standing);
                }
                self.candidates.pop();
            }
            if now < self.nobody_until {
                return Found::Nobody(self.nobody_until);
            }
            while !self.pass.is_over(places) {
                if *looks == 0 {
                    return Found::NotYet;
                }
                *looks -= 1;
                self.place = (self.place + 1) % places;
                self.pass.note(look(self.place), patience, now);
            }
            let Pass { looks: looked_at, best, next } = mem::take(&mut self.pass);
            self.candidates = best.into_sorted_vec();
            if looked_at < places {
                // Of the others, there may be better ones elsewhere.
                self.candidates.retain(Candidate::is_easy);
            }
            self.candidates.reverse();
            self.found_at = now;
            if self.candidates.is_empty() {
                // A connection that begins from now on makes room no earlier than that.
                let later = now + patience;
                let halved = self.crowded_since.filter(|_| halvings < HALVINGS_MAX);
                let halved = halved.map(|since| since + HALVING_INTERVAL * (halvings + 1));
                self.nobody_until = next.into_iter().chain(halved).fold(later, Moment::min);
            }
        }
    }
}

impl Candidate {
    /// Whether the candidate makes room at no cost to anybody, so that no others need be looked at.
    fn is_easy(&self) -> bool {
        self.standing == Standing::Kept && !self.is_active
    }
}

impl Pass {
    fn is_over(&self, places: usize) -> bool {
        let is_easy = || self.best.iter().any(Candidate::is_easy);
        self.looks >= places || (self.looks >= LOOKS_MIN && is_easy())
    }

    fn note(&mut self, seen: Option<(ConnectionId, Standing, Moment)>, patience: Duration, now: Moment) {
        self.looks += 1;
        let Some((id, standing, since)) = seen else {
            return;
        };
        let is_kept = standing == Standing::Kept;
        let from = since + patience;
        if !is_kept && from > now {
            self.next = Some(self.next.map_or(from, |next| next.min(from)));
            return;
        }
        let is_active = is_kept && now.since(since) < ROOM_PATIENCE;
        self.best.push(Candidate { is_active, standing, since, id });
        if self.best.len() > CANDIDATES_MAX {
            self.best.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(millis))
    }

    /// Searches a house in which everybody is as this says.
    fn find(room: &mut Room, now: u64, looks: &mut usize, house: &[Option<(Standing, u64)>]) -> Found {
        let id = |place: usize| ConnectionId::new(place as u32, 1);
        room.find(house.len(), at(now), looks, |place| {
            house[place].map(|(standing, since)| (id(place), standing, at(since)))
        })
    }

    #[test]
    fn idle_ones_go_first_and_then_the_oldest_that_have_brought_no_request() {
        let mut house = vec![None; 3000];
        house[2900] = Some((Standing::InHead, 10));
        house[7] = Some((Standing::InHead, 20));
        house[8] = Some((Standing::Silent, 30));
        house[2000] = Some((Standing::Kept, 40));
        // Answered just now, and a little before.
        house[5] = Some((Standing::Kept, 1990));
        house[6] = Some((Standing::Kept, 1980));
        let mut room = Room::default();
        for expected in [2000, 8, 2900, 7, 6, 5] {
            let Found::One(id, _) = find(&mut room, 2000, &mut 100_000, &house) else { panic!("nobody") };
            assert_eq!(id.index(), expected);
            house[expected] = None;
        }
        assert_eq!(find(&mut room, 2000, &mut 100_000, &house), Found::Nobody(at(3000)));
    }

    #[test]
    fn time_for_a_request_halves_while_others_come_and_is_a_second_again_when_they_have() {
        let mut room = Room::default();
        let mut house = vec![Some((Standing::InHead, 1000))];
        let mut looks = 100_000;
        let mut find = |room: &mut Room, now, since| {
            house[0] = Some((Standing::InHead, since));
            find(room, now, &mut looks, &house)
        };
        assert_eq!(find(&mut room, 1000, 1000), Found::Nobody(at(2000)));
        assert!(matches!(find(&mut room, 2000, 1000), Found::One(..)));
        room.make(at(2000));
        // It is looked again whenever the time has halved.
        assert_eq!(find(&mut room, 2000, 2000), Found::Nobody(at(2050)));
        assert_eq!(find(&mut room, 2050, 2000), Found::Nobody(at(2100)));
        assert_eq!(find(&mut room, 2100, 2000), Found::Nobody(at(2150)));
        assert!(matches!(find(&mut room, 2150, 2000), Found::One(..)));
        room.make(at(2150));
        assert_eq!(find(&mut room, 9000, 9000), Found::Nobody(at(9000) + ROOM_PATIENCE / 128));
        assert!(matches!(find(&mut room, 9008, 9000), Found::One(..)));
        room.nobody_waits();
        assert_eq!(find(&mut room, 9010, 9000), Found::Nobody(at(10_000)));
    }

    #[test]
    fn search_that_finds_nobody_is_not_repeated_before_somebody_can_make_room() {
        let mut house = vec![None; 10];
        house[3] = Some((Standing::InHead, 200));
        let (mut room, mut looks) = (Room::default(), 25);
        for _ in 0..100 {
            assert_eq!(find(&mut room, 1000, &mut looks, &house), Found::Nobody(at(1200)));
        }
        assert_eq!(looks, 15);
        room.somebody_is_idle();
        house[4] = Some((Standing::Kept, 1000));
        assert!(matches!(find(&mut room, 1000, &mut looks, &house), Found::One(id, _) if id.index() == 4));
        // It has been idle for less than a second, and the other has had its time.
        assert!(matches!(find(&mut room, 1200, &mut 100, &house), Found::One(id, _) if id.index() == 3));
    }

    #[test]
    fn search_in_a_busy_house_goes_on_in_the_next_turn() {
        let mut house = vec![None; 10_000];
        house[9_000] = Some((Standing::Silent, 0));
        let mut room = Room::default();
        for _ in 0..2 {
            let mut looks = LOOKS_PER_TURN;
            assert_eq!((find(&mut room, 1001, &mut looks, &house), looks), (Found::NotYet, 0));
        }
        let found = find(&mut room, 1001, &mut LOOKS_PER_TURN.clone(), &house);
        assert!(matches!(found, Found::One(id, Standing::Silent) if id.index() == 9_000));
    }
}
