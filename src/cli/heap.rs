//! Memory that is free goes back to the system: glibc keeps it, unless it is asked.
//!
//! | function | why it is needed |
//! |---|---|
//! | `malloc_trim` | no package offers it in a safe form; it takes a number, returns one, and touches free memory only |

#![allow(unsafe_code)]

/// Gives free memory of the heap back to the system, in all of its arenas.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn give_back() {
    use std::ffi::c_int;

    // SAFETY: the declaration is glibc's (malloc.h). The function is thread-safe (malloc_trim(3)), and no memory that
    // is in use changes.
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> c_int;
    }
    malloc_trim(0);
}

/// Other allocators give back by themselves what they do not need, or cannot be asked.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}
