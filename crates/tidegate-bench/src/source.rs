//! Opens connections, from an address of this machine if one is chosen: each address has ports of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

/// Begins to connect.
pub(super) fn open(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address) };
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&socket, true)?;
    // Closed by a reset, so that no port stays taken for a minute: the next round needs them again.
    set_socket_linger(&socket, Some(Duration::ZERO))?;
    bind(&socket, &SocketAddr::new(source, 0))?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from_std(socket.into())),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn connection_comes_from_the_address_that_was_chosen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let source: IpAddr = if cfg!(target_os = "linux") { [127, 0, 0, 9] } else { [127, 0, 0, 1] }.into();
        let _stream = open(address, Some(source)).unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), source);
    }

    #[test]
    fn address_of_another_machine_is_refused() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(open(address, Some([192, 0, 2, 1].into())).is_err());
    }
}
