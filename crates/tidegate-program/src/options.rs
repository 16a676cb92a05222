//! The command line: its grammar, and the checked options that it amounts to.
//!
//! Every option stands before or after the command. [`parse`] reads and checks all of it; nothing is
//! done here.

use std::ffi::OsString;
use std::fmt::{self, Debug};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{Resettable, StyledStr};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use log::LevelFilter;
use rustix::fs::{Mode, RawMode};

use tidegate::ListenAddress;
use tidegate::limits::{InvalidLimit, Limits};
use tidegate::server::InvalidAddress;
use tidegate_bench::{BenchOptions, Size, Span};

use super::EXIT_USAGE;
use super::console::{self, LogForm};
use super::environment::{self, Lookup};
use super::explain::ExplainOptions;
use super::folder::{FILES, FolderOptions};
use super::log_place::LogPlace;
use super::precompress::PrecompressOptions;
use super::privileges::Identity;

/// The hint where to find the package that serves Python applications.
const PYTHON_PACKAGE: &str =
    "the tidegate of the Python package: \"pip install .\" in a copy of its source installs it";

/// Shortest limit of a request line, in bytes. 64: `GET / HTTP/1.1` is 14, and any link of a page is longer.
const REQUEST_LINE_LEAST: usize = 64;
/// Shortest limit of a head, in bytes. 256: with less no browser would be understood.
const HEAD_LEAST: usize = 256;

/// Most event loops. 1,024: more processors than a machine has.
const REACTORS_MAX: usize = 1024;

/// The options of the program, checked: they make sense together.
#[derive(Debug)]
pub struct Options {
    command: Option<Command>,
    settings: ServingOptions,
    addresses: Vec<ListenAddress>,
    limits: Limits,
}

/// The further options of a program that contains this one.
pub trait Extension: Args + Debug {
    /// The description of the program in its help.
    const ABOUT: &str;
    /// A remark at the end of the help that concerns all options.
    const AFTER_HELP: &str;

    /// Checks these options beside the others, and changes the limits as they say.
    ///
    /// # Errors
    /// Returns a sentence about the option that makes no sense.
    fn settle(&self, others: Others, limits: &mut Limits) -> Result<(), String>;
}

/// The rest of a command line, for an [`Extension`].
#[derive(Clone, Debug)]
pub struct Others {
    /// Whether the command line has a command: something to serve, or to measure.
    pub has_command: bool,
    /// The address on which the running server is to be shown; none if it is not.
    pub status: Option<ListenAddress>,
    /// Whether connections are to be explained.
    pub explains: bool,
    /// An option of folders that stands on the command line, and not behind the command that serves one.
    pub folder_option: Option<String>,
    /// Event loops.
    pub reactors: usize,
}

/// The program without an extension.
#[derive(Args, Debug)]
pub struct NoExtension {}

impl Extension for NoExtension {
    const ABOUT: &str = "Serves HTTP/1.1: a folder, or without a command the built-in welcome application";
    const AFTER_HELP: &str = AFTER_HELP;

    fn settle(&self, _: Others, _: &mut Limits) -> Result<(), String> {
        Ok(())
    }
}

/// Reads a command line, and the environment for options that it leaves out. The first argument is the
/// program's name, and not looked at.
///
/// # Errors
/// Returns whatever leaves nothing to run: a wrong command line, but also `--help` and `--version`.
pub fn parse<E: Extension>(arguments: impl IntoIterator<Item = OsString>) -> Result<(Options, E), Refusal> {
    let parsed = parse_with(arguments, &environment::variable)?;
    environment::warn_of_misspelt(&command::<E>(&|_| None));
    Ok(parsed)
}

/// Reads a command line as [`parse`] does, with another source of variables.
///
/// # Errors
/// Returns the same as [`parse`].
pub fn parse_with<E: Extension>(
    arguments: impl IntoIterator<Item = OsString>,
    variables: Lookup<'_>,
) -> Result<(Options, E), Refusal> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let mut command = command::<E>(variables);
    let matches = match read(&mut command, &arguments) {
        Err(error) => {
            // Without the variables it makes sense: so it is one of them that is wrong.
            let is_of_variable = read(&mut self::command::<E>(&|_| None), &arguments).is_ok();
            let error = if is_of_variable { environment::blame(&command, error) } else { error };
            return Err(Refusal(with_hint(error).format(&mut command)));
        }
        Ok(matches) => matches,
    };
    let extension = E::from_arg_matches(&matches);
    let extension = extension.map_err(|error| Refusal(error.format(&mut command)))?;
    let settle = &mut |others, limits: &mut Limits| extension.settle(others, limits);
    let options = Options::settled(&mut command, &matches, variables, settle)?;
    Ok((options, extension))
}

