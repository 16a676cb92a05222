//! The options for Python: which application is served, and how it is run.
//!
//! The names are gunicorn's if the meaning is. The options are only read and checked here; the Python
//! package, which alone can call an application, carries them out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{FalseyValueParser, Resettable};
use clap::{Args, value_parser};

use tidegate::limits::Limits;
use tidegate_program::{
    Extension, FolderOptions, LogPlace, Mount, Options, Others, Size, Span, parse_mount, status_address,
};

use super::access::LogForm;
use super::adapter::TrustedProxies;

/// Most threads for an application. 1,024: far beyond where another one still helps a process that
/// runs one of them at a time.
const THREADS_MAX: i64 = 1024;
/// Most worker processes. 1,024: more are a slip of the finger.
const WORKERS_MAX: i64 = 1024;
/// Threads for an application: enough that one which waits for a database leaves others to answer.
const THREADS_DEFAULT: u16 = 4;
/// Longest time for an answer of the application: as gunicorn.
const TIMEOUT_DEFAULT: &str = "30s";
/// Longest time that a generated answer waits for its client to read, in all, while others need its thread:
/// as long as it may take to be made.
const READER_WAIT_MAX_DEFAULT: &str = TIMEOUT_DEFAULT;
/// Peers whose `X-Forwarded-` fields are believed: a proxy on the same machine, as gunicorn.
const FORWARDED_ALLOW_IPS_DEFAULT: &str = "127.0.0.1,::1";

/// The command line of the Python package.
#[derive(Debug)]
pub struct PythonOptions {
    /// The options of the program.
    pub program: Options,
    /// The options for Python.
    pub wsgi: WsgiOptions,
}

/// The options for a Python application.
#[derive(Args, Debug)]
#[command(next_help_heading = "Python (WSGI)")]
pub struct WsgiOptions {
    /// The WSGI application to serve (PEP 3333)
    ///
    /// MODULE:APP, PACKAGE.MODULE:OBJECT.ATTRIBUTE, "MODULE:create_app()", or MODULE alone, in which
    /// it is named application or app.
    #[arg(value_name = "MODULE:APP", help_heading = Resettable::Reset)]
    pub application: Option<String>,
    /// Folder to serve below a path in place of the application, /static=DIR; may be repeated, or separated by commas
    ///
    /// The options of "tidegate static" hold for these folders (see Files below). They are looked for once the application
    /// was loaded. No thread of the application's has to do with their files.
    #[arg(long = "mount", value_name = "/PATH=DIR", value_delimiter = ',', value_parser = parse_mount)]
    pub mounts: Vec<Mount>,
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
    /// Variable of the environment of the application, NAME=VALUE; may be repeated
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub env: Vec<(String, String)>,
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
    /// Peers whose X-Forwarded- fields are believed: addresses separated by commas, or * for all
    #[arg(long, value_name = "LIST", default_value = FORWARDED_ALLOW_IPS_DEFAULT)]
    pub forwarded_allow_ips: TrustedProxies,
    /// Log every exchange to this file, or - for stdout, or syslog: for the log of the system
    #[arg(long, value_name = "FILE")]
    pub access_logfile: Option<LogPlace>,
    /// Format of that log: json, combined, or a format with gunicorn's atoms, such as "%(h)s %(r)s %(s)s"
    #[arg(long, value_name = "FORMAT")]
    pub access_logformat: Option<LogForm>,
    /// Longest field line that must be taken; it is the head as a whole that is limited
    #[arg(long = "limit-request-field_size", value_name = "SIZE", hide = true)]
    limit_request_field_size: Option<Size>,
    /// The options that only gunicorn has.
    #[command(flatten)]
    gunicorns: GunicornsOptions,
    /// The options of mounted folders.
    #[command(flatten)]
    pub files: FolderOptions,
}

/// Options of gunicorn's that have no meaning here: each is answered with what does the same.
#[derive(Args, Debug)]
struct GunicornsOptions {
    #[arg(long, short, hide = true)]
    config: Option<String>,
    #[arg(long, short = 'k', hide = true)]
    worker_class: Option<String>,
    #[arg(long, hide = true)]
    worker_connections: Option<String>,
    #[arg(long, short = 'D', hide = true)]
    daemon: bool,
    #[arg(long, hide = true)]
    certfile: Option<String>,
    #[arg(long, hide = true)]
    keyfile: Option<String>,
    #[arg(long, hide = true)]
    log_config: Option<String>,
    #[arg(long, hide = true)]
    statsd_host: Option<String>,
    #[arg(long, hide = true)]
    proxy_protocol: bool,
}

