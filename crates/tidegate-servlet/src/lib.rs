//! Servlets in process: tidegate as the connector of an unmodified Tomcat.
//!
//! Java starts, with the user's flags, and loads this library (`libtidegate_servlet.so`). What Tomcat wants of a connector is
//! in `tidegate-servlet.jar`, whose sources stand in `java/`. One line of `server.xml` makes the change:
//!
//! ```text
//! <Connector protocol="tidegate.TidegateProtocol" port="8080"/>
//! ```
//!
//! The container is the real Catalina, and nothing stands between it and the event loop:
//!
//! ```text
//!   tidegate                                            │ Java
//!                                                       │
//!   Environ ──▶ Request: one block of bytes ──▶ Jobs ───┼─▶ Endpoint.Worker: take ──▶ Channel, Exchange
//!               (request.rs)               (jobs.rs)    │                                     │
//!                                                       │   ConnectionHandler, AbstractProcessor (Tomcat's)
//!                                                       │                                     │
//!   socket ◀── Later, BodyStream, Tunnel ◀── Handoff ◀──┼── respond, read, await ◀──  CoyoteAdapter, servlet
//!                                        (handoff.rs)   │
//!                         signal, Job::Event ───────────┼─▶ a thread that waits, or Channel.process
//! ```
//!
//! # Who does what
//!
//! Tomcat sees a kind of network of its own: an `AbstractEndpoint` ([`Endpoint`]) with sockets (`SocketWrapperBase`:
//! [`Channel`], one for each exchange) and a processor that speaks its protocol (`AbstractProcessor`: [`Exchange`]). So what
//! is hard about servlets is done by Tomcat itself: its state machine of asynchronous requests, their timeouts, dispatches,
//! listeners that read and write without blocking, and upgrades. What is left for us is what a socket does.
//!
//! | Java | is | by way of |
//! |---|---|---|
//! | `TidegateProtocol` | the connector: attributes, life | `Endpoint` |
//! | `Endpoint` | the thread of the loop, and those that call servlets | `connector.rs`, `jobs.rs` |
//! | `Channel` | one exchange as a socket; after an upgrade the connection | `handoff.rs` |
//! | `Exchange` | a request made Catalina's, its response given back | `request.rs`, `head.rs` |
//! | `Native` | the functions of the border | `ffi.rs`, `calls.rs` |
//!
//! # The border
//!
//! A request crosses as one block of bytes, into an array that belongs to its `Channel`; what Tomcat knows of method, path and
//! fields are ranges of that array. A response that is short, and complete when the servlet returns, crosses as one
//! block, too. So an ordinary exchange takes two calls, `take` and `respond`, and no text is made of what nobody asks for.
//!
//! Java names exchanges by numbers with generations (`exchanges.rs`), and never holds a pointer of ours. Bytes are copied by the two
//! functions of JNI that check bounds. All that is unsafe stands in `ffi.rs`; a panic ends there.
//!
//! # Threads
//!
//! A request is complete, content and all, before a thread is taken for it: no slow client holds one. There are two
//! exceptions, where the servlet reads content as it comes: a request that says `Expect: 100-continue`, whose client is asked
//! when somebody reads, since a servlet may refuse the content by the head; and content longer than `maxCollectedSize`. On the thread of the
//! loop there is none. What a servlet writes waits in its
//! `Handoff` for its client, up to `responseMemory`; beyond that the thread waits, until the client has read on or the
//! server's limits end it. A thread waits in Java (`LockSupport.park`), never in native code: there it can be interrupted and
//! seen, and a virtual one lets go of its carrier. The loop calls it by `signal`; whoever registered interest without a
//! thread gets an event through the queue.
//!
//! | `threads`, `useVirtualThreads` | servlets run | for |
//! |---|---|---|
//! | 200, false (default) | on threads of the system that come as they are needed; at most one is woken at a time | everything |
//! | …, true | on a virtual thread for each request, bounded by `threads` | applications that wait a lot, from Java 21 on |
//! | 1 | on the thread of the loop, in each of its turns | those that never wait: nobody else is served meanwhile |
//!
//! A servlet that has not begun its answer after `requestTimeout` (30 s) loses its client to a 504, and stands in the log
//! with its stack. One that is asynchronous has Tomcat's timeout instead.
//!
//! # What is judged
//!
//! Status and fields are judged by the rules for every application (`head.rs`): a CR or LF in a value, a Transfer-Encoding
//! or a status of 99 is a 500, with the reason in the log. Content that is shorter than its Content-Length, or an error after
//! a part was sent, breaks the connection off in a way that the client can tell; what is longer is cut.
//!
//! # Life
//!
//! `pause` leaves requests unread; `closeServerSocketGraceful` drains; `stop` drains for `drainTimeout` (5 s) and cuts what is
//! left. A connector can be started again. The process is Java's: it is never forked, and its signals are not touched.
//!
//! [`Endpoint`]: https://tomcat.apache.org/tomcat-10.1-doc/api/org/apache/tomcat/util/net/AbstractEndpoint.html
//! [`Channel`]: https://tomcat.apache.org/tomcat-10.1-doc/api/org/apache/tomcat/util/net/SocketWrapperBase.html
//! [`Exchange`]: https://tomcat.apache.org/tomcat-10.1-doc/api/org/apache/coyote/AbstractProcessor.html

mod calls;
mod connector;
mod exchanges;
mod ffi;
mod gateway;
mod handoff;
mod head;
mod logger;
mod request;
mod settings;

/// The jar with the Java half; none where it could not be built, for want of Java or Tomcat.
pub const JAR: Option<&str> = option_env!("TIDEGATE_JAR");

/// The command that installs what the jar is built from, and needs to run, on Debian and Ubuntu.
pub const INSTALL: &str = env!("TIDEGATE_INSTALL");