/// The command line: what to serve and where, what an extension has beside, and how to serve it.
fn command<E: Extension>(variables: Lookup<'_>) -> clap::Command {
    let command = ServingOptions::augment_args(E::augment_args(Arguments::command()));
    // In the short help, limits would hide the rest, and so would what folders beside an application can have.
    let command = command.mut_args(|arg| match arg.get_help_heading() {
        Some(LIMITS | FILES) => arg.hide_short_help(true),
        Some(_) | None => arg,
    });
    let mut command =
        environment::with_variables(command.about(E::ABOUT).after_help(E::AFTER_HELP), variables);
    hide_from_those_without_serving(&mut command);
    command
}

/// Matches what was said with what can be. The command `static` may be left out: `tidegate DIR` serves the folder.
fn read(command: &mut clap::Command, arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let error = match command.try_get_matches_from_mut(arguments) {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument) => {
            error
        }
        matches => return matches,
    };
    let at = arguments.len().min(1);
    let spelt_out = [&arguments[..at], &[OsString::from(STATIC)], &arguments[at..]].concat();
    let matches = command.try_get_matches_from_mut(spelt_out);
    matches.ok().filter(|matches| folder_of(matches).is_some_and(|folder| folder.is_dir())).ok_or(error)
}

/// The folder that is to be served.
fn folder_of(matches: &ArgMatches) -> Option<&PathBuf> {
    matches.subcommand_matches(STATIC)?.get_one("folder")
}

/// Refuses an option, with the usage of the command that it was given to.
fn refuse(command: &mut clap::Command, matches: &ArgMatches, reason: String) -> Refusal {
    let reason = environment::named_as_variable(command, matches, reason);
    let named = matches.subcommand_name().and_then(|name| command.find_subcommand_mut(name));
    if let Some(named) = named {
        return Refusal(named.error(ErrorKind::ValueValidation, reason));
    }
    Refusal(command.error(ErrorKind::ValueValidation, reason))
}

/// The heading of the limits in the help.
const LIMITS: &str = "Limits";
/// The name of the command that serves a folder.
pub(super) const STATIC: &str = "static";
/// The names of the commands that serve nothing.
const WITHOUT_SERVING: [&str; 3] = ["bench", "explain", "precompress"];
/// The only option of serving that these commands accept.
const OF_BOTH: &str = "log_level";

/// Hides the options of serving, which stand before or after every command, from the help of those that
/// serve nothing.
fn hide_from_those_without_serving(command: &mut clap::Command) {
    // Until it is built, a command has none of those options.
    command.build();
    let of_all = command.get_arguments().filter(|arg| arg.is_global_set());
    let of_all: Vec<_> = of_all.map(|arg| arg.get_id().clone()).collect();
    for name in WITHOUT_SERVING {
        let Some(command) = command.find_subcommand_mut(name) else { continue };
        let shown = std::mem::take(command);
        *command = shown.mut_args(|arg| if of_all.contains(arg.get_id()) { arg.hide(true) } else { arg });
    }
}

/// Refuses options of serving that were given to a command that serves nothing.
fn options_of_serving(command: &clap::Command, matches: &ArgMatches) -> Result<(), String> {
    let is_said = |id: &str| {
        let is_here = matches.try_contains_id(id).is_ok();
        is_here && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let mut said =
        command.get_arguments().filter(|arg| *arg.get_id() != OF_BOTH && is_said(arg.get_id().as_str()));
    match said.next().map(|arg| arg.get_long().unwrap_or(arg.get_id().as_str())) {
        Some(name) => {
            let command = matches.subcommand_name().unwrap_or_default();
            let serves = if command == "explain" { "only itself" } else { "nothing" };
            Err(format!("--{name} is about serving, and {command} serves {serves}"))
        }
        None => Ok(()),
    }
}

/// Finds an option of folders that was given on this side of all commands.
fn folder_option(command: &clap::Command, matches: &ArgMatches) -> Option<String> {
    let is_said = |arg: &&clap::Arg| {
        let source = matches.value_source(arg.get_id().as_str());
        arg.get_help_heading() == Some(FILES) && source == Some(ValueSource::CommandLine)
    };
    command.get_arguments().find(is_said).and_then(|arg| arg.get_long()).map(|name| format!("--{name}"))
}

/// Adds a hint where Python applications are served, if the command line may name one, or that there is no such folder.
fn with_hint(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::InvalidSubcommand {
        let word = error.get(ContextKind::InvalidSubcommand).map(ToString::to_string).unwrap_or_default();
        let hint = match word.contains(std::path::MAIN_SEPARATOR) {
            true => "there is no folder of this name".to_string(),
            false => format!("a Python application is served by {PYTHON_PACKAGE}"),
        };
        let mut hint = vec![StyledStr::from(hint)];
        if let Some(ContextValue::Strings(similar)) = error.get(ContextKind::SuggestedSubcommand) {
            hint.clear();
            hint.extend(
                similar.first().map(|_| StyledStr::from(format!("there is no folder {word} either"))),
            );
        }
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(hint));
    }
    error
}