impl GunicornsOptions {
    /// Refuses the first of these options that was given, with the way to do without it.
    fn check(&self) -> Result<(), String> {
        let refused = [
            (
                self.config.is_some(),
                "--config: such a file is a program for gunicorn. Here options stand on the command line, and each can be a \
                 variable (TIDEGATE_WORKERS=4), in a file for systemd's EnvironmentFile= or docker's --env-file; what \
                 hooks do belongs into the module of the application",
            ),
            (
                self.worker_class.is_some(),
                "--worker-class: there is one kind, an event loop with --threads for the application; gevent's and asyncio's \
                 loops are others",
            ),
            (self.worker_connections.is_some(), "--worker-connections: that is --connections-max"),
            (self.daemon, "--daemon: systemd, docker or nohup put it into the background"),
            (
                self.certfile.is_some() || self.keyfile.is_some(),
                "--certfile and --keyfile: it speaks no TLS; put nginx before it (see README)",
            ),
            (
                self.log_config.is_some(),
                "--log-config: the server does not log by Python's logging; the application configures its own, and \
                 --log-level, --error-logfile and --log-format are for the server's",
            ),
            (self.statsd_host.is_some(), "--statsd-host: it counts nothing for statsd"),
            (self.proxy_protocol, "--proxy-protocol: have the proxy send X-Forwarded-For instead"),
        ];
        match refused.into_iter().find(|(is_given, _)| *is_given) {
            Some((_, sentence)) => Err(format!("gunicorn's {sentence}")),
            None => Ok(()),
        }
    }
}

fn parse_variable(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("it is NAME=VALUE"),
    }
}

impl Extension for WsgiOptions {
    const ABOUT: &str = "Serves HTTP/1.1: a Python application (WSGI), a folder, or with neither the \
                         built-in welcome application";
    const AFTER_HELP: &str = "\
Sizes: 1000, 64k, 1MiB, 2G (powers of 1024). Times: 30 or 30s, 0.5s, 500ms, 1m, 2h.
Environment: every option is also a variable, TIDEGATE_IDLE_TIMEOUT for instance; PORT is --listen :PORT, \
WEB_CONCURRENCY is --workers. The command line wins, then TIDEGATE_...
--user: sockets are opened and log files made before; --status, --auth, folders and application are opened by that user.
SIGINT (Ctrl-C) and SIGTERM let finish what is being served; a second one stops at once.
Exit status: 0 after a shutdown, 1 for an error of the system, 2 for a wrong command line, 3 if the application cannot \
be loaded.";

    fn settle(&self, others: Others, limits: &mut Limits) -> Result<(), String> {
        // Room in the head for the field line that must be taken.
        let wanted = self.limit_request_field_size.map_or(0, Size::in_memory);
        limits.head_bytes_max = limits.head_bytes_max.max(wanted);
        self.gunicorns.check()?;
        if self.mounts.is_empty()
            && let Some(option) = others.folder_option
        {
            return Err(format!(
                "{option} is about folders: those of --mount, of which there is none, or that of static, behind which it \
                 stands"
            ));
        }
        let paths: BTreeSet<_> = self.mounts.iter().map(|mount| &mount.prefix).collect();
        if paths.len() < self.mounts.len() {
            return Err("--mount names a path twice".to_string());
        }
        let Some(application) = &self.application else {
            return match self.mounts.is_empty() {
                true => Ok(()),
                false => Err("--mount puts folders beside an application, and none is named".to_string()),
            };
        };
        // A command and a Python application are two things to serve.
        if others.has_command {
            return Err(format!("it is either the application {application:?} or a command that is served"));
        }
        if let (Some(status), Some(workers)) = (&others.status, self.workers) {
            status_address(status, workers - 1)?;
        }
        if others.explains {
            return Err(
                "--explain is for folders and the welcome application: of a Python application it tells nothing"
                    .to_string(),
            );
        }
        if others.reactors > 1 {
            return Err(
                "--reactors is not for Python: a process has one, and --workers make more".to_string()
            );
        }
        Ok(())
    }
}

