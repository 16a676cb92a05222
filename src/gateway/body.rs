//! Response bodies: the ways to answer, at once, piece by piece, from a file, or later.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::{GatewayError, StartResponse};
use crate::message::InvalidResponse;
use crate::now::Moment;

/// The return value of a gateway: its response was started, or is promised for later.
///
/// Only a [`StartResponse`] can make one, so a response can be neither forgotten nor given twice.
#[derive(Debug)]
pub struct Body(Option<Remainder>);

impl Body {
    /// Makes the body of a response whose head and content were handed over in the call.
    #[inline]
    pub(super) fn complete() -> Body {
        Body(None)
    }

    pub(super) fn with(remainder: Remainder) -> Body {
        Body(Some(remainder))
    }

    /// Whether nothing remains to be done for the response.
    pub fn is_complete(&self) -> bool {
        self.0.is_none()
    }

    /// Returns what the server has still to do for the response; for implementations of [`super::ResponseSink`].
    pub fn into_remainder(self) -> Option<Remainder> {
        self.0
    }
}

/// The part of a response that outlasts the call of its gateway.
#[non_exhaustive]
pub enum Remainder {
    /// Content is to be drawn piece by piece.
    Stream(Box<dyn BodyStream>),
    /// Content is part of a file.
    File(FileRange),
    /// The connection is taken over.
    Tunnel(Box<dyn Tunnel>),
    /// Not even the status is known yet.
    Later {
        /// The moment to resume even without a wake-up.
        until: Option<Moment>,
        /// The answer to resume.
        answer: Box<dyn Later>,
    },
}

impl fmt::Debug for Remainder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Remainder::Stream(_) => "Stream",
            Remainder::File(_) => "File",
            Remainder::Tunnel(_) => "Tunnel",
            Remainder::Later { .. } => "Later",
        })
    }
}

/// Response content that is drawn while the socket takes it.
///
/// No piece is asked for while more than [`output_bytes_high`] is owed to the client: back-pressure
/// needs no code. Dropping the stream is its end, however it comes: when the connection is known to
/// be broken, it is dropped at once.
///
/// A stream must not block: it runs on the thread of the event loop, and all clients would wait with it. While it has
/// nothing to give, it says [`Piece::Pending`], and is woken by a [`Wakeup`](super::Wakeup).
///
/// **Wake after each change that the stream can see, its end included.** After the last piece the sender is dropped:
/// without one more wake-up nobody asks the stream again, and its client waits for the end of the content.
///
/// ```
/// use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
/// use std::thread;
///
/// use tidegate::gateway::{BodyStream, Piece};
/// use tidegate::now::Moment;
/// use tidegate::{Body, Environ, GatewayError, StartResponse};
///
/// /// Gives what another thread sends.
/// struct FromThread {
///     receiver: Receiver<Vec<u8>>,
///     current: Vec<u8>,
/// }
///
/// impl BodyStream for FromThread {
///     fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
///         match self.receiver.try_recv() {
///             Ok(piece) => {
///                 self.current = piece;
///                 Ok(Piece::Data(&self.current))
///             }
///             Err(TryRecvError::Empty) => Ok(Piece::Pending { until: None }),
///             Err(TryRecvError::Disconnected) => Ok(Piece::End),
///         }
///     }
/// }
///
/// fn gateway(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
///     let wakeup = environ.wakeup();
///     // Bounded: the thread waits here while the client reads slowly.
///     let (sender, receiver) = sync_channel(4);
///     thread::spawn(move || {
///         for piece in ["low ", "tide"] {
///             if sender.send(piece.into()).is_err() {
///                 return; // The stream was dropped: the client has left.
///             }
///             wakeup.wake();
///         }
///         // In this order: the stream that is woken must find the channel closed.
///         drop(sender);
///         wakeup.wake();
///     });
///     start_response.status(200).stream(FromThread { receiver, current: Vec::new() })
/// }
/// # use std::io::{Read, Write};
/// # let server = tidegate::Server::new().listen("127.0.0.1:0".parse()?).bind()?;
/// # let address = server.addresses()[0].socket_addr().unwrap();
/// # thread::spawn(move || server.run(gateway));
/// # let mut client = std::net::TcpStream::connect(address)?;
/// # client.write_all(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")?;
/// # let mut answer = String::new();
/// # client.read_to_string(&mut answer)?;
/// # assert!(answer.ends_with("\r\n\r\nlow tide"), "{answer}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Here a thread that panics looks like one that is done. A [`channel`](super::channel) tells them apart, and wakes by
/// itself.
///
/// [`output_bytes_high`]: crate::limits::Limits::output_bytes_high
pub trait BodyStream {
    /// Returns the next piece. Called again after `Data`; after `Pending` once it was woken, or the moment
    /// has come; never after `End` or an error.
    ///
    /// # Errors
    /// Returns an error when the content cannot be completed; the connection then ends in a way that the
    /// client can tell from an ending.
    fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError>;