impl Options {
    /// Makes the options of these matches, after an extension has adjusted the limits.
    fn settled(
        command: &mut clap::Command,
        matches: &ArgMatches,
        variables: Lookup<'_>,
        settle: &mut dyn FnMut(Others, &mut Limits) -> Result<(), String>,
    ) -> Result<Options, Refusal> {
        let said = Arguments::from_arg_matches(matches)
            .and_then(|arguments| Ok((arguments, ServingOptions::from_arg_matches(matches)?)));
        let (arguments, settings) = said.map_err(|error| Refusal(error.format(command)))?;
        let of_serving = options_of_serving(command, matches);
        let folder_option = folder_option(command, matches);
        let mut refuse = |reason| refuse(command, matches, reason);
        match &arguments.command {
            Some(Command::Bench(options)) => {
                of_serving.map_err(&mut refuse)?;
                tidegate_bench::check(options).map_err(&mut refuse)?;
            }
            Some(Command::Explain(options)) => {
                of_serving.map_err(&mut refuse)?;
                options.check().map_err(&mut refuse)?;
            }
            Some(Command::Precompress { .. }) => of_serving.map_err(&mut refuse)?,
            Some(Command::Static { .. }) | None => {}
        }
        let mut limits = settings.limits.to_limits().map_err(&mut refuse)?;
        let has_command = arguments.command.is_some();
        let status = settings.status.clone();
        let others = Others {
            has_command,
            status,
            explains: settings.explain.is_some(),
            folder_option,
            reactors: settings.reactors,
        };
        settle(others, &mut limits).map_err(&mut refuse)?;
        let addresses = arguments.addresses(variables).map_err(&mut refuse)?;
        let mut sockets = addresses.iter().chain(&settings.status);
        let has_unix_socket = sockets.any(|address| matches!(address, ListenAddress::Unix(_)));
        if (settings.socket_mode.is_some() || settings.socket_group.is_some()) && !has_unix_socket {
            let reason = "--socket-mode and --socket-group are about unix sockets, and none is listened on";
            return Err(refuse(reason.to_string()));
        }
        if settings.explain.is_some() && settings.reactors > 1 {
            return Err(refuse("--explain is for one event loop: leave --reactors out".to_string()));
        }
        if settings.backlog.is_some() && settings.reactors > 1 {
            let reason = "--backlog is for one event loop: of several, each has a queue of its own, of 4096";
            return Err(refuse(reason.to_string()));
        }
        Ok(Options { command: arguments.command, settings, addresses, limits })
    }

    /// The command; none for the welcome application.
    pub(super) fn command(&self) -> Option<&Command> {
        self.command.as_ref()
    }

    /// Whether a command was given, rather than an application or nothing.
    pub fn has_command(&self) -> bool {
        self.command.is_some()
    }

    /// The number of event loops to run.
    pub(super) fn reactors(&self) -> usize {
        self.settings.reactors
    }

    /// The format of the access log. Who names a file wants one.
    pub(super) fn access_log(&self) -> AccessLogFormat {
        match self.settings.access_log {
            AccessLogFormat::Off if self.settings.access_log_file.is_some() => AccessLogFormat::Combined,
            format => format,
        }
    }

    /// The place of the access log; none for stdout.
    pub(super) fn access_log_place(&self) -> Option<&LogPlace> {
        self.settings.access_log_file.as_ref()
    }

    /// The permissions and the group that unix sockets get.
    pub(super) fn sockets(&self) -> (Option<u32>, Option<&str>) {
        (self.settings.socket_mode, self.settings.socket_group.as_deref())
    }

    /// The address on which the running server is shown; none if it is not.
    pub(super) fn status(&self) -> Option<&ListenAddress> {
        self.settings.status.as_ref()
    }

    /// The number of connections that are explained; none if none are.
    pub(super) fn explain(&self) -> Option<u64> {
        self.settings.explain
    }

