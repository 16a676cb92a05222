//! The machine and the command, so that others can do the same and know what to expect.

use std::env;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::SystemTime;

use rustix::process::{Resource, getrlimit};

use crate::figures::{amount, thousands};

/// Facts about the machine, each with its name.
pub(super) fn facts() -> Vec<(&'static str, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.map(|value| value.trim_matches([' ', '\t', ':', '=', '"']).to_string())
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let model = after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| env::consts::ARCH.to_string());
    let memory = after(&read("/proc/meminfo"), "MemTotal:");
    let memory = memory.and_then(|text| text.strip_suffix("kB")?.trim().parse::<u64>().ok());
    let system = after(&read("/etc/os-release"), "PRETTY_NAME").unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let mut facts = vec![
        ("processors", format!("{processors} × {model}")),
        ("memory", memory.map_or_else(|| "not known".to_string(), |kilobytes| amount(kilobytes * 1024))),
        ("system", format!("{} {} {system}", env::consts::OS, kernel.trim()).trim().to_string()),
        ("descriptors of a process", descriptors()),
    ];
    if let [Some(first), Some(last)] = ports() {
        facts.push((
            "local ports",
            format!("{first} to {last}, {} for each address", thousands(last - first + 1)),
        ));
    }
    facts.push(("load before", read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")));
    facts.push(("made at", humantime::format_rfc3339_seconds(SystemTime::now()).to_string()));
    facts
}

fn descriptors() -> String {
    match getrlimit(Resource::Nofile).maximum {
        Some(most) => format!("at most {}", thousands(most)),
        None => "without a limit".to_string(),
    }
}

/// The first and the last of the ports that connections are made from.
fn ports() -> [Option<u64>; 2] {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ports = range.split_whitespace().map(|port| port.parse().ok());
    [ports.next().flatten(), ports.next().flatten()]
}

/// The command line of this process, as a shell reads it.
pub(crate) fn command() -> String {
    let mut words = env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_default();
    let program = Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned());
    let words = program.into_iter().chain(words).map(|word| quoted(&word));
    words.collect::<Vec<_>>().join(" ")
}

/// Quotes a word if a shell would read it as something else.
fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_alphanumeric() || "-_./:=,@%+".contains(char);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        for (word, expected) in [
            ("--sweep=10..100", "--sweep=10..100"),
            ("http://a/?b=c&d", "'http://a/?b=c&d'"),
            ("", "''"),
            ("it's", "'it'\\''s'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn machine_is_described() {
        let facts = facts();
        assert!(facts.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{facts:?}");
    }
}
