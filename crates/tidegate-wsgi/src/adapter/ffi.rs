//! The only unsafe code of the crate: four things that neither Rust nor PyO3 offers in a safe form.
//!
//! | function | why it is needed |
//! |---|---|
//! | [`latin1`] | PEP 3333 strings are latin-1, each byte one character; PyO3 makes strings of UTF-8 only, and decoding byte by byte would cost half of a browser's head |
//! | [`lend`], [`with_outlet`] | `write()` is called by Python while the answer it writes to is borrowed on the stack below |
//! | [`reference_count`] | callables are used again if nobody else has one |
//! | [`duplicate_descriptor`] | `fd://N` and files of Python are numbers, which Rust takes for nothing that could be owned |

#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::outlet::Outlet;
use super::stack::is_on_own_stack;

/// Makes a string of one character for each byte.
pub(super) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    // A slice is never longer than `isize::MAX`.
    let length = bytes.len().cast_signed();
    // SAFETY: pointer and length are those of a slice, which is only read; the interpreter is attached,
    // as `py` shows. The result is a new reference to a string, or null with an exception set.
    unsafe {
        let string = pyo3::ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), length, std::ptr::null());
        Ok(Bound::from_owned_ptr_or_err(py, string)?.cast_into_unchecked())
    }
}

/// Returns the number of references to an object.
pub(super) fn reference_count<T>(_py: Python<'_>, object: &Py<T>) -> isize {
    // SAFETY: the object is alive, since `object` refers to it; the interpreter is attached.
    unsafe { pyo3::ffi::Py_REFCNT(object.as_ptr()) }
}

thread_local! {
    /// The destination of `write()` during the call that runs on this thread.
    static OUTLET: Cell<Option<Lent>> = const { Cell::new(None) };
}

/// An outlet and its owner: an application may have kept the `write` of another request.
#[derive(Clone, Copy)]
struct Lent {
    outlet: NonNull<dyn Outlet>,
    owner: Owner,
}

/// Identifies a call under way, by the address of something that belongs to it alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner(usize);

impl Owner {
    pub fn of<T>(call: &T) -> Owner {
        Owner(std::ptr::from_ref(call).addr())
    }
}

/// Lends `outlet` to [`with_outlet`] on this thread while `call` runs.
pub(super) fn lend<R>(owner: Owner, outlet: &mut (dyn Outlet + '_), call: impl FnOnce() -> R) -> R {
    /// Takes the loan back, however the call ends.
    struct Loan(Option<Lent>);

    impl Drop for Loan {
        fn drop(&mut self) {
            OUTLET.set(self.0);
        }
    }

    let borrowed = NonNull::from(outlet);
    // SAFETY: only the lifetime is erased. The pointer is in OUTLET until `_loan` is dropped, at the
    // latest when this function is left, and `outlet` is borrowed for that long: nobody else uses it.
    let lent =
        unsafe { std::mem::transmute::<NonNull<dyn Outlet + '_>, NonNull<dyn Outlet + 'static>>(borrowed) };
    let _loan = Loan(OUTLET.replace(Some(Lent { outlet: lent, owner })));
    call()
}

/// Uses the outlet that is lent on this thread to this owner; none if it is not lent, or in use already.
pub(super) fn with_outlet_of<R>(
    py: Python<'_>,
    owner: Owner,
    act: impl FnOnce(&mut dyn Outlet) -> R,
) -> Option<R> {
    OUTLET.get().filter(|lent| lent.owner == owner).and_then(|_| with_outlet(py, act))
}

/// Uses the outlet that is lent on this thread; none if there is none, or if it is in use already.
pub(super) fn with_outlet<R>(py: Python<'_>, act: impl FnOnce(&mut dyn Outlet) -> R) -> Option<R> {
    /// Puts the outlet back, however `act` ends.
    struct InUse(Lent);

    impl Drop for InUse {
        fn drop(&mut self) {
            OUTLET.set(Some(self.0));
        }
    }

    if !is_on_own_stack(py) {
        return None;
    }
    let mut in_use = InUse(OUTLET.take()?);
    // SAFETY: the pointer was in OUTLET, so it is that of an outlet that `lend`, further down on this
    // thread's stack, keeps borrowed; and that stack is there, and no greenlet's in its place. The
    // pointer was taken out of OUTLET, so that there is no second reference as long as this one lives.
    let outlet = unsafe { in_use.0.outlet.as_mut() };
    Some(act(outlet))
}

/// Duplicates the descriptor with this number, which stays open: whoever has opened it closes it. Programs
/// that this one starts do not inherit the duplicate.
///
/// # Errors
/// Returns the error of the system when no descriptor has this number, or when there is none left for the
/// duplicate.
pub(crate) fn duplicate_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a descriptor has no negative number"));
    }
    // SAFETY: it is not -1, and it is borrowed for one system call, which itself finds out whether there is a descriptor
    // of this number: nothing is done with it, and it is not closed.
    unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()
}
