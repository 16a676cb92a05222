//! Becomes another user once everything is open that only an administrator may open (`--user`, `--group`).

#[cfg(not(target_vendor = "apple"))]
use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid};

/// The user and the group that a process is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: Option<(String, Uid)>,
    group: Gid,
}

impl Identity {
    /// Looks up a user and a group, by names or numbers. Without a group it is the user's own. None if neither is named.
    ///
    /// # Errors
    /// Returns a sentence when there is no such user or group.
    pub fn find(user: Option<&str>, group: Option<&str>) -> Result<Option<Identity>, String> {
        let user = user.map(find_user).transpose()?;
        let group = group.map(find_group).transpose()?;
        let own_group = user.as_ref().map(|user| user.gid);
        let Some(group) = group.or(own_group) else { return Ok(None) };
        Ok(Some(Identity { user: user.map(|user| (user.name, user.uid)), group }))
    }

    /// The numbers of the user, if one was named, and of the group.
    pub fn numbers(&self) -> (Option<u32>, u32) {
        (self.user.as_ref().map(|(_, uid)| uid.as_raw()), self.group.as_raw())
    }

    /// Gives this process the identity, for good: user, group and what further groups the user has.
    ///
    /// # Errors
    /// Returns a sentence when the system refuses: only an administrator's process may become somebody else.
    pub fn take_on(&self) -> Result<(), String> {
        let is_group = getegid() == self.group;
        let is_user = self.user.as_ref().is_none_or(|(_, uid)| geteuid() == *uid);
        if is_group && is_user {
            return Ok(());
        }
        self.change().map_err(|error| {
            let name = self.user.as_ref().map_or(format!("group {}", self.group), |(name, _)| name.clone());
            format!("cannot become {name}: {error}; only a process of root may")
        })
    }

    /// Changes groups, then the user: afterwards the process may no longer change groups.
    #[cfg(not(target_vendor = "apple"))]
    fn change(&self) -> nix::Result<()> {
        use nix::unistd::{initgroups, setgid, setgroups, setuid};
        match &self.user {
            Some((name, _)) => {
                let name = CString::new(name.as_str()).map_err(|_| nix::errno::Errno::EINVAL)?;
                initgroups(&name, self.group)?;
            }
            None => setgroups(&[self.group])?,
        }
        setgid(self.group)?;
        self.user.as_ref().map_or(Ok(()), |(_, uid)| setuid(*uid))
    }

    /// Refuses: Apple's groups are those of its directory service, which a process cannot leave.
    #[cfg(target_vendor = "apple")]
    fn change(&self) -> nix::Result<()> {
        Err(nix::errno::Errno::ENOTSUP)
    }
}

fn find_user(name: &str) -> Result<User, String> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    found.map_err(|error| error.to_string())?.ok_or_else(|| format!("there is no user {name}"))
}

/// Looks up a group by its name; a number need not have one.
///
/// # Errors
/// Returns a sentence when there is none of this name.
pub fn find_group(name: &str) -> Result<Gid, String> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(name).map_err(|error| error.to_string())?;
    found.map(|group| group.gid).ok_or_else(|| format!("there is no group {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        assert_eq!(Identity::find(None, None), Ok(None));
        let root = Identity::find(Some("root"), None).unwrap().unwrap();
        assert_eq!(root.numbers(), (Some(0), 0));
        assert_eq!(Identity::find(Some("0"), None), Ok(Some(root)));
        assert_eq!(Identity::find(None, Some("77")).unwrap().unwrap().numbers(), (None, 77));
        assert!(Identity::find(Some("nobody-of-this-name"), None).unwrap_err().contains("no user"));
        assert!(Identity::find(None, Some("nobody-of-this-name")).unwrap_err().contains("no group"));
    }
}
