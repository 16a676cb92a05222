//! The only unsafe code of the crate: the functions that the JVM calls, and those of it that are called back.

#![allow(unsafe_code)]

use jni_sys::{JNIEnv, jclass, jint};

/// The version of what both halves say to each other. A jar of another version is refused.
const VERSION: jint = 1;

/// `static native int version()` of `tidegate.Native`.
// SAFETY: the name is that of one native method, and of nothing else.
#[unsafe(no_mangle)]
pub extern "system" fn Java_tidegate_Native_version(_: *mut JNIEnv, _: jclass) -> jint {
    VERSION
}
