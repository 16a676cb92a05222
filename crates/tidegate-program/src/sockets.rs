//! The permissions and the group of unix sockets (`--socket-mode`, `--socket-group`).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use tidegate::ListenAddress;

use super::Options;

/// The file in which groups have their names.
const GROUPS: &str = "/etc/group";

/// Gives the unix sockets among these addresses to those who the options say.
///
/// # Errors
/// Returns a sentence when the group is not known, or the system refuses.
pub fn give_away(options: &Options, addresses: &[ListenAddress]) -> Result<(), String> {
    let (mode, group) = options.sockets();
    let group = group.map(number_of).transpose()?;
    let paths = addresses.iter().filter_map(|address| match address {
        ListenAddress::Unix(path) => Some(path),
        _ => None,
    });
    for path in paths {
        give(path, mode, group).map_err(|error| format!("cannot give {} away: {error}", path.display()))?;
    }
    Ok(())
}

fn give(path: &Path, mode: Option<u32>, group: Option<u32>) -> io::Result<()> {
    // The group first: with the mode alone the wrong one could connect meanwhile.
    if group.is_some() {
        chown(path, None, group)?;
    }
    mode.map_or(Ok(()), |mode| fs::set_permissions(path, Permissions::from_mode(mode)))
}

/// Returns the number of a group.
fn number_of(group: &str) -> Result<u32, String> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string(GROUPS).map_err(|error| format!("cannot read {GROUPS}: {error}"))?;
    let mut lines = groups.lines().map(|line| line.split(':'));
    let number =
        lines.find_map(|mut words| (words.next() == Some(group)).then(|| words.nth(1)?.parse().ok())?);
    number.ok_or_else(|| format!("{GROUPS} has no group {group}"))
}
