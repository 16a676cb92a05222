//! Measures the memory of coders at work, which is bounded by what is said of it.

// Its tests are the library's.
#[allow(dead_code)]
#[path = "../src/coder.rs"]
mod coder;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use coder::{Coder, Coding, Effort};

/// The efforts that are made on the fly.
const EFFORTS: [Effort; 3] = [Effort::Least, Effort::Little, Effort::Much];

thread_local! {
    /// The bytes that this thread has taken and not given back, and the most that these were.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, with a sum of what each thread holds.
struct Summing;

impl Summing {
    fn note(bytes: isize) {
        let (held, most) = HELD.get();
        HELD.set((held + bytes, most.max(held + bytes)));
    }
}

// Nobody can replace the allocator without `unsafe`: its contract is that of `System`, which does the work.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Summing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Summing::note(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Summing::note(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Summing = Summing;

/// Two megabytes of text in which a coder finds enough to do, and as many of bytes in which it finds nothing.
fn contents() -> [Vec<u8>; 2] {
    let scattered = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let line = |number: u64| format!("The tide of day {:x} rises.\n", scattered(number));
    let text = (0..60_000).map(line).collect::<String>().into_bytes();
    let noise = (0..250_000).flat_map(|number| (scattered(number) ^ scattered(number) >> 29).to_le_bytes());
    [text, noise.collect()]
}

/// Returns the most memory that a coder takes while it codes this, in bytes.
fn most_held(coding: Coding, effort: Effort, content: &[u8]) -> usize {
    let before = HELD.get().0;
    HELD.set((before, before));
    let mut coder = Coder::new(coding, effort).unwrap();
    let mut coded = 0;
    // As much as a filter is given at once; with less it takes no more.
    for piece in content.chunks(64 * 1024) {
        coder.write(piece).unwrap();
        // From here on what has come out counts by itself.
        coded += coder.take().len();
    }
    coder.flush().unwrap();
    coded += coder.take().len();
    assert!(coded > 0);
    (HELD.get().1 - before) as usize
}

/// Checks that this is the most memory of a coder, neither too little nor far too much.
fn check(coding: Coding, effort: Effort, most: usize) {
    let said = coding.held_bytes(effort);
    assert!(most <= said, "{} {effort:?}: {most} bytes, not {said}", coding.name());
    assert!(most * 2 > said, "{} {effort:?}: {most} bytes, far from {said}", coding.name());
}

#[test]
fn coders_take_no_more_memory_than_is_said() {
    let contents = contents();
    // The memory of zstd is taken in C, which nobody sees here.
    for coding in Coding::ALL.into_iter().filter(|coding| coding.name() != "zstd") {
        for effort in EFFORTS {
            let held = contents.iter().map(|content| most_held(coding, effort, content));
            check(coding, effort, held.max().unwrap());
        }
    }
}

#[test]
#[cfg(feature = "dense")]
fn coders_of_zstd_take_no_more_memory_than_is_said() {
    use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

    let [text, noise] = contents();
    for effort in EFFORTS {
        let (level, window_log) = coder::zstd_parameters(effort);
        let mut context = CCtx::create();
        context.set_parameter(CParameter::CompressionLevel(level)).unwrap();
        context.set_parameter(CParameter::WindowLog(window_log)).unwrap();
        // What has come out is not the context's, and has its part of what is left.
        let in_rust = most_held(Coding::Zstd, effort, &noise);
        let (mut input, mut out) = (InBuffer::around(&text), vec![0; 4 << 20]);
        context.compress_stream(&mut OutBuffer::around(&mut out[..]), &mut input).unwrap();
        check(Coding::Zstd, effort, context.sizeof() + in_rust);
    }
}
