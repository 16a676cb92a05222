//! Listening sockets as the options want them: their queue (`--backlog`), and the permissions, owner and group of unix
//! sockets (`--socket-mode`, `--socket-group`, `--user`). Log files have that owner, too.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use nix::unistd::geteuid;
use tidegate::ListenAddress;
use tidegate::server::Listener;

use super::Options;
use super::log_place::LogPlace;
use super::privileges::find_group;

/// Listens on an address.
///
/// # Errors
/// Returns the error of the system, with the address.
pub fn bind(options: &Options, address: &ListenAddress) -> io::Result<Listener> {
    let listener = Listener::bind(address)?;
    if let Some(backlog) = options.backlog() {
        // Whoever listens already may say so again, for a queue of another length.
        rustix::net::listen(listener.as_fd(), backlog)?;
    }
    Ok(listener)
}

/// Gives the unix sockets among these addresses to those who the options say, and the files of the options' logs to the user.
///
/// # Errors
/// Returns a sentence when user or group are not known, or the system refuses.
pub fn give_away(options: &Options, addresses: &[ListenAddress]) -> Result<(), String> {
    let (mode, group) = options.sockets();
    let identity = options.identity()?.map(|identity| identity.numbers());
    let group = group.map(find_group).transpose()?.map(|group| group.as_raw());
    let owner = identity.and_then(|(user, _)| user);
    let group = group.or(identity.map(|(_, group)| group));
    give_log_away(options, options.log_file().as_ref())?;
    give_log_away(options, options.access_log_place())?;
    let paths = addresses.iter().filter_map(|address| match address {
        ListenAddress::Unix(path) => Some(path),
        _ => None,
    });
    for path in paths {
        give(path, mode, owner, group)
            .map_err(|error| format!("cannot give {} away: {error}", path.display()))?;
    }
    Ok(())
}

/// Gives the file of a log to the user who the process is to become, if there are such a file and such a user.
///
/// # Errors
/// Returns a sentence when the user is not known, or the system refuses.
pub fn give_log_away(options: &Options, place: Option<&LogPlace>) -> Result<(), String> {
    let user = options.identity()?.and_then(|identity| identity.numbers().0);
    let (Some(place), Some(user)) = (place, user) else { return Ok(()) };
    // Only root can, and who is no root becomes nobody else.
    if !geteuid().is_root() {
        return Ok(());
    }
    place.give_to(user).map_err(|error| format!("cannot give the log {place:?} away: {error}"))
}

fn give(path: &Path, mode: Option<u32>, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    // The group first: with the mode alone the wrong one could connect meanwhile.
    if owner.is_some() || group.is_some() {
        chown(path, owner, group)?;
    }
    mode.map_or(Ok(()), |mode| fs::set_permissions(path, Permissions::from_mode(mode)))
}
