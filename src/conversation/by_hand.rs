//! Drives a conversation by hand, with everything around it: for tests, examples, learners.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::time::Duration;

use super::{Budget, Conversation, Disk, Memory, NoJournal, NoWire, OutputQueue, ServerContext, Turn, Wants};
use crate::gateway::{Client, Gateway, NoWake, Peer, ServerInfo, Spool, SpoolFile};
use crate::limits::Limits;
use crate::now::{Moment, Now};

/// One conversation and all that surrounds it, with a clock that stands still until it is moved.
pub struct ByHand<G> {
    /// The application.
    pub gateway: G,
    /// Limits, the server's names, and the time, which starts at zero; may be changed at any time.
    pub context: ServerContext,
    conversation: Conversation,
    out: OutputQueue,
}

impl<G> fmt::Debug for ByHand<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByHand").field("conversation", &self.conversation).finish_non_exhaustive()
    }
}

impl<G: Gateway> ByHand<G> {
    /// Makes a connection that was accepted at zero.
    pub fn new(gateway: G) -> ByHand<G> {
        let context = ServerContext::new(Limits::default(), ServerInfo::default(), Now::default());
        ByHand {
            gateway,
            conversation: Conversation::new(context.now.moment),
            context,
            out: OutputQueue::default(),
        }
    }

    /// Passes on bytes from the peer.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.turn(|conversation, turn, out| conversation.receive(bytes, turn, out));
    }

    /// Passes on that the peer has ended its side.
    pub fn receive_end(&mut self) {
        self.turn(Conversation::receive_end);
    }

    /// Lets the conversation go on, as a loop does once there is room again or its turn has come.
    pub fn advance(&mut self) {
        self.turn(Conversation::advance);
    }

    /// Wakes the conversation, as its application would.
    pub fn wake(&mut self) {
        self.turn(Conversation::wake);
    }

    /// Lets time pass, and expires the deadline if it comes.
    pub fn pass(&mut self, time: Duration) {
        self.context.now.moment = self.context.now.moment + time;
        if self.deadline().is_some_and(|deadline| deadline <= self.context.now.moment) {
            self.turn(Conversation::expire);
        }
    }

    /// Takes all bytes that are owed to the peer.
    pub fn transmit(&mut self) -> Vec<u8> {
        let bytes = self.out.slices().flatten().copied().collect();
        self.out.clear();
        bytes
    }

    /// Takes all bytes, and goes on, until the conversation wants something other than room or a turn.
    pub fn transmit_all(&mut self) -> Vec<u8> {
        let mut all = self.transmit();
        while let Wants::Turn | Wants::Write | Wants::ReadOrWrite = self.wants() {
            self.advance();
            all.extend(self.transmit());
        }
        all
    }

    /// The number of bytes that are owed to the peer.
    pub fn owed(&self) -> usize {
        self.out.owed()
    }

    /// Returns what the conversation wants now.
    pub fn wants(&self) -> Wants {
        self.conversation.wants(self.out.owed(), self.context.limits.output_bytes_high)
    }

    /// Returns when the conversation no longer waits for what it wants; none if it waits for ever.
    pub fn deadline(&self) -> Option<Moment> {
        self.conversation.deadline(&self.context.limits)
    }

    /// Whether no request is under way.
    pub fn is_idle(&self) -> bool {
        self.conversation.is_idle()
    }

    fn turn(&mut self, act: impl FnOnce(&mut Conversation, &mut Turn<'_>, &mut OutputQueue)) {
        let mut turn = Turn {
            gateway: &mut self.gateway,
            context: &self.context,
            client: Client {
                connection_id: 1,
                peer: &Peer::Unix,
                local: None,
                has_finished_sending: false,
                wake_source: &NoWake,
                memory: None,
            },
            disk: &mut MemoryDisk,
            wire: &NoWire,
            journal: &mut NoJournal,
            memory: Memory::Ample,
            budget: Budget::TURN,
        };
        act(&mut self.conversation, &mut turn, &mut self.out);
    }
}

/// A disk whose temporary files lie in memory.
struct MemoryDisk;

impl Spool for MemoryDisk {
    fn create(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }
}

impl Disk for MemoryDisk {
    fn read_at(
        &mut self,
        mut file: &File,
        offset: u64,
        bytes: usize,
        into: &mut Vec<u8>,
    ) -> io::Result<usize> {
        file.seek(SeekFrom::Start(offset))?;
        file.take(bytes as u64).read_to_end(into)
    }
}