    /// The addresses to listen on: one at least.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// The limits as configured, whatever the system allows.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets the umask, and sends the log to its place, for the whole process; a second call changes nothing. Where nothing is
    /// to be served, the places of logs are only checked: who asked reads the verdict on stderr.
    ///
    /// # Errors
    /// Returns an error with a ready sentence when the log cannot be written.
    pub fn prepare_process(&self) -> io::Result<()> {
        if let Some(umask) = self.settings.umask {
            rustix::process::umask(Mode::from_raw_mode(umask as RawMode));
        }
        let (level, form) = (self.settings.log_level.into(), self.settings.log_format);
        if !self.only_checks() {
            return console::start_log(level, form, &self.settings.error_logfile);
        }
        console::start_log(level, form, &LogPlace::Stream)?;
        console::check_place(&self.settings.error_logfile)?;
        self.access_log_place().map_or(Ok(()), console::check_place)
    }

    /// Opens the file of the log again, after it was moved away.
    pub fn reopen_log(&self) {
        super::signals::reopen(&self.settings.error_logfile);
    }

    /// The place of the log, if it is a file: to be opened again after that was moved away.
    pub(super) fn log_file(&self) -> Option<LogPlace> {
        Some(self.settings.error_logfile.clone()).filter(|place| matches!(place, LogPlace::File(_)))
    }

    /// The path of the socket of syslog, if the log is sent there.
    pub fn syslog(&self) -> Option<&Path> {
        match &self.settings.error_logfile {
            LogPlace::Syslog(socket) if !self.only_checks() => Some(socket),
            LogPlace::Stream | LogPlace::File(_) | LogPlace::Syslog(_) => None,
        }
    }

    /// The user and the group that the process is to become, if any.
    ///
    /// # Errors
    /// Returns a sentence when there are none of these names.
    pub(super) fn identity(&self) -> Result<Option<Identity>, String> {
        Identity::find(self.settings.user.as_deref(), self.settings.group.as_deref())
    }

    /// Becomes the user and the group that were named, for good. To be called when all that takes an administrator is open.
    ///
    /// # Errors
    /// Returns a sentence when there are none of these names, or the system refuses.
    pub fn become_user(&self) -> Result<(), String> {
        self.identity()?.map_or(Ok(()), |identity| identity.take_on())
    }

    /// Whether nothing is to be served: only what is wrong is to be found out.
    pub fn only_checks(&self) -> bool {
        self.settings.check_config
    }

    /// The longest queue of clients that wait to be accepted, if it was given.
    pub(super) fn backlog(&self) -> Option<i32> {
        self.settings.backlog
    }
}

/// A text for the person at the command line, printed instead of running: an error, or the help or version
/// asked for.
#[derive(Debug)]
pub struct Refusal(clap::Error);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Refusal {
    /// Prints an error on stderr, or help and version on stdout, and returns the exit status.
    pub fn print(&self) -> u8 {
        // Nobody may be left to read it.
        let _ = self.0.print();
        u8::try_from(self.0.exit_code()).unwrap_or(EXIT_USAGE)
    }
}

/// A remark at the end of the help that concerns all options.
const AFTER_HELP: &str = "\
Examples:
  tidegate public                         serve the folder public on http://127.0.0.1:8000/
  tidegate public -l :8080                serve it to other machines
  tidegate bench http://127.0.0.1:8000/   measure it
  tidegate explain                        see what an event loop does for one client

Sizes: 1000, 64k, 1MiB, 2G (powers of 1024). Times: 30 or 30s, 0.5s, 500ms, 1m, 2h.
Environment: every option is also a variable, TIDEGATE_IDLE_TIMEOUT for instance; PORT is --listen :PORT. \
The command line wins, then TIDEGATE_...
SIGINT (Ctrl-C) and SIGTERM let finish what is being served; a second one stops at once. SIGHUP opens folder and \
logs again, SIGUSR1 the logs.
Exit status: 0 after a shutdown, 1 for an error of the system, 2 for a wrong command line.";

