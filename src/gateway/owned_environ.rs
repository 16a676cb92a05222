//! A request that has left its connection: a copy of the environ that other threads can hold.

use std::net::SocketAddr;

use super::environ::{AddedVariables, MountPoint};
use super::{
    Client, Environ, OwnedContent, Peer, RequestContent, Reservation, ServerInfo, WakeSource, Wakeup, Watcher,
};
use crate::message::{FieldLines, Fields, Method, RequestHead, RequestTarget, Version};
use crate::now::Moment;

impl Environ<'_> {
    /// Makes a copy that owns its parts, for another thread. The content moves there; none is left here. The
    /// memory that it holds counts towards [`memory_bytes_max`](crate::limits::Limits::memory_bytes_max)
    /// until it is dropped, even when its client has left long before.
    pub fn detach(&mut self) -> OwnedEnviron {
        let mut owned = OwnedEnviron {
            line: [self.method().as_str(), self.raw_target()].concat(),
            method_bytes: self.method().as_str().len(),
            version: self.version(),
            fields: CopiedFields::copy(self.fields()),
            trailers: Some(self.trailers())
                .filter(|trailers| !trailers.is_empty())
                .map(|trailers| Box::new(CopiedFields::copy(trailers))),
            content: self.content.detach(),
            content_length: self.content_length(),
            mount_point: self.mount_point(),
            added: self.added.clone(),
            wakes: OwnedWakes { wakeup: self.wakeup(), watcher: self.watcher() },
            connection_id: self.client().connection_id,
            peer: self.client().peer.clone(),
            local: self.client().local.copied(),
            has_finished_sending: self.client().has_finished_sending,
            server: self.server().clone(),
            now: self.now(),
            reservation: None,
        };
        owned.reservation = self.client().memory.map(|account| account.reserve(owned.memory_bytes()));
        owned
    }
}

/// A request that owns all it consists of, and can go to another thread.
#[derive(Debug)]
pub struct OwnedEnviron {
    /// Method and target in one string.
    line: String,
    method_bytes: usize,
    version: Version,
    fields: CopiedFields,
    /// The trailer fields, in a box, since nearly all requests have none.
    trailers: Option<Box<CopiedFields>>,
    content: OwnedContent,
    content_length: Option<u64>,
    mount_point: MountPoint,
    added: Option<Box<AddedVariables>>,
    wakes: OwnedWakes,
    connection_id: u64,
    peer: Peer,
    local: Option<SocketAddr>,
    has_finished_sending: bool,
    server: ServerInfo,
    now: Moment,
    /// The reservation that counts the request's memory for as long as it lives.
    reservation: Option<Reservation>,
}

/// Field lines in three allocations, however many there are.
#[derive(Debug, Default)]
struct CopiedFields {
    names: String,
    values: Vec<u8>,
    /// The offsets where name and value of each line end; they begin where those of the line before end.
    ends: Vec<(usize, usize)>,
}

impl CopiedFields {
    fn copy(fields: Fields<'_>) -> CopiedFields {
        let (names, values) = fields
            .iter()
            .fold((0, 0), |(names, values), (name, value)| (names + name.len(), values + value.len()));
        let mut owned = CopiedFields {
            names: String::with_capacity(names),
            values: Vec::with_capacity(values),
            ends: Vec::with_capacity(fields.len()),
        };
        for (name, value) in fields.iter() {
            owned.names.push_str(name);
            owned.values.extend_from_slice(value);
            owned.ends.push((owned.names.len(), owned.values.len()));
        }
        owned
    }
}

impl CopiedFields {
    fn memory_bytes(&self) -> usize {
        self.names.len() + self.values.len() + size_of_val(self.ends.as_slice())
    }
}

impl FieldLines for CopiedFields {
    fn count(&self) -> usize {
        self.ends.len()
    }

    fn line(&self, index: usize) -> (&str, &[u8]) {
        let (name, value) = index.checked_sub(1).map_or((0, 0), |before| self.ends[before]);
        let (name_end, value_end) = self.ends[index];
        (&self.names[name..name_end], &self.values[value..value_end])
    }
}

/// Wakes the connection that the request has left.
#[derive(Debug)]
struct OwnedWakes {
    wakeup: Wakeup,
    watcher: Watcher,
}

impl WakeSource for OwnedWakes {
    fn waker(&self) -> std::task::Waker {
        self.wakeup.as_waker().clone()
    }

    fn watcher(&self) -> Watcher {
        self.watcher.clone()
    }
}

impl OwnedEnviron {
    /// The memory in bytes that the request takes.
    pub fn memory_bytes(&self) -> usize {
        let fields =
            self.fields.memory_bytes() + self.trailers.as_ref().map_or(0, |trailers| trailers.memory_bytes());
        self.line.len() + fields + self.content.memory_bytes()
    }

    /// The method, and the target as it was sent.
    pub fn line(&self) -> (&str, &str) {
        self.line.split_at(self.method_bytes)
    }

    /// Shows the request as an [`Environ`] again, for the length of a call.
    pub fn with<R>(&mut self, view: impl FnOnce(&mut Environ<'_>) -> R) -> R {
        let (method, raw_target) = self.line.split_at(self.method_bytes);
        let method = Method(method);
        let head = RequestHead {
            method,
            // It was parsed before it was copied.
            target: RequestTarget::parse(method, raw_target).unwrap_or(RequestTarget::ASTERISK),
            version: self.version,
            fields: Fields::new(&self.fields),
        };
        let client = Client {
            connection_id: self.connection_id,
            peer: &self.peer,
            local: self.local.as_ref(),
            has_finished_sending: self.has_finished_sending,
            wake_source: &self.wakes,
            memory: self.reservation.as_ref().map(Reservation::account),
        };
        let trailers = self.trailers.as_deref().map_or(Fields::EMPTY, |trailers| Fields::new(trailers));
        let content = RequestContent::with_trailers(&mut self.content, trailers);
        let mut environ = Environ::new(&head, content, self.content_length, &client, &self.server, self.now);
        environ.return_to(self.mount_point);
        environ.added = self.added.clone();
        view(&mut environ)
    }
}
