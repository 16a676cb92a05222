//! Counts calls of the allocator by the thread of an event loop, which runs in this process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tidegate::{BoundServer, Gateway, ListenAddress, Server};

use super::Failure;
use super::budget::{Figure, Figures};
use super::load::{Clients, Load};

/// Requests before counting begins, and while it lasts.
const REQUESTS: usize = 4_096;

/// Allocations of the threads that are counted.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// Collects figures of this kind.
pub fn figures(figures: Vec<Figure>) -> Figures {
    Figures { counted: "allocations", decimals: 4, vary_with_compiler: false, figures }
}

/// Counts what a load costs a server with this gateway. Buffers have grown to what they need before it is counted, so what
/// remains is what each request costs.
pub fn count_served(gateway: impl Gateway + Send + 'static, load: &Load) -> Result<Figure, Failure> {
    count_bound(bind()?, gateway, load)
}

/// Counts likewise at a server whose loop is observed.
pub fn count_watched(gateway: impl Gateway + Send + 'static, load: &Load) -> Result<Figure, Failure> {
    let mut server = bind()?;
    let _observer = server.observer();
    count_bound(server, gateway, load)
}

fn bind() -> io::Result<BoundServer> {
    Server::new().listen(ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))).bind()
}

fn count_bound(
    server: BoundServer,
    gateway: impl Gateway + Send + 'static,
    load: &Load,
) -> Result<Figure, Failure> {
    let [ListenAddress::Tcp(address)] = server.addresses()[..] else {
        return Err("one TCP address was asked for".into());
    };
    let handle = server.handle();
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
pub struct Counting;

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
