//! Counts allocations of the server for one request: calls of the allocator by the thread of the event loop.
//!
//! ```text
//! cargo bench --bench allocations              shows them
//! cargo bench --bench allocations -- --check   fails where there are more than in benches/budget.toml
//! cargo bench --bench allocations -- --save    makes them the budget
//! ```
//!
//! The application is the workbench again, or a folder, here in a thread of this process. Buffers have grown to what they need
//! before it is counted, so what remains is what each request costs.

mod support;
#[allow(dead_code, reason = "the example is a program, of which the application is a part")]
#[path = "../examples/workbench.rs"]
mod workbench;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use support::Failure;
use support::budget::{Figure, Figures};
use support::load::{BROWSER, Clients, FILE, Load, SMALL};
use tidegate::adapters::{FileCache, StaticFiles};
use tidegate::{Gateway, ListenAddress, Server};

/// Requests before counting begins, and while it lasts.
const REQUESTS: usize = 4_096;

const POST: &str = "POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 16\r\n\r\n0123456789abcdef";
const MISSING: &str = "GET /missing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
/// A request for which the application itself allocates two buffers: this shows that the count can be other
/// than none.
const HEADER: &str = "GET /header?name=A&value=b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

const LOADS: [Load; 7] = [
    Load { name: "file", connections: 16, depth: 1, request: FILE, content_bytes: 0, code: 200 },
    Load { name: "keep_alive", connections: 16, depth: 1, request: SMALL, content_bytes: 0, code: 200 },
    Load { name: "pipelined", connections: 64, depth: 16, request: SMALL, content_bytes: 0, code: 200 },
    Load { name: "browser", connections: 16, depth: 1, request: BROWSER, content_bytes: 0, code: 200 },
    Load { name: "post", connections: 16, depth: 1, request: POST, content_bytes: 0, code: 200 },
    Load { name: "missing", connections: 16, depth: 1, request: MISSING, content_bytes: 0, code: 404 },
    Load { name: "application", connections: 16, depth: 1, request: HEADER, content_bytes: 0, code: 200 },
];

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the threads that are counted.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn main() -> Result<ExitCode, Failure> {
    let figures = LOADS.iter().map(count_served).collect::<Result<_, _>>()?;
    Figures { counted: "allocations", decimals: 4, vary_with_compiler: false, figures }.settle()
}

/// Counts a load at a server of its own.
fn count_served(load: &Load) -> Result<Figure, Failure> {
    let server = Server::new().listen(ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))).bind()?;
    let [ListenAddress::Tcp(address)] = server.addresses()[..] else {
        return Err("one TCP address was asked for".into());
    };
    let handle = server.handle();
    let gateway: Box<dyn Gateway + Send> = match load.request {
        FILE => {
            let patient = FileCache { valid_for: Duration::from_secs(3_600), ..FileCache::default() };
            Box::new(StaticFiles::new(support::folder()?)?.file_cache(patient))
        }
        _ => Box::new(workbench::Workbench::default()),
    };
    let thread = thread::spawn(move || {
        IS_COUNTED.set(true);
        server.run(gateway)
    });
    let figure = count(address, load);
    handle.stop();
    thread.join().map_err(|_| "the server has panicked")??;
    figure
}

fn count(address: SocketAddr, load: &Load) -> Result<Figure, Failure> {
    let mut clients = Clients::connect(address, load)?;
    let rounds = clients.rounds(REQUESTS);
    let mut ask = || {
        (0..rounds).try_for_each(|_| {
            clients.send()?;
            clients.receive()
        })
    };
    ask()?;
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    ask()?;
    let allocations = ALLOCATIONS.load(Ordering::SeqCst) - before;
    Ok(Figure { load: load.name, value: allocations as f64 / REQUESTS as f64, parts: Vec::new() })
}

/// The system's allocator, with a count of its calls.
struct Counting;

impl Counting {
    fn note() {
        if IS_COUNTED.get() {
            ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        }
    }
}

// Nobody can replace the allocator without `unsafe`: its contract is that of `System`, which does the work.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::note();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::note();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::note();
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}
