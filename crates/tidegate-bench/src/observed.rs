//! Observes the server from outside: the processes that listen on a port of this machine, the CPU time that
//! they have used, and the memory that they hold. All of it is read from `/proc`, so this works on Linux
//! only.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

/// The length of a tick in `/proc/PID/stat`: a hundredth of a second wherever Linux runs (USER_HZ).
const TICK: Duration = Duration::from_millis(10);
/// The place of the user time in `/proc/PID/stat`, counted after the name in parentheses; system time and
/// pages follow below.
const UTIME: usize = 11;
const STIME: usize = 12;
/// The state of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// The processes that share a listening socket: one, or a supervisor and its workers.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pids: Vec<u32>,
    name: String,
}

/// Figures of the processes at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Observed {
    /// User and system time since the processes began.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident: u64,
    /// The part of the resident memory that belongs to no file: heap and stacks.
    pub anonymous: u64,
}

impl Observed {
    pub fn cpu_since(&self, earlier: &Observed) -> Duration {
        self.cpu.saturating_sub(earlier.cpu)
    }
}

impl Process {
    /// Finds the processes that listen at an address.
    ///
    /// # Errors
    /// Returns a sentence about why they cannot be found.
    pub fn listening_at(address: SocketAddr) -> Result<Process, String> {
        if !Path::new("/proc/self/stat").exists() {
            return Err("not known: this system has no /proc".to_string());
        }
        // Only addresses of this machine can be bound.
        if TcpListener::bind((address.ip(), 0)).is_err() {
            return Err(format!("not known: {} is another machine", address.ip()));
        }
        let inodes = listening_inodes(address);
        let mut pids = Vec::new();
        // A handful: std's sort would be longer than the rest of this function.
        for pid in all_pids().filter(|pid| holds_any(*pid, &inodes)) {
            pids.insert(pids.partition_point(|other| *other < pid), pid);
        }
        let Some(first) = pids.first() else {
            return Err("not found: no process that may be looked at listens there (another user's, or \
                        another container's)"
                .to_string());
        };
        let name = fs::read_to_string(format!("/proc/{first}/comm")).unwrap_or_default();
        Ok(Process { name: name.trim_end().to_string(), pids })
    }

    /// Describes the processes for people.
    pub fn describe(&self) -> String {
        let pids: Vec<_> = self.pids.iter().map(ToString::to_string).collect();
        match &pids[..] {
            [pid] => format!("{}, process {pid}", self.name),
            pids => format!("{}, processes {}", self.name, pids.join(", ")),
        }
    }

    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// Sums up CPU time and memory of all processes; none if one of them is gone.
    pub fn observe(&self) -> Option<Observed> {
        let each = self.pids.iter().map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let memory = |name: &str| memory_of(&status, name);
            Some(Observed {
                cpu: cpu_of(&stat)?,
                resident: memory("VmRSS:")?,
                anonymous: memory("RssAnon:")?,
            })
        });
        each.reduce(|one, other| {
            let (one, other) = (one?, other?);
            Some(Observed {
                cpu: one.cpu + other.cpu,
                resident: one.resident + other.resident,
                anonymous: one.anonymous + other.anonymous,
            })
        })?
    }
}

/// Reads the CPU time from `/proc/PID/stat`. The name in it may contain blanks and parentheses of its own.
fn cpu_of(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks: u32 = fields.get(UTIME)?.parse::<u32>().ok()? + fields.get(STIME)?.parse::<u32>().ok()?;
    Some(TICK * ticks)
}

/// Reads an amount of memory from `/proc/PID/status`: `VmRSS: 6120 kB`.
fn memory_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Finds the inodes of the sockets that listen at an address.
fn listening_inodes(address: SocketAddr) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines.filter_map(|line| inode_of(line, address)).collect()
}

/// Reads the inode from a line `0: 0100007F:1F90 00000000:0000 0A … INODE …`, if its socket listens at the
/// address or at all.
fn inode_of(line: &str, address: SocketAddr) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = words.get(1)?.split_once(':')?;
    let is_there = u16::from_str_radix(port, 16).ok()? == address.port();
    let is_any = ip.bytes().all(|byte| byte == b'0');
    if !is_there || *words.get(3)? != LISTENING || !(is_any || ip == in_hex(address.ip())) {
        return None;
    }
    words.get(9).map(|inode| format!("socket:[{inode}]"))
}

/// Writes an address as `/proc/net/tcp` does: in words of four bytes, each in the order of this machine.
fn in_hex(ip: IpAddr) -> String {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
    words.map(|word| format!("{:08X}", u32::from_ne_bytes(word))).collect()
}

fn all_pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn holds_any(pid: u32, inodes: &[String]) -> bool {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| link.to_str().is_some_and(|link| inodes.iter().any(|inode| inode == link)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn listener_of_this_process_is_found() {
        for (bind, ask) in [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.1"), ("[::1]:0", "::1")] {
            let listener = TcpListener::bind(bind).unwrap();
            let address = SocketAddr::new(ask.parse().unwrap(), listener.local_addr().unwrap().port());
            let process = Process::listening_at(address).unwrap();
            assert_eq!(process.pids(), [std::process::id()], "{bind}");
        }
    }

    #[test]
    fn port_without_listener_has_no_process() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(Process::listening_at(address).unwrap_err().contains("not found"));
    }

    #[test]
    fn other_machine_has_no_process_here() {
        let refusal = Process::listening_at("192.0.2.1:80".parse().unwrap()).unwrap_err();
        assert!(refusal.contains("another machine"), "{refusal}");
    }

    #[test]
    fn process_has_memory_and_uses_time() {
        let process = Process { pids: vec![std::process::id()], name: String::new() };
        let before = process.observe().unwrap();
        assert!(before.resident > 1 << 16 && before.anonymous > 1 << 12);
        while process.observe().unwrap().cpu_since(&before) < TICK {}
        assert!(process.observe().unwrap().cpu > before.cpu);
    }

    #[test]
    fn name_of_a_process_may_look_like_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 30 12 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_of(stat), Some(TICK * 42));
    }
}