fn time(text: &str) -> Result<Duration, &'static str> {
    text.parse().map(Span::time)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn parse_words(arguments: &[&str]) -> Result<PythonOptions, String> {
        let arguments = ["tidegate"].iter().chain(arguments).map(OsString::from);
        let parsed = tidegate_program::parse_with(arguments, &|_| None);
        parsed.map(|(program, wsgi)| PythonOptions { program, wsgi }).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn application_stands_anywhere_among_the_options() {
        for arguments in [
            ["app:app", "-b", "[::1]:0", "--threads", "1", "--head-timeout", "3"],
            ["-b", "[::1]:0", "app:app", "--threads", "1", "--head-timeout", "3"],
            ["-b", "[::1]:0", "--threads", "1", "--head-timeout", "3", "app:app"],
        ] {
            let options = parse_words(&arguments).unwrap();
            assert_eq!(options.wsgi.application.as_deref(), Some("app:app"));
            assert_eq!(options.wsgi.threads, 1);
            assert_eq!(options.program.limits().head_timeout, Duration::from_secs(3));
            assert_eq!(options.program.addresses(), ["[::1]:0".parse().unwrap()]);
        }
    }

    #[test]
    fn command_is_a_command_with_an_application_beside_it_refused() {
        let options = parse_words(&["static", "x"]).unwrap();
        assert!(options.wsgi.application.is_none() && options.program.has_command());
        let options = parse_words(&[]).unwrap();
        assert!(options.wsgi.application.is_none() && !options.program.has_command());
        assert!(parse_words(&["app:app", "static", "x"]).unwrap_err().contains("either"));
    }

    #[test]
    fn mounts_stand_beside_an_application_with_the_options_of_folders() {
        let words = ["a", "--mount", "/static=x", "--mount=/media=y,/files=z", "--precompressed"];
        let options = parse_words(&words).unwrap().wsgi;
        let paths: Vec<_> = options.mounts.iter().map(|mount| &*mount.prefix).collect();
        assert_eq!(paths, ["/static", "/media", "/files"]);
        assert!(options.files.precompressed);
        for (words, reason) in [
            (&["--mount", "/static=x"][..], "none is named"),
            (&["a", "--precompressed"], "--precompressed is about folders"),
            (&["--precompressed", "static", "x"], "behind which it stands"),
            (&["a", "--mount", "/static=x,/static/=y"], "twice"),
            (&["a", "--mount", "/=x"], "--mount"),
        ] {
            let refusal = parse_words(words).unwrap_err();
            assert!(refusal.contains(reason), "{words:?}: {refusal}");
        }
        assert!(parse_words(&["static", "x", "--precompressed"]).is_ok());
    }

    #[test]
    fn options_of_python_are_read_and_have_defaults() {
        let options = parse_words(&["a"]).unwrap();
        let default = &options.wsgi;
        assert_eq!((default.workers, default.threads, default.max_requests), (None, 4, 0));
        assert_eq!(default.timeout, Duration::from_secs(30));
        assert_eq!(default.forwarded_allow_ips, "127.0.0.1,::1".parse().unwrap());
        assert!(!default.reload && !default.preload && default.pythonpath.is_empty());
        let words = ["a", "-w2", "-t0", "--max-requests=9", "--max-requests-jitter=3", "--chdir=/d"];
        let more = ["--pythonpath=/x,/y", "--pythonpath=/z", "--pid=p", "--reload", "--preload"];
        let rest = ["--reload-extra-file=e", "--forwarded-allow-ips=*", "--access-logfile=-"];
        let options = parse_words(&[&words[..], &more, &rest, &["--access-logformat=%(h)s"]].concat());
        let options = options.unwrap();
        let given = &options.wsgi;
        assert_eq!((given.workers, given.timeout), (Some(2), Duration::ZERO));
        assert_eq!((given.max_requests, given.max_requests_jitter), (9, 3));
        assert_eq!(given.pythonpath, ["/x", "/y", "/z"].map(PathBuf::from));
        assert_eq!((given.chdir.clone(), given.pid.clone()), (Some("/d".into()), Some("p".into())));
        assert!(given.reload && given.preload);
        assert_eq!(given.reload_extra_file, [PathBuf::from("e")]);
        assert_eq!(given.access_logfile, Some(LogPlace::Stream));
        assert!(given.access_logformat.is_some());
    }

    #[test]
    fn options_of_gunicorn_without_a_meaning_are_refused_with_what_does_the_same() {
        for (words, other) in [
            (&["-c", "gunicorn.conf.py"][..], "TIDEGATE_WORKERS"),
            (&["-k", "gevent"], "--threads"),
            (&["--daemon"], "systemd"),
            (&["--certfile", "x"], "nginx"),
            (&["--worker-connections", "9"], "--connections-max"),
        ] {
            let refusal = parse_words(&[&["a"], words].concat()).unwrap_err();
            assert!(refusal.contains("gunicorn's") && refusal.contains(other), "{words:?}: {refusal}");
        }
        assert!(parse_words(&["a", "--env", "=x"]).is_err());
        let options = parse_words(&["a", "--log-level", "warning", "-e", "A=b=c"]).unwrap();
        assert_eq!(options.wsgi.env, [("A".to_string(), "b=c".to_string())]);
    }

    #[test]
    fn numbers_of_threads_and_workers_have_bounds() {
        for (option, accepted, refused) in [("--threads", "1024", "1025"), ("--workers", "1024", "1025")] {
            assert!(parse_words(&["a", option, accepted]).is_ok());
            for bad in ["0", refused, "many"] {
                assert!(parse_words(&["a", option, bad]).unwrap_err().contains(option), "{bad}");
            }
        }
    }

    #[test]
    fn long_field_line_makes_room_in_the_head_and_takes_none() {
        let head_of = |size| {
            let options = parse_words(&["a", "--limit-request-field_size", size]).unwrap();
            options.program.limits().head_bytes_max
        };
        assert_eq!(head_of("8190"), Limits::default().head_bytes_max);
        assert_eq!(head_of("64k"), 65_536);
    }
}