/// An event-loop HTTP/1.1 server.
#[derive(Debug, Parser)]
#[command(
    // Also where a module of Python runs it, whose name is another.
    name = "tidegate",
    bin_name = "tidegate",
    version
)]
struct Arguments {
    /// The command to run.
    #[command(subcommand)]
    command: Option<Command>,
    /// The addresses given before the command.
    #[command(flatten)]
    addresses: Addresses,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the files of a folder
    ///
    /// GET and HEAD, with index.html, listings, ranges and conditional requests. Nothing leads out
    /// of the folder; names with a leading dot are hidden, but for /.well-known. The folder is opened at the
    /// start: another one that takes its name later is served after SIGHUP. The command can be left out: tidegate DIR.
    Static {
        /// The folder
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// The addresses given after the command.
        #[command(flatten)]
        addresses: Addresses,
        /// The options of a folder.
        #[command(flatten)]
        options: Box<FolderOptions>,
    },
    /// Measure a server: requests a second, latencies, errors, and what it costs the server
    ///
    /// Any server that speaks HTTP/1.1. Its CPU time and memory are reported if its process is on this
    /// machine (Linux). Ctrl-C ends early and prints what was measured so far. The exit status is 1 if the
    /// server is gone at the end.
    Bench(Box<BenchOptions>),
    /// Tell what the event loop does for one client, system call by system call: for those who want to understand it
    ///
    /// A server and a client are started in one process, on a free port of this machine, and end by themselves. The
    /// story says of each system call what it was asked and what came of it, and between them in which state the connection is,
    /// what it waits for, and until when. --explain of a server tells the same of its first client.
    Explain(ExplainOptions),
    /// Make the codings that static --precompressed sends: app.js.gz beside app.js, and .br and .zst where they are built in
    ///
    /// Files that are text and have 512 bytes or more are coded, but for hidden ones. Siblings that are up to date stay as they are.
    Precompress {
        /// The folder
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// The options of the command.
        #[command(flatten)]
        options: PrecompressOptions,
    },
}

/// The option for addresses. It is not global like the others: of a global option clap keeps one side of the
/// command and drops the other, and no address must be lost.
#[derive(Args, Debug)]
pub(super) struct Addresses {
    /// Where to listen; may be repeated [default: 127.0.0.1:8000]
    ///
    /// HOST:PORT, [V6-ADDRESS]:PORT, :PORT for all addresses, unix:PATH, or fd://3 for a listening
    /// socket that the program was started with. Port 0 takes a free one.
    #[arg(long, short, visible_alias = "bind", visible_short_alias = 'b', value_name = "ADDR")]
    #[arg(value_parser = ListenAddress::from_str)]
    listen: Vec<ListenAddress>,
}

impl Arguments {
    /// Returns the addresses to listen on: those given on either side of the command, else in the
    /// environment, else the default.
    fn addresses(&self, variables: Lookup<'_>) -> Result<Vec<ListenAddress>, String> {
        let mut addresses = self.addresses.listen.clone();
        if let Some(Command::Static { addresses: after, .. }) = &self.command {
            addresses.extend_from_slice(&after.listen);
        }
        if addresses.is_empty() {
            addresses = environment::addresses(variables)?;
        }
        if addresses.is_empty() {
            addresses.push(ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 8000))));
        }
        Ok(addresses)
    }
}

/// The options of serving, whatever is served.
#[derive(Args, Debug)]
// The heading of those before does not hold for these.
#[command(next_help_heading = Resettable::Reset)]
struct ServingOptions {
    /// Least severe messages to log on stderr
    #[arg(long, value_name = "LEVEL", global = true, default_value = "warn")]
    log_level: LogLevel,

    /// Event loops, on a thread each: a number, or auto for one a processor
    #[arg(long, value_name = "COUNT", global = true, default_value = "1", value_parser = parse_reactors)]
    reactors: usize,

    /// Log every exchange, on stdout or in a file
    ///
    /// Off by default: a server in the background should be quiet. A reader of stdout that stalls costs
    /// lines, whose number is logged when it reads again; nobody waits for it.
    #[arg(long, value_name = "FORMAT", global = true, default_value = "off")]
    access_log: AccessLogFormat,
    /// File for the access log, in the format combined unless --access-log says json; SIGUSR1 and SIGHUP open it again
    ///
    /// With syslog: it is sent to the log of the system, by /dev/log or the socket of another path (syslog:PATH).
    #[arg(long, value_name = "FILE|syslog:", global = true)]
    access_log_file: Option<LogPlace>,

    /// File for the log and all else that is said on stderr, or syslog: for the log of the system, as above
    #[arg(long, visible_alias = "log-file", value_name = "FILE|syslog:", global = true, default_value = "-")]
    error_logfile: LogPlace,
    /// Form of the log's lines on stderr or in a file
    #[arg(long, value_name = "FORM", global = true, default_value = "auto")]
    log_format: LogForm,