    /// Returns trailer fields (RFC 9110 §6.5) to follow the content: facts that are known only once all of it was
    /// produced. Asked once, after [`Piece::End`], and only where they can be sent: the content is chunked (HTTP/1.1,
    /// and no Content-Length) and the client has said `TE: trailers`. All others never see them, so nothing a client
    /// needs belongs here.
    ///
    /// It is good manners to announce their names in a `Trailer` field of the head. What is not a field, or
    /// [cannot be a trailer](crate::message::may_be_trailer), breaks the response off, as an error of
    /// [`next_piece`](BodyStream::next_piece) does.
    fn trailers(&mut self) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }

    /// Notes that the client has ended its side of the connection while this stream was pending; the next
    /// piece is asked for now. Whether the client has left, or still reads, cannot be told before something
    /// is sent: a stream that may wait for long does well to send something, or to end.
    fn client_has_finished(&mut self) {}

    /// Whether each piece must be sent before the next one is asked for, as PEP 3333 wants it of an iterable
    /// that works while the server waits. Others are gathered into larger writes.
    fn is_prompt(&self) -> bool {
        false
    }

    /// The memory in bytes that the stream holds, and that counts towards
    /// [`memory_bytes_max`](crate::limits::Limits::memory_bytes_max). Asked after each turn.
    fn held_bytes(&self) -> usize {
        0
    }
}

/// The next part of a stream, if it has one at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes, lent until they are copied. An empty piece is not the end.
    Data(&'a [u8]),
    /// No bytes yet: ask again when woken, or at this moment.
    Pending {
        /// The moment, if there is one.
        until: Option<Moment>,
    },
    /// The end of the stream.
    End,
}

/// A stream of the items of an iterator. The iterator must not block, since it runs on the thread of the event loop:
/// see [`ResponseHead::pieces`](super::ResponseHead::pieces).
pub struct Pieces<I: Iterator> {
    iterator: I,
    current: Option<I::Item>,
}

impl<I: Iterator> fmt::Debug for Pieces<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").finish_non_exhaustive()
    }
}

impl<I: Iterator> Pieces<I> {
    /// Makes a stream of the items of an iterator.
    pub fn new(iterator: I) -> Pieces<I> {
        Pieces { iterator, current: None }
    }
}

impl<I: Iterator<Item: AsRef<[u8]>>> BodyStream for Pieces<I> {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        self.current = self.iterator.next();
        Ok(self.current.as_ref().map_or(Piece::End, |piece| Piece::Data(piece.as_ref())))
    }
}

/// A part of an open file. Its length is fixed when the response starts: if the file shrinks meanwhile, the
/// client can tell.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The file, which can be shared between responses. It is read at positions; its own position is left alone.
    pub file: Arc<File>,
    /// The offset of the first byte.
    pub offset: u64,
    /// The number of bytes.
    pub length: u64,
}

impl FileRange {
    /// Takes the whole file, as long as it is now.
    ///
    /// # Errors
    /// Returns the error of the system when the length cannot be read.
    pub fn whole(file: File) -> io::Result<FileRange> {
        let length = file.metadata()?.len();
        Ok(FileRange { file: Arc::new(file), offset: 0, length })
    }

    /// Turns the range into a stream, for those who have to look at the content. As a file it is sent without
    /// being copied.
    pub fn into_stream(self) -> FileStream {
        FileStream { range: self, piece: Vec::new() }
    }
}

/// The content of a file, read piece by piece.
#[derive(Debug)]
pub struct FileStream {
    range: FileRange,
    piece: Vec<u8>,
}

impl FileStream {
    /// Whether all of the range was read.
    #[doc(hidden)]
    pub fn is_over(&self) -> bool {
        self.range.length == 0
    }
}

