//! The only unsafe code of the crate: the functions that the JVM calls, and four of its that are called back.
//!
//! Java names connectors and exchanges by numbers, which are looked up; so no call can reach memory that is gone. All bytes
//! cross in arrays of Java's, by the two functions of JNI that check their bounds. A panic ends at the border.
//!
//! | unsafe | why it is sound |
//! |---|---|
//! | functions of [`Env`] | the JVM has given the environment to this call, on this thread, and the references with it; both are used in this call only |
//! | [`Callbacks`] | the class is held by a global reference, so its methods stay valid; it is shared, since such references are of no thread |
//! | `LOOP` | it holds the environment of a call that is under way further down on the stack of the same thread |

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::ptr;
use std::sync::{Arc, OnceLock};

use jni_sys::{JNIEnv, jbyteArray, jclass, jint, jlong, jmethodID, jvalue};

use crate::calls::{self, Command, Said, Taking};
use crate::connector;
use crate::handoff::Direction;

/// The version of what both halves say to each other. A jar of another version is refused.
const VERSION: jint = 1;

/// The environment of one call from Java.
#[derive(Clone, Copy)]
pub(crate) struct Env<'a> {
    env: *mut JNIEnv,
    call: PhantomData<&'a ()>,
}

/// An array of bytes that Java has given to one call, or null, which has no part.
#[derive(Clone, Copy)]
pub(crate) struct Array<'a> {
    env: Env<'a>,
    array: jbyteArray,
}

/// Calls a function of JNI, in which version it came with.
macro_rules! jni {
    ($env:expr, $version:ident, $function:ident $(, $argument:expr)*) => {
        // SAFETY: the environment is that of a call under way on this thread; the JVM is far younger than 1.4.
        unsafe { ((**$env).$version.$function)($env $(, $argument)*) }
    };
}

impl<'a> Env<'a> {
    fn new(env: *mut JNIEnv) -> Env<'a> {
        Env { env, call: PhantomData }
    }

    fn array(self, array: jbyteArray) -> Array<'a> {
        Array { env: self, array }
    }

    /// Makes the call throw an IOException once it returns.
    fn throw(self, message: &str) {
        let ascii: String =
            message.chars().map(|c| if c.is_ascii() && c != '\0' { c } else { '?' }).collect();
        let message = CString::new(ascii).unwrap_or_default();
        let class = jni!(self.env, v1_1, FindClass, c"java/io/IOException".as_ptr());
        if !class.is_null() {
            jni!(self.env, v1_1, ThrowNew, class, message.as_ptr());
        }
    }

    /// Ends an exception of a callback: there is nobody to catch it.
    fn settle(self) {
        if jni!(self.env, v1_2, ExceptionCheck) {
            jni!(self.env, v1_1, ExceptionDescribe);
            jni!(self.env, v1_1, ExceptionClear);
        }
    }
}

impl Array<'_> {
    /// Returns the number of bytes; 0 of null, which the JVM itself does not survive being asked of.
    pub fn len(self) -> usize {
        if self.array.is_null() {
            return 0;
        }
        usize::try_from(jni!(self.env.env, v1_1, GetArrayLength, self.array)).unwrap_or(0)
    }

    /// Copies a part of the array; none if it has no such part.
    pub fn read(self, from: usize, to: usize) -> Option<Vec<u8>> {
        if self.array.is_null() || from > to || to > self.len() {
            return None;
        }
        let mut bytes = vec![0_u8; to - from];
        let (start, length) = (jint::try_from(from).ok()?, jint::try_from(bytes.len()).ok()?);
        // The vector has room for `length` bytes, and the JVM checks the bounds of the array once more.
        jni!(self.env.env, v1_1, GetByteArrayRegion, self.array, start, length, bytes.as_mut_ptr().cast());
        Some(bytes)
    }

    /// Copies bytes into the array. Returns whether it has room for them there.
    pub fn write(self, at: usize, bytes: &[u8]) -> bool {
        if self.array.is_null() || at.checked_add(bytes.len()).is_none_or(|end| end > self.len()) {
            return false;
        }
        let (Ok(start), Ok(length)) = (jint::try_from(at), jint::try_from(bytes.len())) else {
            return false;
        };
        // The slice has `length` bytes, which are only read.
        jni!(self.env.env, v1_1, SetByteArrayRegion, self.array, start, length, bytes.as_ptr().cast());
        true
    }
}