    /// Show the running server on an address of its own: live view, /metrics, /health, /connections.json
    ///
    /// For this machine only: 127.0.0.1:PORT, [::1]:PORT, or unix:PATH. Off by default, and costs nothing then. Of several
    /// --workers each has one: the first this address, the others the ports after it, or PATH.2, PATH.3 and so on.
    #[arg(long, value_name = "ADDR", global = true, value_parser = parse_status)]
    status: Option<ListenAddress>,

    /// Tell on stdout what the event loop does for the first connection, or for as many as are said: each system call with
    /// its bytes, and the states between them
    ///
    /// Values of fields and parameters are not shown whose names contain authorization, cookie, apikey, jwt, assertion,
    /// signature, credential, secret, token, passw or session, nor of parameters with the names key, sig, sid, code, pwd, pass
    /// and auth: in targets, fields, forms and JSON. The beginning of everything else is. Later connections are served as ever.
    /// tidegate explain tells of a client of its own.
    #[arg(long, value_name = "COUNT", global = true, num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    explain: Option<u64>,

    /// Permissions of unix sockets, 660 for instance [default: what the umask leaves]
    #[arg(long, value_name = "MODE", global = true, value_parser = parse_mode)]
    socket_mode: Option<u32>,
    /// Group of unix sockets: a name of /etc/group, or a number
    #[arg(long, value_name = "GROUP", global = true)]
    socket_group: Option<String>,
    /// Longest queue of clients that wait to be accepted [default: 4096; the system may have a lower limit]
    #[arg(long, value_name = "COUNT", global = true, value_parser = clap::value_parser!(i32).range(1..))]
    backlog: Option<i32>,

    /// Become this user, by name or number, once sockets and logs are open; only root can
    #[arg(long, short, value_name = "USER", global = true)]
    user: Option<String>,
    /// Become this group instead of the user's own
    #[arg(long, short, value_name = "GROUP", global = true)]
    group: Option<String>,
    /// Permissions that new files and sockets do not get, 027 for instance [default: as the program was started with]
    #[arg(long, value_name = "MODE", global = true, value_parser = parse_mode)]
    umask: Option<u32>,
    /// Check options and files, and serve nothing; the exit status is 0 if all is well
    #[arg(long, global = true)]
    check_config: bool,

    /// The limits.
    #[command(flatten)]
    limits: LimitOptions,
}

fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "three octal digits, such as 660".to_string())
}

fn parse_status(text: &str) -> Result<ListenAddress, String> {
    let address = text.parse().map_err(|invalid: InvalidAddress| invalid.to_string())?;
    tidegate_status::check_address(&address).map(|()| address)
}

fn parse_reactors(text: &str) -> Result<usize, String> {
    if text == "auto" {
        return Ok(std::thread::available_parallelism().map_or(1, usize::from));
    }
    let count = text.parse().ok().filter(|count| (1..=REACTORS_MAX).contains(count));
    count.ok_or_else(|| format!("1 to {REACTORS_MAX}, or auto"))
}

/// The least severe messages that are logged.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogLevel {
    /// Nothing
    Off,
    /// Failures of the application
    #[value(alias = "critical")]
    Error,
    /// Also what an operator can mend
    #[value(alias = "warning")]
    Warn,
    /// Also what the server does as a whole
    Info,
    /// Also each connection
    Debug,
    /// Also each turn of a connection
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> LevelFilter {
        match level {
            LogLevel::Off => LevelFilter::Off,
            LogLevel::Error => LevelFilter::Error,
            LogLevel::Warn => LevelFilter::Warn,
            LogLevel::Info => LevelFilter::Info,
            LogLevel::Debug => LevelFilter::Debug,
            LogLevel::Trace => LevelFilter::Trace,
        }
    }
}

/// The format of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum AccessLogFormat {
    /// Not at all
    Off,
    /// Combined Log Format, as Apache and nginx write it
    Combined,
    /// One JSON object a line
    Json,
}

