//! Measures CPU time for files of 1 MiB and of 100 MiB, and that of nginx with sendfile for the same ones.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::clients::{answer_bytes, connect, request};
use super::example;
use super::nginx;
use super::process::ServerProcess;
use super::table::{Goal, Row, median};

const MEDIUM: Goal = Goal::at_most("CPU for files of 1 MiB, of what nginx takes", 1.0, 0.99, "×");
const LARGE: Goal = Goal::at_most("CPU for a file of 100 MiB, of what nginx takes", 1.0, 0.99, "×");
const CLIENTS: usize = 4;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(1200);

pub fn measure(_connections: usize) -> Vec<Row> {
    let folder = Folder::new();
    [(MEDIUM, "medium", 1 << 20), (LARGE, "large", 100 << 20)]
        .into_iter()
        .map(|(goal, name, bytes)| {
            let row = folder.as_ref().map_err(|error| io::Error::other(error.to_string()));
            row.and_then(|folder| compare(goal, folder, name, bytes))
                .unwrap_or_else(|error| goal.failed(error))
        })
        .collect()
}

fn compare(goal: Goal, folder: &Folder, name: &str, bytes: usize) -> io::Result<Row> {
    folder.fill(name, bytes)?;
    let mut own = Command::new(example::program()?);
    let own = ServerProcess::start(own.args(["--bind", "127.0.0.1:0", "static"]).arg(folder.root()))?;
    let directives = nginx::Directives { connections: 1024, of_events: "", of_server: "" };
    let nginx = nginx::start(&folder.0, &folder.root(), directives, |program| Command::new(program))?;
    let path = format!("/{name}");
    let (mut of_own, mut of_nginx, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (one, other) = (millis_per_gigabyte(&own, &path)?, millis_per_gigabyte(&nginx, &path)?);
        of_own.push(one);
        of_nginx.push(other);
        ratios.push(one / other);
    }
    let note = format!("{:.0} ms/GB, nginx {:.0}", median(of_own), median(of_nginx));
    Ok(goal.measured(median(ratios)).note(note))
}

/// Measures CPU milliseconds for a gigabyte, over a few connections that ask again and again.
fn millis_per_gigabyte(server: &ServerProcess, path: &str) -> io::Result<f64> {
    let (before, until) = (server.cpu()?, Instant::now() + ROUND);
    let address = server.address;
    let received = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| receive(address, path, until))).collect();
        let mut sum = 0;
        for client in clients {
            sum += client.join().map_err(|_| io::ErrorKind::Other)??;
        }
        io::Result::Ok(sum)
    })?;
    Ok((server.cpu()? - before).as_secs_f64() * 1e3 / (received as f64 / 1e9))
}

/// Requests a file until the time is over, and reads it to its end. Returns how many bytes came.
fn receive(address: SocketAddr, path: &str, until: Instant) -> io::Result<u64> {
    let (mut stream, mut bytes, mut received) = (connect(address)?, vec![0; 1 << 20], 0);
    while Instant::now() < until {
        stream.write_all(&request(path))?;
        let mut count = stream.read(&mut bytes)?;
        let mut missing =
            answer_bytes(&bytes[..count]).ok_or_else(|| io::Error::other("an answer has no length"))?;
        loop {
            missing = missing.checked_sub(count).ok_or(io::ErrorKind::InvalidData)?;
            received += count as u64;
            if missing == 0 {
                break;
            }
            count = stream.read(&mut bytes)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    Ok(received)
}

/// The folder that is served, and that of nginx's own files; removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> io::Result<Folder> {
        let path = std::env::temp_dir().join(format!("tidegate-c10k-{}", std::process::id()));
        let folder = Folder(path);
        fs::create_dir_all(folder.root())?;
        Ok(folder)
    }

    /// The folder for own files of servers.
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn fill(&self, name: &str, bytes: usize) -> io::Result<()> {
        let mut file = File::create(self.root().join(name))?;
        let part = vec![b'x'; 1 << 20];
        (0..bytes / part.len()).try_for_each(|_| file.write_all(&part))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is below the system's folder for what nobody misses.
        let _ = fs::remove_dir_all(&self.0);
    }
}