/// The methods of `tidegate.Native` that are called back.
struct Callbacks {
    class: jclass,
    signal: jmethodID,
    work: jmethodID,
    log: jmethodID,
    can_begin: jmethodID,
}

// SAFETY: a global reference and method ids may be used on every thread.
unsafe impl Send for Callbacks {}
// SAFETY: as above; they are never changed.
unsafe impl Sync for Callbacks {}

static CALLBACKS: OnceLock<Callbacks> = OnceLock::new();

/// The loop that runs on this thread.
#[derive(Clone, Copy)]
struct Loop {
    env: *mut JNIEnv,
    connector: jlong,
}

thread_local! {
    static LOOP: Cell<Option<Loop>> = const { Cell::new(None) };
    /// A job that this thread has taken, and whose block was too long for its array.
    static RETAINED: RefCell<Option<calls::Taken>> = const { RefCell::new(None) };
}

/// Calls a static method of Java's that returns nothing, on the thread of a loop. Elsewhere it does nothing.
fn call_back(method: impl Fn(&Callbacks) -> jmethodID, arguments: &[jvalue]) {
    if let (Some(Loop { env, .. }), Some(callbacks)) = (LOOP.get(), CALLBACKS.get()) {
        let method = method(callbacks);
        // The arguments are those of the method's signature.
        jni!(env, v1_1, CallStaticVoidMethodA, callbacks.class, method, arguments.as_ptr());
        Env::new(env).settle();
    }
}

/// Lets a thread go on that waits for a direction of this exchange.
pub(crate) fn signal(id: i64, direction: Direction) {
    call_back(|callbacks| callbacks.signal, &[jvalue { j: id }, jvalue { i: direction as jint }]);
}

/// Has the jobs of the connector done, on the thread of its loop.
pub(crate) fn work() {
    if let Some(Loop { connector, .. }) = LOOP.get() {
        call_back(|callbacks| callbacks.work, &[jvalue { j: connector }]);
    }
}

/// Passes a record of the log on to Java's, on the thread of a loop. Returns whether it could.
pub(crate) fn log(level: i32, message: &str) -> bool {
    with_array(message.as_bytes(), |array| {
        call_back(|callbacks| callbacks.log, &[jvalue { i: level }, jvalue { l: array }]);
    })
    .is_some()
}

/// Asks, on the thread of a loop, whether a servlet may be called before the content of its request is there.
pub(crate) fn can_begin(host: &str, path: &str) -> bool {
    let (Some(Loop { env, connector }), Some(callbacks)) = (LOOP.get(), CALLBACKS.get()) else {
        return false;
    };
    let Ok(host_length) = jint::try_from(host.len()) else { return false };
    let target = [host.as_bytes(), path.as_bytes()].concat();
    let answer = with_array(&target, |array| {
        let arguments = [jvalue { j: connector }, jvalue { l: array }, jvalue { i: host_length }];
        // The arguments are those of the method's signature.
        let answer = jni!(
            env,
            v1_1,
            CallStaticBooleanMethodA,
            callbacks.class,
            callbacks.can_begin,
            arguments.as_ptr()
        );
        Env::new(env).settle();
        answer
    });
    answer.unwrap_or(false)
}

/// Lends an array with these bytes to a call, on the thread of a loop. Returns none where there is no such array.
fn with_array<R>(bytes: &[u8], lend: impl FnOnce(jbyteArray) -> R) -> Option<R> {
    let Loop { env, .. } = LOOP.get()?;
    let env = Env::new(env);
    let length = jint::try_from(bytes.len()).ok()?;
    let array = jni!(env.env, v1_1, NewByteArray, length);
    if array.is_null() {
        env.settle();
        return None;
    }
    env.array(array).write(0, bytes);
    let result = lend(array);
    jni!(env.env, v1_1, DeleteLocalRef, array);
    Some(result)
}

