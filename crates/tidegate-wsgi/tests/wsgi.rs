//! Tests WSGI applications, served by the package as `pip install .` makes it: the rules of PEP 3333, the
//! frameworks that people use, clients that vanish, and memory.
//!
//! ```text
//! cargo test -p tidegate-wsgi --test wsgi
//! ```
//!
//! Needs a python3 with `venv`, and installs the package and what it is tested with below `target/` (see
//! `wsgi/environment.rs`). It fails where it cannot. Whatever applications can notice is tested in
//! both modes, on the thread of the event loop and in a pool of threads.

#[path = "wsgi/environment.rs"]
mod environment;
#[path = "wsgi/frameworks.rs"]
mod frameworks;
#[path = "wsgi/greenlets.rs"]
mod greenlets;
#[path = "wsgi/memory.rs"]
mod memory;
#[path = "wsgi/mounts.rs"]
mod mounts;
#[path = "wsgi/operation.rs"]
mod operation;
#[path = "wsgi/probe.rs"]
mod probe;
#[path = "wsgi/probe_blocks.rs"]
mod probe_blocks;
#[path = "wsgi/probe_environ.rs"]
mod probe_environ;
#[path = "wsgi/probe_response.rs"]
mod probe_response;
#[path = "wsgi/served.rs"]
mod served;
#[path = "wsgi/standstill.rs"]
mod standstill;
#[path = "wsgi/starting.rs"]
mod starting;
mod support;
#[path = "wsgi/vanishing.rs"]
mod vanishing;
#[path = "wsgi/workbench.rs"]
mod workbench;

use served::Mode;

/// Makes two tests of each function, one for each mode.
macro_rules! in_both_modes {
    ($($name:ident: $test:expr),* $(,)?) => { $(
        mod $name {
            use super::*;

            #[test]
            fn inline() {
                $test(Mode::Inline);
            }

            #[test]
            fn in_threads() {
                $test(Mode::Threads);
            }
        }
    )* };
}

in_both_modes! {
    probe_of_environ_and_input: |mode| probe::play(mode, 60, probe_environ::play),
    probe_of_start_response_and_write: |mode| probe::play(mode, 90, probe_response::play),
    probe_of_blocks: |mode| probe::play(mode, 39, probe_blocks::play),
    probe_of_failures_and_close: |mode| probe::play(mode, 50, probe_blocks::play_failures),
    probe_of_files: |mode| probe::play(mode, 16, probe_blocks::play_files),
    flask_is_served: frameworks::flask,
    django_is_served: frameworks::django,
    pyramid_is_served: frameworks::pyramid,
    bottle_is_served: frameworks::bottle,
    httpbin_is_served: frameworks::httpbin,
    examples_are_served: frameworks::examples,
    workbench_keeps_its_contract: workbench::play,
    mounted_files_and_application_have_their_paths: mounts::files_and_application_have_their_paths,
    mounted_folder_has_the_options_of_static: mounts::folder_has_the_options_of_static,
    django_needs_no_whitenoise: mounts::django_needs_no_whitenoise,
    flask_has_its_folder_served: mounts::flask_has_its_folder_served,
    server_stopped_midway_closes_what_it_was_given: vanishing::shutdown,
}

// What a process holds is told by /proc.
#[cfg(target_os = "linux")]
in_both_modes! {
    clients_that_vanish_leave_nothing_behind: vanishing::play,
    memory_stays_where_it_was: memory::stays_flat,
    uploads_are_not_held_in_memory: memory::does_not_hold_uploads,
    content_that_is_read_at_once_is_held_once: memory::holds_content_once_that_is_read_at_once,
}

#[test]
fn files_are_served_while_the_application_takes_nothing_more() {
    mounts::files_are_served_while_the_application_takes_nothing_more();
}

#[cfg(target_os = "linux")]
#[test]
fn files_wake_no_thread_of_the_application() {
    mounts::files_wake_no_thread_of_the_application();
}

#[test]
fn worker_with_many_calls_in_a_turn_is_not_stuck() {
    standstill::worker_with_many_calls_in_a_turn_is_not_stuck();
}

#[test]
fn others_are_served_between_the_blocks_of_a_stream() {
    standstill::others_are_served_between_the_blocks_of_a_stream();
}

#[test]
fn slow_reader_gives_its_thread_up_for_another_who_waits() {
    standstill::slow_reader_gives_its_thread_up_for_another_who_waits();
}

#[test]
fn slow_reader_is_waited_for_where_nobody_needs_its_thread() {
    standstill::slow_reader_is_waited_for_where_nobody_needs_its_thread();
}

#[test]
fn signal_handler_that_raises_between_calls_ends_nothing() {
    standstill::signal_handler_that_raises_between_calls_ends_nothing();
}

#[test]
fn write_on_an_older_stack_is_refused() {
    greenlets::write_on_an_older_stack_is_refused();
}
