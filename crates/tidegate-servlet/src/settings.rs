//! The settings of a connector, as Java gives them: a line `name=value` for each.

use std::str::FromStr;
use std::time::Duration;

use tidegate::gateway::ServerInfo;
use tidegate::limits::Limits;
use tidegate::server::{InvalidAddress, ListenAddress};
use tidegate_status::check_address;

use crate::gateway::Threads;

/// Bytes of one response that wait for its client before the thread that makes them has to wait. 1 MiB: pages fit, and so no
/// reader holds a thread but those of long downloads; 200 of these together take less than the limit on memory.
const RESPONSE_BYTES_HIGH: usize = 1 << 20;

/// The description of a connector.
#[derive(Debug)]
pub(crate) struct Settings {
    pub address: String,
    pub threads: Threads,
    pub timeout: Option<Duration>,
    pub response_bytes_high: usize,
    pub collected_bytes_max: u64,
    /// The work of the threads that come for jobs: it names them where the status is shown.
    pub pool: &'static str,
    /// The address on which the connector shows its status; none if it shows it nowhere.
    pub status: Option<ListenAddress>,
    pub limits: Limits,
    pub info: ServerInfo,
}

impl Settings {
    /// Reads all lines.
    ///
    /// # Errors
    /// Returns what is wrong with the first line that makes no sense.
    pub fn parse(lines: &str) -> Result<Settings, String> {
        let mut settings = Settings {
            address: String::new(),
            threads: Threads::Pool(1),
            timeout: None,
            response_bytes_high: RESPONSE_BYTES_HIGH,
            collected_bytes_max: u64::MAX,
            pool: "servlets",
            status: None,
            limits: Limits::default(),
            info: ServerInfo { multithread: true, ..ServerInfo::default() },
        };
        for line in lines.lines() {
            let (name, value) = line.split_once('=').ok_or_else(|| format!("{line:?} is no setting"))?;
            settings.set(name, value).map_err(|reason| format!("{name}={value:?}: {reason}"))?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let limits = &mut self.limits;
        match name {
            "address" => self.address = value.to_string(),
            "threads" if value == "loop" => self.threads = Threads::Loop,
            "threads" => self.threads = Threads::Pool(number(value)?),
            "pool" if value == "virtual" => self.pool = "handing on to virtual threads",
            "pool" => self.pool = "servlets",
            "status" => self.status = Some(status_address(value)?),
            "requestTimeout" => self.timeout = Some(milliseconds(value)?).filter(|time| !time.is_zero()),
            "server" => self.info.software = value.to_string().into(),
            "maxCollectedSize" => self.collected_bytes_max = number(value)?,
            "responseMemory" => self.response_bytes_high = number(value)?,
            "maxConnections" => limits.connections_max = number(value)?,
            "connectionTimeout" => limits.head_timeout = milliseconds(value)?,
            "keepAliveTimeout" => limits.idle_timeout = milliseconds(value)?,
            "bodyTimeout" => limits.body_timeout = milliseconds(value)?,
            "writeTimeout" => limits.write_timeout = milliseconds(value)?,
            "drainTimeout" => limits.drain_timeout = milliseconds(value)?,
            "tunnelTimeout" => limits.tunnel_timeout = milliseconds(value)?,
            "maxRequestSize" => limits.body_bytes_max = number(value)?,
            "maxHttpRequestHeaderSize" => limits.head_bytes_max = number(value)?,
            "maxRequestLineSize" => limits.request_line_bytes_max = number(value)?,
            "maxHeaderCount" => limits.fields_max = number(value)?,
            "maxMemory" => limits.memory_bytes_max = number(value)?,
            "bodyMemory" => limits.body_memory_bytes_max = number(value)?,
            "maxSpool" => limits.spool_bytes_max = Some(number(value)?),
            _ => return Err("there is no such setting".to_string()),
        }
        Ok(())
    }
}

/// Reads the address of a status server, as the programs take it, and judges it.
fn status_address(value: &str) -> Result<ListenAddress, String> {
    let address: ListenAddress = value.parse().map_err(|error: InvalidAddress| error.to_string())?;
    check_address(&address)?;
    Ok(address)
}

fn number<T: FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| "it is no number, or out of range".to_string())
}

fn milliseconds(value: &str) -> Result<Duration, String> {
    number(value).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_line_by_line_and_wrong_ones_named() {
        let settings =
            Settings::parse("address=127.0.0.1:0\nthreads=loop\nrequestTimeout=0\nconnectionTimeout=1500\n")
                .unwrap();
        assert_eq!((settings.threads, settings.timeout), (Threads::Loop, None));
        assert_eq!(settings.limits.head_timeout, Duration::from_millis(1500));
        assert_eq!(Settings::parse("threads=200").unwrap().threads, Threads::Pool(200));
        for (lines, said) in [
            ("threads=many", "threads"),
            ("depth=3", "no such setting"),
            ("address", "no setting"),
            ("status=0.0.0.0:9000", "no loopback address"),
            ("status=here", "status"),
        ] {
            let error = Settings::parse(lines).unwrap_err();
            assert!(error.contains(said), "{error:?} does not say {said:?}");
        }
    }
}
