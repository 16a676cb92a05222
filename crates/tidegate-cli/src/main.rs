//! The program `tidegate`. All of it is in the package `tidegate-program`, so that the
//! Python package can use it, too.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate_program::main()
}
