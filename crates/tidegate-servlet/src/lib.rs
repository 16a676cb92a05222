//! Servlets in process: tidegate as the connector of an unmodified Tomcat.
//!
//! Java starts, with the user's flags, and loads this library (`libtidegate_servlet.so`). What Tomcat needs of a connector is
//! in `tidegate-servlet.jar`, whose sources stand in `java/`: `tidegate.TidegateProtocol`.

mod calls;
mod connector;
mod exchanges;
mod ffi;
mod gateway;
mod handoff;
mod head;
mod jobs;
mod logger;
mod request;
mod settings;

/// The jar with the Java half; none where it could not be built, for want of Java or Tomcat.
pub const JAR: Option<&str> = option_env!("TIDEGATE_JAR");

/// The command that installs what the jar is built from, and needs to run, on Debian and Ubuntu.
pub const INSTALL: &str = env!("TIDEGATE_INSTALL");
