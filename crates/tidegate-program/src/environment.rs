//! Reads options from environment variables.
//!
//! | variable | is |
//! |---|---|
//! | `TIDEGATE_IDLE_TIMEOUT` | `--idle-timeout`, and so on for every option and its other names |
//! | `TIDEGATE_LISTEN` | `--listen`; several addresses are separated by commas |
//! | `PORT` | `--listen :PORT`, as platforms that run containers have it |
//! | `WEB_CONCURRENCY`, `FORWARDED_ALLOW_IPS` | `--workers`, `--forwarded-allow-ips`, as for gunicorn |
//!
//! The command line wins over `TIDEGATE_…`, which wins over the others. An empty variable says
//! nothing.

use std::env;
use std::ffi::OsString;

use clap::{Arg, Command};

use tidegate::ListenAddress;

/// Variables by which other programs name an option.
const BY_CONVENTION: [(&str, &str); 2] =
    [("workers", "WEB_CONCURRENCY"), ("forwarded-allow-ips", "FORWARDED_ALLOW_IPS")];

/// The function that looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads a variable of the process, unless it is empty.
pub(super) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Adds to the command every option that a variable gives. The addresses are not among them: they may stand
/// on either side of a command, and a variable must not count twice.
pub(super) fn with_variables(command: Command, lookup: Lookup<'_>) -> Command {
    command.mut_args(|arg| match first_variable(&arg, lookup) {
        Some(name) if arg.get_id() != "listen" => arg.env(name).hide_env(true),
        Some(_) | None => arg,
    })
}

/// Finds the variable that gives an option, if there is one.
fn first_variable(arg: &Arg, lookup: Lookup<'_>) -> Option<String> {
    let long = arg.get_long()?;
    let aliases = arg.get_visible_aliases().unwrap_or_default();
    let own = [long].into_iter().chain(aliases).map(own_variable);
    let conventional = BY_CONVENTION.iter().filter(|(option, _)| *option == long);
    let mut names = own.chain(conventional.map(|(_, name)| name.to_string()));
    names.find(|name| lookup(name).is_some())
}

/// Names the variable of an option: `idle-timeout` → `TIDEGATE_IDLE_TIMEOUT`.
fn own_variable(option: &str) -> String {
    format!("TIDEGATE_{}", option.to_ascii_uppercase().replace('-', "_"))
}

/// Returns the addresses to listen on, for a command line that has none.
///
/// # Errors
/// Returns a sentence when a variable makes no sense.
pub(super) fn addresses(lookup: Lookup<'_>) -> Result<Vec<ListenAddress>, String> {
    for name in ["TIDEGATE_LISTEN", "TIDEGATE_BIND"] {
        if let Some(list) = text_of(name, lookup)? {
            let parse = |word: &str| word.trim().parse::<ListenAddress>();
            let addresses: Result<_, _> = list.split(',').map(parse).collect();
            return addresses.map_err(|error| format!("the variable {name}: {error}"));
        }
    }
    let Some(port) = text_of("PORT", lookup)? else { return Ok(Vec::new()) };
    match format!(":{port}").parse() {
        Ok(address) => Ok(vec![address]),
        Err(_) => Err(format!("the variable PORT: {port:?} is no port")),
    }
}

fn text_of(name: &str, lookup: Lookup<'_>) -> Result<Option<String>, String> {
    let text = lookup(name).map(OsString::into_string).transpose();
    text.map_err(|value| format!("the variable {name}: {} is no text", value.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected: Result<&[&str], &str>) {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| OsString::from(value))
        };
        match (addresses(&lookup), expected) {
            (Ok(addresses), Ok(expected)) => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                assert_eq!(addresses, expected, "{variables:?}");
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{variables:?}: {error}"),
            (got, _) => panic!("{variables:?}: {got:?}"),
        }
    }

    #[test]
    fn addresses_are_those_of_the_first_variable_that_says_some() {
        check(&[], Ok(&[]));
        check(&[("PORT", "5000")], Ok(&["http://[::]:5000/"]));
        check(&[("PORT", "5000"), ("TIDEGATE_LISTEN", "unix:/s")], Ok(&["unix:/s"]));
        check(&[("TIDEGATE_BIND", "127.0.0.1:1, :2")], Ok(&["http://127.0.0.1:1/", "http://[::]:2/"]));
        check(&[("PORT", "http")], Err("PORT"));
        check(&[("PORT", "1:2")], Err("PORT"));
        check(&[("TIDEGATE_LISTEN", "127.0.0.1:1,")], Err("TIDEGATE_LISTEN"));
    }
}
