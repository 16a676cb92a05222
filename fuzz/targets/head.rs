//! One request head, with a byte before it that chooses the limits.
//!
//! What must hold, and why, stands with the check; what was found is kept in `tests/differential.rs`.

#![no_main]

// The checks are shared with the tests, and each target uses one of them.
#[allow(dead_code)]
#[path = "../../tests/support/differential.rs"]
mod differential;
#[allow(dead_code)]
#[path = "../../tests/support/response.rs"]
mod response;

libfuzzer_sys::fuzz_target!(|input: &[u8]| differential::check_head(input));
