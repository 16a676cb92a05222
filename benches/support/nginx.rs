//! nginx, to compare with: one process that serves a folder and says nothing.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::clients::connect;
use super::process::ServerProcess;

/// Longest wait for nginx to listen; after that it never will.
const PATIENCE: Duration = Duration::from_secs(5);

/// Has nginx accept all who wait, and not one in each turn of its loop. Such a turn goes on for as long as a connection
/// has another request in its pipeline, so with many pipelines one client is accepted a second, and others never.
#[allow(dead_code, reason = "only one bench has many pipelines")]
pub const ACCEPT_ALL: &str = "multi_accept on;";

/// The part of nginx's configuration in which benches differ.
#[derive(Clone, Copy)]
pub struct Directives<'a> {
    /// The most connections of a worker.
    pub connections: usize,
    /// More about its events.
    pub of_events: &'a str,
    pub of_server: &'a str,
}

/// Starts nginx with a command that begins with the program's name, for files below `root`. Its own files go
/// into `folder`. It listens at an address that was free a moment ago, since nginx has no port 0.
///
/// # Errors
/// Returns an error when there is no nginx, or when it does not listen.
pub fn start(
    folder: &Path,
    root: &Path,
    directives: Directives<'_>,
    command: impl FnOnce(&str) -> Command,
) -> io::Result<ServerProcess> {
    start_with(folder, root, "master_process off;", "", directives, command)
}

/// Starts nginx with several workers, which share the port. They end only with [`ServerProcess::end`].
///
/// # Errors
/// Returns an error when there is no nginx, or when it does not listen.
#[allow(dead_code, reason = "only one bench has several")]
pub fn start_workers(
    folder: &Path,
    root: &Path,
    workers: usize,
    directives: Directives<'_>,
) -> io::Result<ServerProcess> {
    let head = format!("worker_processes {workers};");
    let of_server = format!("keepalive_timeout 300s; {}", directives.of_server);
    let directives = Directives { of_server: &of_server, ..directives };
    start_with(folder, root, &head, "reuseport", directives, |program| Command::new(program))
}

fn start_with(
    folder: &Path,
    root: &Path,
    head: &str,
    of_listen: &str,
    directives: Directives<'_>,
    command: impl FnOnce(&str) -> Command,
) -> io::Result<ServerProcess> {
    let program =
        program().ok_or_else(|| io::Error::other("nginx is not installed: apt-get install nginx"))?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (root, own) = (root.display(), folder.display());
    let Directives { connections, of_events, of_server } = directives;
    let configuration = format!(
        "daemon off; {head} pid {own}/pid; error_log stderr crit;
         events {{ worker_connections {connections}; {of_events} }}
         http {{
             access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
             default_type application/octet-stream;
             client_body_temp_path {own}/body; proxy_temp_path {own}/proxy;
             fastcgi_temp_path {own}/fastcgi; uwsgi_temp_path {own}/uwsgi; scgi_temp_path {own}/scgi;
             server {{ listen {address} backlog=4096 {of_listen}; root {root}; {of_server} }}
         }}"
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, configuration)?;
    let nginx = ServerProcess::start_at(address, command(program).args(["-e", "stderr", "-c"]).arg(&path))?;
    let start = Instant::now();
    while connect(address).is_err() {
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other("nginx does not listen"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(nginx)
}

/// Finds the program, which Debian keeps where only administrators look.
fn program() -> Option<&'static str> {
    const OF_DEBIAN: &str = "/usr/sbin/nginx";
    let is_there = |folder: std::path::PathBuf| folder.join("nginx").exists();
    match std::env::var_os("PATH") {
        _ if Path::new(OF_DEBIAN).exists() => Some(OF_DEBIAN),
        Some(path) if std::env::split_paths(&path).any(is_there) => Some("nginx"),
        _ => None,
    }
}
