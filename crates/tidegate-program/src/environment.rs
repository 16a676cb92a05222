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
//! nothing. A wrong value is reported as the variable's, and a name that is nearly an option's is warned about.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Error};

use tidegate::ListenAddress;

use super::options::STATIC;

/// Variables by which other programs name an option.
const BY_CONVENTION: [(&str, &str); 2] =
    [("workers", "WEB_CONCURRENCY"), ("forwarded-allow-ips", "FORWARDED_ALLOW_IPS")];

/// Most letters that are wrong in a name that is nearly an option's. 2: two that were swapped count as one.
const MISTYPED_MAX: usize = 2;

/// The function that looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads a variable of the process, unless it is empty.
pub(super) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Adds to the command every option that a variable gives. The addresses are not among them: they may stand
/// on either side of a command, and a variable must not count twice.
pub(super) fn with_variables(command: Command, lookup: Lookup<'_>) -> Command {
    let with_variable = |arg: Arg| match first_variable(&arg, lookup) {
        Some(name) if arg.get_id() != "listen" => arg.env(name).hide_env(true),
        Some(_) | None => arg,
    };
    command.mut_args(with_variable).mut_subcommand(STATIC, |of_folders| of_folders.mut_args(with_variable))
}

/// Names the variable in an error that is about the value of one.
pub(super) fn blame(command: &Command, mut error: Error) -> Error {
    let said = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let name = all_options(command).find(|arg| arg.to_string() == said).and_then(|arg| arg.get_env());
    if let Some(name) = name {
        error.insert(ContextKind::InvalidArg, ContextValue::String(name.to_string_lossy().into_owned()));
    }
    error
}

/// Names the variable in a sentence about an option that a variable has given.
pub(super) fn named_as_variable(command: &Command, matches: &ArgMatches, sentence: String) -> String {
    let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
    let is_from_variable = |arg: &&Arg| {
        let id = arg.get_id().as_str();
        matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::EnvVariable)
    };
    all_options(command).filter(is_from_variable).fold(sentence, |sentence, arg| {
        let (long, name) = (arg.get_long().unwrap_or_default(), arg.get_env().unwrap_or_default());
        sentence.replacen(&format!("--{long} "), &format!("the variable {} ", name.display()), 1)
    })
}

/// Yields the options of serving, and those of serving a folder.
fn all_options(command: &Command) -> impl Iterator<Item = &Arg> {
    let of_folders = command.find_subcommand(STATIC).into_iter().flat_map(Command::get_arguments);
    command.get_arguments().chain(of_folders)
}

/// Warns of variables whose names are nearly those of options, since they have no effect.
pub(super) fn warn_of_misspelt(command: &Command) {
    let known: Vec<_> = all_options(command).flat_map(own_variables).collect();
    for (name, _) in env::vars_os() {
        let nearest = name.to_str().and_then(|name| nearest(name, &known));
        if let Some(nearest) = nearest {
            let name = name.display();
            // The log is not there yet. Nobody may be left to read it.
            let _ = writeln!(
                io::stderr(),
                "tidegate: the variable {name} means nothing; did you mean {nearest}?"
            );
        }
    }
}

/// Returns the known name that a name of ours was probably meant to be. Some are set by others, such as Kubernetes' for
/// a service called `tidegate`, and resemble none.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    if !name.starts_with("TIDEGATE_") || known.iter().any(|known| known == name) {
        return None;
    }
    let typed = |other: &&String| strsim::osa_distance(name, other);
    known.iter().min_by_key(typed).filter(|other| typed(other) <= MISTYPED_MAX).map(String::as_str)
}

/// Finds the variable that gives an option, if there is one.
fn first_variable(arg: &Arg, lookup: Lookup<'_>) -> Option<String> {
    let long = arg.get_long()?;
    let conventional = BY_CONVENTION.iter().filter(|(option, _)| *option == long);
    let mut names = own_variables(arg).into_iter().chain(conventional.map(|(_, name)| name.to_string()));
    names.find(|name| lookup(name).is_some())
}

/// Names the variables of an option, which may have several names.
fn own_variables(arg: &Arg) -> Vec<String> {
    let aliases = arg.get_visible_aliases().unwrap_or_default();
    arg.get_long().into_iter().chain(aliases).map(own_variable).collect()
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
    fn misspelt_names_are_told_from_those_of_others() {
        let known = ["TIDEGATE_IDLE_TIMEOUT", "TIDEGATE_LISTEN"].map(String::from);
        assert_eq!(nearest("TIDEGATE_IDEL_TIMEOUT", &known), Some("TIDEGATE_IDLE_TIMEOUT"));
        assert_eq!(nearest("TIDEGATE_IDLETIMEOUT", &known), Some("TIDEGATE_IDLE_TIMEOUT"));
        for other in ["TIDEGATE_LISTEN", "TIDEGATE_PORT_80_TCP", "TIDEGATE_SERVICE_HOST", "TIDE_LISTEN"] {
            assert_eq!(nearest(other, &known), None, "{other}");
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