/// Makes a panic the value `otherwise`.
fn guard<R>(otherwise: R, act: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or(otherwise)
}

/// Throws the error of `act`, and returns the value `otherwise` then.
fn guard_io<R: Copy>(env: Env<'_>, otherwise: R, act: impl FnOnce() -> io::Result<R>) -> R {
    let done = guard(Err(io::Error::other("the connector has panicked")), act);
    done.unwrap_or_else(|error| {
        env.throw(&error.to_string());
        otherwise
    })
}

fn connector_at(number: jlong) -> io::Result<Arc<connector::Connector>> {
    let found = usize::try_from(number).ok().and_then(connector::find);
    found.ok_or_else(|| io::Error::other("there is no such connector"))
}

/// Declares functions of `tidegate.Native`, each with a name that the JVM finds it by.
macro_rules! natives {
    ($($(#[$doc:meta])* fn $name:ident($env:ident $(, $argument:ident: $type:ty)*) $(-> $result:ty)? $body:block)*) => {
        $($(#[$doc])*
        // SAFETY: the name is that of one native method, and of nothing else.
        #[unsafe(no_mangle)]
        pub extern "system" fn $name(env: *mut JNIEnv, _: jclass $(, $argument: $type)*) $(-> $result)? {
            let $env = Env::new(env);
            $body
        })*
    };
}

natives! {
    /// Returns the version of what both halves say to each other.
    fn Java_tidegate_Native_version(_env) -> jint {
        VERSION
    }

    /// Finds the methods that are called back.
    fn Java_tidegate_Native_init(env) {
        guard((), || initialize(env));
    }

    /// Binds a connector with these settings, and returns its number.
    fn Java_tidegate_Native_bind(env, settings: jbyteArray) -> jlong {
        guard_io(env, -1, || {
            let array = env.array(settings);
            let bytes = array.read(0, array.len()).unwrap_or_default();
            let number = connector::bind(&String::from_utf8_lossy(&bytes))?;
            jlong::try_from(number).map_err(io::Error::other)
        })
    }

    /// Returns the port that a connector listens on.
    fn Java_tidegate_Native_port(env, number: jlong) -> jint {
        guard_io(env, -1, || Ok(jint::from(connector_at(number)?.port)))
    }

    /// Serves until the connector is stopped.
    fn Java_tidegate_Native_run(env, number: jlong) {
        guard_io(env, (), || {
            let connector = connector_at(number)?;
            LOOP.set(Some(Loop { env: env.env, connector: number }));
            let ran = guard(Err(io::Error::other("the event loop has panicked")), || connector.run());
            LOOP.set(None);
            ran
        });
    }

    /// Carries out the command to a connector that the number stands for: see `Native` in Java.
    fn Java_tidegate_Native_command(env, number: jlong, command: jint) {
        guard_io(env, (), || {
            let connector = connector_at(number)?;
            let command = Command::of(command).ok_or_else(|| io::Error::other("there is no such command"))?;
            calls::command(&connector, command)
        });
    }

    /// Takes a job of a connector's, after the exchange `over` has ended: see [`calls::take`].
    fn Java_tidegate_Native_take(env, number: jlong, into: jbyteArray, how: jint, over: jlong) -> jint {
        guard(calls::CLOSED, || {
            calls::close(over);
            let into = env.array(into);
            // It may have been the last of a connector that nobody finds any more.
            let taken = match RETAINED.take() {
                Some(taken) => taken,
                None => {
                    let (Ok(connector), Some(how)) = (connector_at(number), Taking::of(how)) else {
                        return calls::CLOSED;
                    };
                    match calls::take(&connector, how) {
                        Ok(taken) => taken,
                        Err(code) => return code,
                    }
                }
            };
            let length = jint::try_from(taken.block.len()).unwrap_or(jint::MAX);
            if into.write(0, &taken.block) {
                return length;
            }
            RETAINED.set(Some(taken));
            // So long must the array be.
            -length
        })
    }

    /// Gives a part of a response: see [`calls::respond`].
    fn Java_tidegate_Native_respond(env, id: jlong, block: jbyteArray, head: jint, end: jint, flags: jint) -> jint {
        guard(-1, || {
            let array = env.array(block);
            let (Some(head), Some(content)) = (part(array, 0, head), part(array, head, end)) else { return -1 };
            calls::respond(id, &head, content, flags)
        })
    }

    /// Gives a response whose content is part of a file, whose path follows the head.
    fn Java_tidegate_Native_sendFile(env, id: jlong, block: jbyteArray, head: jint, end: jint, offset: jlong, length: jlong) -> jint {
        guard(-1, || {
            let array = env.array(block);
            let (Some(head), Some(path)) = (part(array, 0, head), part(array, head, end)) else { return -1 };
            let path = PathBuf::from(OsString::from_vec(path));
            calls::send_file(id, &head, &path, offset.unsigned_abs(), length.unsigned_abs())
        })
    }

    /// Gives the fields of an interim response.
    fn Java_tidegate_Native_hint(env, id: jlong, block: jbyteArray, end: jint) -> jint {
        guard(-1, || part(env.array(block), 0, end).map_or(-1, |fields| calls::hint(id, &fields)))
    }

    /// Ends a response, with trailer fields.
    fn Java_tidegate_Native_finish(env, id: jlong, block: jbyteArray, end: jint) {
        guard((), || calls::finish(id, &part(env.array(block), 0, end).unwrap_or_default()));
    }

    /// Reads content, or from a tunnel: see [`calls::read`].
    fn Java_tidegate_Native_read(env, id: jlong, into: jbyteArray, from: jint, length: jint) -> jint {
        guard(calls::BROKEN, || {
            let (Ok(from), Ok(length)) = (usize::try_from(from), usize::try_from(length)) else {
                return calls::BROKEN;
            };
            calls::read(id, length, |bytes| env.array(into).write(from, bytes))
        })
    }

    /// Writes the trailer fields of a request into an array. Returns their bytes; 0 if there are none, or more than that.
    fn Java_tidegate_Native_trailers(env, id: jlong, into: jbyteArray) -> jint {
        guard(0, || {
            let trailers = calls::trailers(id);
            match env.array(into).write(0, &trailers) {
                true => jint::try_from(trailers.len()).unwrap_or(0),
                false => 0,
            }
        })
    }

    /// Asks whether a direction is ready, and to be told. Returns 1 if it is.
    fn Java_tidegate_Native_await(_env, id: jlong, direction: jint, asker: jint) -> jint {
        guard(1, || jint::from(calls::await_readiness(id, direction, asker)))
    }

    /// Notes what Java says of an exchange: see `Native` in Java.
    fn Java_tidegate_Native_tell(_env, id: jlong, said: jint) {
        guard((), || {
            if let Some(said) = Said::of(said) {
                calls::tell(id, said);
            }
        });
    }
}

fn part(array: Array<'_>, from: jint, to: jint) -> Option<Vec<u8>> {
    array.read(usize::try_from(from).ok()?, usize::try_from(to).ok()?)
}

fn initialize(env: Env<'_>) {
    let class = jni!(env.env, v1_1, FindClass, c"tidegate/Native".as_ptr());
    if class.is_null() {
        return;
    }
    let method = |name: &CStr, signature: &CStr| {
        jni!(env.env, v1_1, GetStaticMethodID, class, name.as_ptr(), signature.as_ptr())
    };
    let methods = [
        method(c"signal", c"(JI)V"),
        method(c"work", c"(J)V"),
        method(c"log", c"(I[B)V"),
        method(c"canBegin", c"(J[BI)Z"),
    ];
    if methods.contains(&ptr::null_mut()) {
        // The exception that says which is thrown when this returns.
        return;
    }
    let [signal, work, log, can_begin] = methods;
    let class = jni!(env.env, v1_1, NewGlobalRef, class);
    let _ = CALLBACKS.set(Callbacks { class, signal, work, log, can_begin });
    crate::logger::install();
}
