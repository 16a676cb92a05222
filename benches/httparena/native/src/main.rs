//! The entry of tidegate for HttpArena: a small application, as anybody would write it with the library.
//!
//! ```text
//! cargo run --release -p tidegate-httparena -- --listen 127.0.0.1:8080 --data DIR
//! curl 'http://127.0.0.1:8080/baseline11?a=13&b=42'
//! ```
//!
//! Nothing is computed beforehand, and no file is kept: each answer is made when it is asked for.

mod arena;
mod dataset;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tidegate::limits::Limits;
use tidegate::{ListenAddress, Server, ServerHandle};

use arena::Arena;
use dataset::Dataset;

/// Most connections at a time, if the system allows as many. The largest profile has 4,096, others had 16,384.
const CONNECTIONS_MAX: usize = 32_768;

/// Bytes that wait for a connection. Above what one read takes in (256 KiB), so that no upload is held back for a moment,
/// since it is counted at once.
const WAITING_BYTES: usize = 512 * 1024;

/// The entry of tidegate for HttpArena.
#[derive(Parser)]
struct Options {
    /// The address to listen on
    #[arg(long, default_value = "0.0.0.0:8080")]
    listen: ListenAddress,
    /// The folder with dataset.json and static/
    #[arg(long, default_value = "/data")]
    data: PathBuf,
    /// Event loops; as many as there are processors by default
    #[arg(long)]
    reactors: Option<usize>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate-httparena: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    // As the program does: glibc would give the memory of each piece of an upload back, and get it again.
    tidegate_program::keep_what_is_free();
    let dataset = Arc::new(Dataset::read(&options.data.join("dataset.json"))?);
    let reactors = match options.reactors {
        Some(count) => count,
        None => thread::available_parallelism()?.get(),
    };
    let connections_max = tidegate_program::make_room_for(CONNECTIONS_MAX);
    let limits = Limits { connections_max, output_bytes_high: WAITING_BYTES, ..Limits::default() };
    let server = Server::new().listen(options.listen.clone()).limits(limits).reactors(reactors).bind()?;
    end_on_signals(server.handle())?;
    for address in server.addresses() {
        eprintln!("tidegate serves HttpArena on {address} (Ctrl-C stops)");
    }
    Ok(server.run_each(|_| Arena::new(dataset.clone(), &options.data))?)
}

/// Ends the server when the container is to stop.
fn end_on_signals(server: ServerHandle) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let wait = move || signals.forever().for_each(|_| server.stop());
    thread::Builder::new().name("signals".to_string()).spawn(wait).map(drop)
}
