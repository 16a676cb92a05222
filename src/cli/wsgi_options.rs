//! The part of the command line that concerns Python: which application, and how it is run.
//!
//! The names are gunicorn's where the meaning is. All of it is only read and checked here; it is
//! carried out by the Python package, which is the only one that can call an application.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{FalseyValueParser, Resettable};
use clap::{Args, value_parser};

use super::access::LogForm;
use super::units::{Size, Span};
use crate::adapters::wsgi::TrustedProxies;
use crate::limits::Limits;

/// Most threads for an application. 1,024: far beyond where another one still helps a process that
/// runs one of them at a time.
const THREADS_MAX: i64 = 1024;
/// Most worker processes. 1,024: more are a slip of the finger.
const WORKERS_MAX: i64 = 1024;
/// Threads for an application: enough that one which waits for a database leaves others to answer.
const THREADS_DEFAULT: u16 = 4;
/// How long an application may take for an answer: as gunicorn.
const TIMEOUT_DEFAULT: &str = "30s";
/// How long a generated answer may wait for its client to read, in all, while others need its thread: as long as
/// it may take to be made.
const READER_WAIT_MAX_DEFAULT: &str = TIMEOUT_DEFAULT;
/// Whose `X-Forwarded-` fields are believed: a proxy on the same machine, as gunicorn.
const FORWARDED_ALLOW_IPS_DEFAULT: &str = "127.0.0.1,::1";

/// How to run a Python application.
#[derive(Args, Debug)]
#[command(next_help_heading = "Python (WSGI)")]
pub struct WsgiOptions {
    /// The WSGI application to serve (PEP 3333)
    ///
    /// MODULE:APP, PACKAGE.MODULE:OBJECT.ATTRIBUTE, "MODULE:create_app()", or MODULE alone, in which
    /// it is named application or app.
    #[arg(value_name = "MODULE:APP", help_heading = Resettable::Reset)]
    pub(super) application: Option<String>,
    /// Worker processes under a supervisor; without it, the one process serves by itself
    #[arg(long, short, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=WORKERS_MAX))]
    pub workers: Option<u16>,
    /// Threads for the application, in each process; 1 calls it on the thread of the event loop
    #[arg(long, value_name = "COUNT", default_value_t = THREADS_DEFAULT)]
    #[arg(value_parser = value_parser!(u16).range(1..=THREADS_MAX))]
    pub threads: u16,
    /// Longest time for one answer of the application, 0 for any
    #[arg(long, short, value_name = "TIME", default_value = TIMEOUT_DEFAULT, value_parser = time)]
    pub timeout: Duration,
    /// Longest time in all that a generated answer waits for its client to read while other requests wait for
    /// its thread, 0 for any; then it is broken off
    #[arg(long, value_name = "TIME", default_value = READER_WAIT_MAX_DEFAULT, value_parser = time)]
    pub reader_wait_max: Duration,
    /// Replace a worker after this many requests, 0 for never; it serves until the next one does
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub max_requests: u64,
    /// Up to this many requests more, at random, so that workers do not end all at once
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub max_requests_jitter: u64,
    /// Go to this folder before the application is loaded
    #[arg(long, value_name = "DIR")]
    pub chdir: Option<PathBuf>,
    /// Folders to look for modules in first, separated by commas; may be repeated
    #[arg(long, value_name = "DIRS", value_delimiter = ',')]
    pub pythonpath: Vec<PathBuf>,
    /// Write the number of the process to this file
    #[arg(long, value_name = "FILE")]
    pub pid: Option<PathBuf>,
    /// Start workers anew when a module of the application has changed, for developers
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub reload: bool,
    /// Another file to watch with --reload; may be repeated
    #[arg(long, value_name = "FILE")]
    pub reload_extra_file: Vec<PathBuf>,
    /// Load the application before workers are started, which then share its memory
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub preload: bool,
    /// Whose X-Forwarded- fields to believe: addresses separated by commas, or * for everybody
    #[arg(long, value_name = "LIST", default_value = FORWARDED_ALLOW_IPS_DEFAULT)]
    pub forwarded_allow_ips: TrustedProxies,
    /// Log every exchange to this file, or - for stdout
    #[arg(long, value_name = "FILE")]
    pub access_logfile: Option<String>,
    /// In this form: json, combined, or a format with gunicorn's atoms, such as "%(h)s %(r)s %(s)s"
    #[arg(long, value_name = "FORMAT")]
    pub access_logformat: Option<LogForm>,
    /// Longest field line that must be taken; it is the head as a whole that is limited
    #[arg(long = "limit-request-field_size", value_name = "SIZE", hide = true)]
    limit_request_field_size: Option<Size>,
}

impl WsgiOptions {
    /// Makes room in the head for the field line that must be taken.
    pub(super) fn widen(&self, limits: &mut Limits) {
        let wanted = self.limit_request_field_size.map_or(0, Size::in_memory);
        limits.head_bytes_max = limits.head_bytes_max.max(wanted);
    }
}

fn time(text: &str) -> Result<Duration, String> {
    text.parse().map(Span::time)
}
