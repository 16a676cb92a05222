//! Times the pure layers, which need no socket: parsing a head, undoing the chunked coding, a conversation.
//!
//! ```text
//! cargo bench --bench layers
//! ```
//!
//! The figures show where a change tells; what a request costs in all, `instructions` counts. Nothing is
//! checked, since times depend on the machine and its load. Two runs are compared by their medians.

#[path = "support/load.rs"]
#[allow(dead_code, reason = "the clients in it are for the benches that have a server")]
mod load;

use std::fs::File;
use std::io;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use load::{BROWSER, SMALL};
use tidegate::conversation::{
    Budget, Conversation, Disk, Memory, NoJournal, NoWire, OutputQueue, ServerContext, Turn, Wants,
};
use tidegate::gateway::{Client, NoWake, Peer, ServerInfo, Spool, SpoolFile};
use tidegate::limits::Limits;
use tidegate::now::Now;
use tidegate::protocol::{ChunkedDecoder, FieldSlots, parse_head};
use tidegate::{Body, Environ, GatewayError, StartResponse};

fn main() {
    divan::main();
}

/// Requests that come at once.
#[derive(Clone, Copy, Debug)]
enum Input {
    Small,
    Browser,
    PipelineOf16,
}

impl Input {
    /// Returns one request, and how often it is repeated.
    fn request(self) -> (&'static str, usize) {
        match self {
            Input::Small => (SMALL, 1),
            Input::Browser => (BROWSER, 1),
            Input::PipelineOf16 => (SMALL, 16),
        }
    }
}

#[divan::bench(args = [Input::Small, Input::Browser])]
fn head(bencher: Bencher<'_, '_>, input: Input) {
    let (limits, (head, _)) = (Limits::default(), input.request());
    bencher.counter(BytesCount::of_str(head)).bench_local(|| {
        let mut slots = FieldSlots::new();
        let parsed = parse_head(black_box(head.as_bytes()), 0, &mut slots, &limits);
        assert!(matches!(black_box(parsed), Ok(Some(_))));
    });
}

/// Decodes 64 KiB of content in chunks of `chunk_bytes`; the content itself is not looked at, so chunks are
/// counted.
#[divan::bench(args = [16, 1024])]
fn chunked(bencher: Bencher<'_, '_>, chunk_bytes: usize) {
    let content = vec![b'x'; 64 * 1024];
    let mut coded = Vec::new();
    for chunk in content.chunks(chunk_bytes) {
        coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    bencher.counter(ItemsCount::new(content.len() / chunk_bytes)).bench_local(|| {
        let mut decoder = ChunkedDecoder::new(u64::MAX);
        let (mut rest, mut content_bytes) = (black_box(&coded[..]), 0);
        while let Ok(decoded) = decoder.decode(rest) {
            rest = &rest[decoded.consumed..];
            content_bytes += decoded.content.len();
            if decoder.is_complete() {
                break;
            }
        }
        assert_eq!(content_bytes, content.len());
    });
}

#[divan::bench(args = [Input::Small, Input::PipelineOf16, Input::Browser])]
fn conversation(bencher: Bencher<'_, '_>, input: Input) {
    let (request, depth) = input.request();
    let input = request.repeat(depth);
    let context = ServerContext::new(Limits::default(), ServerInfo::default(), Now::default());
    let (mut conversation, mut out) = (Conversation::new(context.now.moment), OutputQueue::default());
    bencher.counter(ItemsCount::new(depth)).bench_local(|| {
        let mut turn = Turn {
            gateway: &mut application,
            context: &context,
            client: Client {
                connection_id: 1,
                peer: &Peer::Unix,
                local: None,
                has_finished_sending: false,
                wake_source: &NoWake,
                memory: None,
            },
            disk: &mut NoDisk,
            wire: &NoWire,
            journal: &mut NoJournal,
            memory: Memory::Ample,
            budget: Budget::TURN,
        };
        conversation.receive(black_box(input.as_bytes()), &mut turn, &mut out);
        assert_eq!(conversation.wants(0, context.limits.output_bytes_high), Wants::Read);
        // The client takes it at once.
        black_box(&out).owed();
        out.clear();
    });
}

/// Answers as the workbench's `/plaintext`.
fn application(_environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    start_response.status(200).field("Content-Type", "text/plain").send("Hello, World!")
}

/// A disk for content that is never long enough for one.
struct NoDisk;

impl Spool for NoDisk {
    fn create(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Disk for NoDisk {
    fn read_at(&mut self, _: &File, _: u64, _: usize, _: &mut Vec<u8>) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
