//! Tells glibc to keep free memory while the server is busy, and to give it back to the system afterwards.
//!
//! | function | why it is needed |
//! |---|---|
//! | `mallopt` | by default glibc gives each large piece back as soon as it is free, and gets it again, page by page: a third of the CPU of an upload that is held in memory |
//! | `malloc_trim` | free pieces between others stay for ever, unless it is asked for them |
//!
//! No package offers them in a safe form. They take numbers, return one, and touch free memory only.

#![allow(unsafe_code)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::c_int;

    // SAFETY: the declarations are glibc's (malloc.h). Both functions are thread-safe (mallopt(3), malloc_trim(3)), and
    // no memory that is in use changes.
    unsafe extern "C" {
        pub safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
        pub safe fn malloc_trim(pad: usize) -> c_int;
    }

    pub const M_TRIM_THRESHOLD: c_int = -1;
    pub const M_MMAP_THRESHOLD: c_int = -3;
    pub const M_ARENA_MAX: c_int = -8;
}

/// Lets glibc keep free memory, up to what it would learn to keep by itself in a program that frees large
/// pieces: those of up to 32 MiB, and 64 MiB at the end of the heap (mallopt(3)). Call it before there is
/// much in the heap.
pub fn keep_what_is_free() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // Should it refuse, it is only slower.
        glibc::mallopt(glibc::M_MMAP_THRESHOLD, 32 << 20);
        glibc::mallopt(glibc::M_TRIM_THRESHOLD, 64 << 20);
    }
}

/// Lets all threads share one heap. By default each thread of a pool gets one of its own, whose end keeps up
/// to 64 MiB for ever: `malloc_trim` shortens the first heap only. Call it before the threads begin.
pub fn share_one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::mallopt(glibc::M_ARENA_MAX, 1);
}

/// Gives free memory of the heap back to the system, in all of its arenas. (Other allocators do that by themselves, or
/// cannot be asked.)
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::malloc_trim(0);
}