/// Bytes of a file that are read at a time. 64 KiB: the most that a socket takes at once.
const FILE_PIECE_BYTES: usize = 64 * 1024;

impl BodyStream for FileStream {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        let FileRange { file, offset, length } = &mut self.range;
        if *length == 0 {
            return Ok(Piece::End);
        }
        self.piece.resize(usize::try_from(*length).unwrap_or(usize::MAX).min(FILE_PIECE_BYTES), 0);
        let read = file.read_at(&mut self.piece, *offset)?;
        if read == 0 {
            return Err(InvalidResponse::TooShort { missing: *length }.into());
        }
        *offset += read as u64;
        *length -= read as u64;
        Ok(Piece::Data(&self.piece[..read]))
    }

    fn held_bytes(&self) -> usize {
        self.piece.capacity()
    }
}

/// An application's end of a connection that it has taken over: a WebSocket (RFC 6455), for one.
///
/// What it sends is [drawn](BodyStream::next_piece) as the content of any answer; what the client sends is
/// handed to it, beginning with what has come behind the request already. Its end ends the connection: all of it is sent,
/// and what the client still sends is thrown away for a while
/// ([`linger_timeout`](crate::limits::Limits::linger_timeout)), so that the last bytes are not lost to a reset. An error
/// ends it, too, in a way that the client can tell. Dropping it is its end in any case: also where the connection has
/// broken, or nothing has moved in either direction for [`tunnel_timeout`](crate::limits::Limits::tunnel_timeout), or
/// the server has stopped.
///
/// While more than [`output_bytes_high`](crate::limits::Limits::output_bytes_high) is owed to the client, it is not asked
/// for a piece, even if a moment has come for which it has asked: it is asked as soon as there is room. A client that
/// takes nothing at all is cut after [`write_timeout`](crate::limits::Limits::write_timeout).
///
/// The memory that it [holds](BodyStream::held_bytes) while it waits for the client counts: where memory is scarce,
/// the tunnels that hold most are cut.
///
/// A server that shuts down waits for it as for any answer, for
/// [`drain_timeout`](crate::limits::Limits::drain_timeout).
pub trait Tunnel: BodyStream {
    /// Takes bytes from the client, and returns how many of them it has taken, from the first on. After that
    /// [`next_piece`](BodyStream::next_piece) is asked, which is told the time, and then the rest is offered.
    ///
    /// With 0 it takes none before `next_piece` is asked again (when there is room for output, its moment has come, or
    /// its [`Wakeup`](super::Wakeup) was used), and meanwhile the socket is not read: so a slow application slows its
    /// client down, and bounds its own memory.
    ///
    /// # Errors
    /// Returns an error when the connection is to be cut.
    fn receive(&mut self, bytes: &[u8]) -> Result<usize, GatewayError>;

    /// Notes that the client has ended its side, and that all it has sent was taken. It may still read. The next piece is
    /// asked for now.
    fn receive_end(&mut self) {}

    /// Notes that the server is about to end, and waits for this tunnel no longer than
    /// [`drain_timeout`](crate::limits::Limits::drain_timeout). Told once; the next piece is asked for now. A WebSocket
    /// says goodbye with 1001 (Going Away).
    fn server_is_draining(&mut self) {}
}

/// An answer that comes later, from another thread, a timer, a child process or a future.
///
/// Dropped without having been resumed when the connection is known to be broken. It must not block, since it is
/// resumed on the thread of the event loop.
pub trait Later {
    /// Answers now, or says [later](StartResponse::later) again with `self`. Called once it was woken or its
    /// moment has come; wake-ups may be spurious.
    ///
    /// # Errors
    /// Returns the same errors as [`super::Gateway::call`].
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError>;

    /// Notes that the client has ended its side of the connection meanwhile; the answer is resumed now. The
    /// client may have left, or still wait: both look the same.
    fn client_has_finished(&mut self) {}

    /// Returns the moment at which the answer is resumed even if nobody wakes it, if it has one of its own. What
    /// counts is the earlier of this and the one that [`later`](StartResponse::later) is told.
    fn deadline(&self) -> Option<Moment> {
        None
    }

    /// The memory in bytes that the answer holds, or somebody holds for it, and that counts towards
    /// [`memory_bytes_max`](crate::limits::Limits::memory_bytes_max). Asked after each turn.
    fn held_bytes(&self) -> usize {
        0
    }
}