/// One option for each field of [`Limits`], in the same order.
#[derive(Args, Debug)]
#[command(next_help_heading = LIMITS)]
struct LimitOptions {
    /// Longest request line; beyond it 414
    #[arg(long, visible_alias = "limit-request-line", value_name = "SIZE", global = true, default_value = size(|l| l.request_line_bytes_max as u64))]
    request_line_max: Size,
    /// Longest head, request line and fields together; beyond it 431
    #[arg(long, value_name = "SIZE", global = true, default_value = size(|l| l.head_bytes_max as u64))]
    head_max: Size,
    /// Most field lines in a head, at most 128; beyond it 431
    #[arg(long, visible_alias = "limit-request-fields", value_name = "COUNT", global = true, default_value = count(|l| l.fields_max))]
    fields_max: usize,
    /// Longest request content; beyond it 413
    #[arg(long, value_name = "SIZE", global = true, default_value = size(|l| l.body_bytes_max))]
    body_max: Size,
    /// Content of a request kept in memory while that is ample; beyond it in a temporary file
    #[arg(long, value_name = "SIZE", global = true, default_value = size(|l| l.body_memory_bytes_max as u64))]
    body_memory_max: Size,
    /// Request content in temporary files, for all connections together; beyond it 503 [default: half of what
    /// is free in their folder, $TMPDIR or /tmp, shared by all --workers]
    #[arg(long, value_name = "SIZE", global = true)]
    spool_max: Option<Size>,
    /// Connections at a time; beyond it those without a request make room, or new ones wait
    #[arg(long, value_name = "COUNT", global = true, default_value = count(|l| l.connections_max))]
    connections_max: usize,
    /// Bytes held for all connections together; near it, content goes to temporary files
    #[arg(long, value_name = "SIZE", global = true, default_value = size(|l| l.memory_bytes_max as u64))]
    memory_max: Size,
    /// Output owed to a client; beyond it no more is produced for it until it reads
    #[arg(long, value_name = "SIZE", global = true, default_value = size(|l| l.output_bytes_high as u64))]
    output_max: Size,
    /// Longest time for a request's head; beyond it 408
    #[arg(long, value_name = "TIME", global = true, default_value = time(|l| l.head_timeout))]
    head_timeout: Span,
    /// Longest time without a byte of request content; beyond it 408
    #[arg(long, value_name = "TIME", global = true, default_value = time(|l| l.body_timeout))]
    body_timeout: Span,
    /// Least rate of request content, in bytes a second, 0 for any; a client that stays behind it for
    /// --body-timeout gets 408
    ///
    /// Earlier speed makes up for three such timeouts of slowness at most.
    #[arg(long, value_name = "SIZE", global = true, default_value = size(|l| l.body_rate_min.into()))]
    body_rate_min: Size,
    /// Longest time between two requests of a connection; then it is closed
    #[arg(long, visible_alias = "keep-alive", value_name = "TIME", global = true, default_value = time(|l| l.idle_timeout))]
    idle_timeout: Span,
    /// Longest time without the client reading what it is owed; then it is cut off
    #[arg(long, value_name = "TIME", global = true, default_value = time(|l| l.write_timeout))]
    write_timeout: Span,
    /// Least rate at which a client reads what it is owed, in bytes a second, 0 for any; a client that stays
    /// behind it for --write-timeout is cut off
    ///
    /// Earlier speed makes up for three such timeouts of slowness at most.
    #[arg(long, value_name = "SIZE", global = true, default_value = size(|l| l.output_rate_min.into()))]
    output_rate_min: Size,
    /// How long a refused client is still listened to, so that it gets its error response
    #[arg(long, value_name = "TIME", global = true, default_value = time(|l| l.linger_timeout))]
    linger_timeout: Span,
    /// Longest time that a client waits while the application takes no request; beyond it 503
    #[arg(long, value_name = "TIME", global = true, default_value = time(|l| l.gateway_timeout))]
    gateway_timeout: Span,
    /// How long a shutdown waits for what is being served; then it is cut off
    #[arg(long, visible_alias = "graceful-timeout", value_name = "TIME", global = true, default_value = time(|l| l.drain_timeout))]
    drain_timeout: Span,
}

/// Returns the text of a default as an operator would write it. (clap prints a value with code of its own,
/// which would make the program larger.)
fn size(limit: fn(&Limits) -> u64) -> String {
    Size::from_bytes(limit(&Limits::default())).to_string()
}

fn time(limit: fn(&Limits) -> Duration) -> String {
    Span::from_time(limit(&Limits::default())).to_string()
}

fn count(limit: fn(&Limits) -> usize) -> String {
    limit(&Limits::default()).to_string()
}

/// Renames a field to its option, `fields_max` → `--fields-max`: limits speak of fields, an operator of
/// options.
fn in_words_of_the_command_line(invalid: InvalidLimit) -> String {
    let option = invalid.limit().replace("_bytes", "").replace("output_high", "output_max").replace('_', "-");
    format!("--{option} {}", invalid.reason())
}

