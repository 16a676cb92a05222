//! The servers, each in a process of its own, on a core that they share and the load has no part in.

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cores::Cores;
use super::nginx;
use super::process::ServerProcess;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tidegate,
    Hyper,
    May,
    Nginx,
    /// The least that a server can do: it parses nothing.
    Bare,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Tidegate => "tidegate",
            Kind::Hyper => "hyper",
            Kind::May => "may",
            Kind::Nginx => "nginx",
            Kind::Bare => "bare loop",
        }
    }
}

pub struct Server {
    pub kind: Kind,
    pub process: ServerProcess,
}

pub struct Servers {
    /// The entry is the first.
    pub all: Vec<Server>,
}

/// The argument that makes this program the bare loop.
pub const SERVE_BARE: &str = "--serve-bare";
/// The peers' folder, and where they are built.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers");

/// Connections that nginx may have: twice as many as the load, since it accepts those that replace others before it has
/// seen the end of these.
const CONNECTIONS: usize = 9_800;
const OF_NGINX: &str = "keepalive_timeout 300s; keepalive_requests 1000000000; gzip_static on;
    location = /baseline11 { default_type text/plain; return 200 55; }
    location = /pipeline { default_type text/plain; return 200 ok; }";

/// Builds the peers as the entry is built.
pub fn build() -> io::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release", "--locked"]).current_dir(PEERS);
    match command.env("CARGO_TARGET_DIR", target()).status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("the peers do not build: {status}"))),
    }
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("httparena-peers")
}

impl Servers {
    pub fn start(data: &Path, cores: &Cores) -> io::Result<Servers> {
        let mut entry = cores.command(env!("CARGO_BIN_EXE_tidegate-httparena"));
        entry.args(["--listen", "127.0.0.1:0", "--reactors", "1", "--data"]).arg(data);
        let mut all = vec![Server { kind: Kind::Tidegate, process: ServerProcess::start(&mut entry)? }];
        for (kind, name) in [(Kind::Hyper, "httparena-hyper"), (Kind::May, "httparena-may")] {
            // Not each of them can say which port the system has chosen.
            let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
            let mut command = cores.command(target().join("release").join(name));
            all.push(Server { kind, process: ServerProcess::start(command.arg(address).arg(data))? });
        }
        let directives =
            nginx::Directives { connections: CONNECTIONS, of_events: nginx::ACCEPT_ALL, of_server: OF_NGINX };
        match nginx::start(data, data, directives, |program| cores.command(program)) {
            Ok(process) => all.push(Server { kind: Kind::Nginx, process }),
            Err(error) => println!("without nginx: {error}"),
        }
        let mut bare = cores.command(std::env::current_exe()?);
        all.push(Server { kind: Kind::Bare, process: ServerProcess::start(bare.arg(SERVE_BARE))? });
        Ok(Servers { all })
    }
}
