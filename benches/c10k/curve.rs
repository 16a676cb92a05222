//! Draws the curves: tidegate, nginx and a bare loop in turns, from ten connections to ten thousand that ask, and to a
//! hundred thousand that idle.
//!
//! A process may have 20,000 descriptors on many machines, so the idle ones are held by several processes of each
//! server, which share a port, and made by several of the rig. The reports go to `target/c10k/`, and the pictures that
//! BENCHMARKS.md shows to `benches/c10k/curves/`. Everything is measured by `tidegate bench`.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};

use super::SPARE;
use super::example;
use super::nginx;
use super::process::{ServerProcess, allow_descriptors};
use super::server;
use super::table::Row;

/// Connections that ask, and how long each round is.
const ACTIVE: [&str; 4] = ["--sweep=10..10000", "--duration=1s", "--warm-up=300ms", "--rounds=3"];
/// Connections that idle, beside 64 that ask.
const IDLE: [&str; 4] =
    ["--sweep-idle=1000,10000,50000,100000", "--duration=1s", "--warm-up=300ms", "--rounds=2"];
/// Processes of each server where a hundred thousand connections idle: 16,700 for each.
const PROCESSES: usize = 6;
/// Connections that a process may have.
const CONNECTIONS: usize = 19_800;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
const LOCATION: &str = "location = /plaintext { default_type text/plain; return 200 \"Hello, World!\"; }";

pub fn measure(_connections: usize) -> Vec<Row> {
    // Servers and rig have the limit from here.
    allow_descriptors(CONNECTIONS as u64 + SPARE);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (reports, pictures) = (folder.join("target/c10k"), folder.join("benches/c10k/curves"));
    let made = fs::create_dir_all(&reports).and_then(|()| fs::create_dir_all(&pictures));
    for (processes, arguments, name) in [(1, ACTIVE, "curve"), (PROCESSES, IDLE, "many")] {
        let files = [reports.join(format!("{name}.html")), pictures.join(format!("{name}.svg"))];
        let drawn = made.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()));
        if let Err(error) = drawn.and_then(|()| draw(&reports, processes, &arguments, &files)) {
            println!("{name}: {error}");
        }
    }
    // It is a picture, without a bound.
    Vec::new()
}

fn draw(folder: &Path, processes: usize, arguments: &[&str], files: &[PathBuf; 2]) -> io::Result<()> {
    let tidegate = Group::start(server::SERVE_PLAIN, processes)?;
    let bare = Group::start(server::SERVE_BARE, processes)?;
    let directives = nginx::Directives { connections: CONNECTIONS, of_events: "", of_server: LOCATION };
    let nginx = nginx::start_workers(folder, folder, processes, directives);
    let mut command = Command::new(example::program()?);
    let url = |name: &str, address: SocketAddr| format!("{name}=http://{address}/plaintext");
    command.arg("bench").arg(url("tidegate", tidegate.address)).args(arguments);
    match &nginx {
        Ok(nginx) => drop(command.args(["--against", &url("nginx", nginx.address)])),
        Err(error) => println!("without nginx: {error}"),
    }
    command.args(["--against", &url("bare loop", bare.address), "--processes=auto"]);
    command.arg("--report").arg(&files[0]).arg("--plot").arg(&files[1]);
    let status = command.status()?;
    println!("{}: the report is {}", if status.success() { "done" } else { "failed" }, files[0].display());
    if let Ok(nginx) = nginx {
        // Its workers end with it only if it is asked.
        nginx.end()?;
    }
    Ok(())
}

/// Several processes of one server, which share a port.
struct Group {
    address: SocketAddr,
    _processes: Vec<ServerProcess>,
}

impl Group {
    fn start(kind: &str, processes: usize) -> io::Result<Group> {
        let first = listener(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let first = TcpListener::from(first);
        let address = first.local_addr()?;
        let mut listeners = vec![OwnedFd::from(first)];
        for _ in 1..processes {
            listeners.push(listener(address)?);
        }
        let start = |listener: OwnedFd| {
            // The process has it from here on, and nobody else.
            fcntl_setfd(&listener, FdFlags::empty())?;
            let number = listener.as_raw_fd().to_string();
            let mut command = Command::new(std::env::current_exe()?);
            ServerProcess::start_at(address, command.args([kind, &number, &CONNECTIONS.to_string()]))
        };
        let processes = listeners.into_iter().map(start).collect::<io::Result<_>>()?;
        Ok(Group { address, _processes: processes })
    }
}

/// Makes a socket that others may share the port with.
fn listener(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}