impl LimitOptions {
    /// The limits of these options.
    ///
    /// # Errors
    /// Returns a sentence about the limit that makes no sense.
    fn to_limits(&self) -> Result<Limits, String> {
        let rate = u32::try_from(self.body_rate_min.bytes());
        let output_rate = u32::try_from(self.output_rate_min.bytes());
        let limits = Limits {
            request_line_bytes_max: self.request_line_max.in_memory(),
            head_bytes_max: self.head_max.in_memory(),
            fields_max: self.fields_max,
            body_bytes_max: self.body_max.bytes(),
            body_memory_bytes_max: self.body_memory_max.in_memory(),
            spool_bytes_max: self.spool_max.map(Size::bytes),
            connections_max: self.connections_max,
            memory_bytes_max: self.memory_max.in_memory(),
            output_bytes_high: self.output_max.in_memory(),
            head_timeout: self.head_timeout.time(),
            body_timeout: self.body_timeout.time(),
            body_rate_min: rate.map_err(|_| "--body-rate-min can be at most 4G-1".to_string())?,
            idle_timeout: self.idle_timeout.time(),
            write_timeout: self.write_timeout.time(),
            output_rate_min: output_rate.map_err(|_| "--output-rate-min can be at most 4G-1".to_string())?,
            linger_timeout: self.linger_timeout.time(),
            gateway_timeout: self.gateway_timeout.time(),
            // No application of the program takes over a connection.
            tunnel_timeout: Limits::default().tunnel_timeout,
            drain_timeout: self.drain_timeout.time(),
        };
        limits.check().map_err(in_words_of_the_command_line)?;
        for (option, bytes, least) in [
            ("--request-line-max", limits.request_line_bytes_max, REQUEST_LINE_LEAST),
            ("--head-max", limits.head_bytes_max, HEAD_LEAST),
        ] {
            if bytes < least {
                return Err(format!("{option} must be at least {least}: no browser asks with less"));
            }
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(arguments: &[&str]) -> Result<Options, String> {
        let arguments = ["tidegate"].iter().chain(arguments).map(OsString::from);
        let parsed = parse_with::<NoExtension>(arguments, &|_| None);
        parsed.map(|(options, _)| options).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let options = parse_words(&[]).unwrap();
        assert_eq!(options.limits(), &Limits::default());
        assert_eq!(options.addresses(), ["127.0.0.1:8000".parse().unwrap()]);
    }

    #[test]
    fn options_stand_before_or_after_the_command() {
        for arguments in [
            ["--head-timeout", "3s", "--listen", "[::1]:0", "static", "x"],
            ["static", "x", "--head-timeout", "3s", "--listen", "[::1]:0"],
            ["--head-timeout", "3", "static", "-b", "[::1]:0", "x"],
            ["--bind", "[::1]:0", "static", "--head-timeout", "3", "x"],
        ] {
            let options = parse_words(&arguments).unwrap();
            let Some(Command::Static { folder, .. }) = options.command() else { panic!("{options:?}") };
            assert_eq!(folder.to_str(), Some("x"));
            assert_eq!(options.limits().head_timeout, Duration::from_secs(3));
            assert_eq!(options.addresses(), ["[::1]:0".parse().unwrap()]);
        }
    }

    #[test]
    fn addresses_on_both_sides_of_the_command_all_count() {
        let options = parse_words(&["-l", "[::1]:1", "static", "x", "-l", "[::1]:2"]).unwrap();
        assert_eq!(options.addresses().len(), 2);
    }

    #[test]
    fn names_that_other_servers_have_for_limits_are_understood() {
        let words = ["--keep-alive", "2", "--graceful-timeout", "3", "--limit-request-line", "4094"];
        let options = parse_words(&[&words[..], &["--limit-request-fields=50"]].concat()).unwrap();
        let expected = Limits {
            idle_timeout: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(3),
            request_line_bytes_max: 4094,
            fields_max: 50,
            ..Limits::default()
        };
        assert_eq!(options.limits(), &expected);
    }

    #[test]
    fn application_of_python_is_refused_with_the_way_to_serve_it() {
        let refusal = parse_words(&["app:app", "-b", ":0", "--threads", "1"]).unwrap_err();
        assert!(refusal.contains("app:app") && refusal.contains("pip install ."), "{refusal}");
    }

    #[test]
    fn senseless_limits_are_refused_by_name() {
        for (arguments, name) in [
            (["--fields-max", "0"], "--fields-max"),
            (["--connections-max", "0"], "--connections-max"),
            (["--body-rate-min", "4G"], "--body-rate-min"),
            (["--head-max", "3"], "--head-max"),
            (["--request-line-max", "3"], "--request-line-max"),
        ] {
            assert!(parse_words(&arguments).unwrap_err().contains(name));
        }
    }

    #[test]
    fn command_line_is_consistent_in_itself() {
        command::<NoExtension>(&|_| None).debug_assert();
    }
}
