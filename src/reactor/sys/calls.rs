//! The names of the system calls that are made for a connection, as strace(1) and its likes show them.

use super::selector::SELECTOR_CALLS;

/// The names of system calls.
#[derive(Debug)]
pub struct Calls {
    /// Waits for events.
    pub wait: &'static str,
    /// Asks for events of a socket.
    pub register: &'static str,
    /// Takes a connection from a listener.
    pub accept: &'static str,
    /// Reads.
    pub receive: &'static str,
    /// Writes from one buffer.
    pub send: &'static str,
    /// Writes from several.
    pub send_pieces: &'static str,
    /// Sends part of a file.
    pub send_file: &'static str,
    /// Ends our side.
    pub end: &'static str,
    /// Sets an option.
    pub set_option: &'static str,
    /// Asks for the error of a socket, which is an option to the system.
    pub take_error: &'static str,
    /// Closes.
    pub close: &'static str,
}

#[cfg(target_vendor = "apple")]
const ACCEPT: &str = "accept";
#[cfg(not(target_vendor = "apple"))]
const ACCEPT: &str = "accept4";

/// The names of the calls here.
pub const CALLS: Calls = Calls {
    wait: SELECTOR_CALLS.0,
    register: SELECTOR_CALLS.1,
    accept: ACCEPT,
    receive: "recvfrom",
    send: "sendto",
    send_pieces: "writev",
    send_file: "sendfile",
    end: "shutdown",
    set_option: "setsockopt",
    take_error: "getsockopt",
    close: "close",
};
