//! The program `tidegate`: from the command line to a server at work.
//!
//! ```text
//! options ──▶ gateway (welcome | static files) ─┐
//!         ──▶ limits, descriptors ──────────────┼──▶ bind ──▶ announce ──▶ run ──▶ exit status
//!         ──▶ logger, access log, signals ──────┘
//! ```

mod console;
mod descriptors;
mod options;
mod signals;
mod welcome;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tidegate::access_log::{CombinedLog, JsonLog};
use tidegate::adapters::StaticFiles;
use tidegate::gateway::Gateway;
use tidegate::limits::Limits;
use tidegate::server::BoundServer;
use tidegate::{ListenAddress, Server};

use self::console::say;
use self::options::{AccessLogFormat, Command, Options};
use self::signals::ShutdownSignals;

/// The system would not have it.
const EXIT_FAILED: u8 = 1;
/// The command line makes no sense.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(answer) => {
            // Help and version come this way too. Nobody may be left to read them.
            let _ = answer.print();
            return ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(EXIT_USAGE));
        }
    };
    let limits = match options.settings.limits.to_limits() {
        Ok(limits) => limits,
        Err(reason) => {
            say(&format!("tidegate: {reason}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    console::log_to_stderr(options.settings.log_level.into());
    match serve(&options, limits) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            say(&format!("tidegate: {reason}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Serves until shut down. An error is one sentence.
fn serve(options: &Options, mut limits: Limits) -> Result<(), String> {
    let (gateway, what): (Box<dyn Gateway>, String) = match &options.command {
        None => (Box::new(welcome::Welcome::new()), "the welcome application".to_string()),
        Some(Command::Static { folder, .. }) => {
            (Box::new(open_folder(folder)?), folder.display().to_string())
        }
    };
    limits.connections_max = descriptors::make_room_for(limits.connections_max);
    // From here on a signal is an event, even if it comes before the server does.
    let signals = ShutdownSignals::install().map_err(|error| error.to_string())?;
    let server = bind(options, limits).map_err(|error| error.to_string())?;
    signals.forward_to(server.handle()).map_err(|error| error.to_string())?;
    announce(&server.addresses(), &what);
    server.run(gateway).map_err(|error| error.to_string())
}

fn open_folder(folder: &Path) -> Result<StaticFiles, String> {
    StaticFiles::new(folder).map_err(|error| format!("cannot serve the folder {}: {error}", folder.display()))
}

fn bind(options: &Options, limits: Limits) -> io::Result<BoundServer> {
    let server = options.addresses().into_iter().fold(Server::new(), Server::listen).limits(limits);
    match options.settings.access_log {
        AccessLogFormat::Off => server,
        AccessLogFormat::Combined => server.access_log(CombinedLog::new(io::stdout())),
        AccessLogFormat::Json => server.access_log(JsonLog::new(io::stdout())),
    }
    .bind()
}

fn announce(addresses: &[ListenAddress], what: &str) {
    for address in addresses {
        say(&format!("tidegate serves {what} on {address} (Ctrl-C stops)"));
    }
}
