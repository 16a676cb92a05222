//! Counts allocations of the server for one request: calls of the allocator by the thread of the event loop.
//!
//! ```text
//! cargo bench --bench allocations              shows them
//! cargo bench --bench allocations -- --check   fails where there are more than in benches/budget.toml
//! cargo bench --bench allocations -- --save    makes them the budget
//! ```
//!
//! The application is the workbench again, here in a thread of this process. The package `tidegate-files` has a bench of the
//! same name for a file.

mod support;
#[allow(dead_code, reason = "the example is a program, of which the application is a part")]
#[path = "../examples/workbench.rs"]
mod workbench;

use std::process::ExitCode;

use support::Failure;
use support::allocations::{Counting, count_served, count_watched, figures};
use support::load::{BROWSER, Load, SMALL};
use workbench::Workbench;

const POST: &str = "POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 16\r\n\r\n0123456789abcdef";
const MISSING: &str = "GET /missing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
/// A request for which the application itself allocates two buffers: this shows that the count can be other
/// than none.
const HEADER: &str = "GET /header?name=A&value=b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

const LOADS: [Load; 6] = [
    Load { name: "keep_alive", connections: 16, depth: 1, request: SMALL, content_bytes: 0, code: 200 },
    Load { name: "pipelined", connections: 64, depth: 16, request: SMALL, content_bytes: 0, code: 200 },
    Load { name: "browser", connections: 16, depth: 1, request: BROWSER, content_bytes: 0, code: 200 },
    Load { name: "post", connections: 16, depth: 1, request: POST, content_bytes: 0, code: 200 },
    Load { name: "missing", connections: 16, depth: 1, request: MISSING, content_bytes: 0, code: 404 },
    Load { name: "application", connections: 16, depth: 1, request: HEADER, content_bytes: 0, code: 200 },
];

/// The first of them once more, at a server that is observed.
const WATCHED: Load = Load { name: "watched", ..LOADS[0] };

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<ExitCode, Failure> {
    let served = LOADS.iter().map(|load| count_served(Workbench::default(), load));
    let watched = count_watched(Workbench::default(), &WATCHED);
    figures(served.chain([watched]).collect::<Result<_, _>>()?).settle()
}
