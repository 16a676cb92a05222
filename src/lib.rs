#![doc = "temporary"]
pub mod conversation;
pub mod gateway;
pub mod limits;
pub mod message;
pub mod now;
pub mod protocol;
mod reactor;
pub mod server;
pub use gateway::{Body, Environ, Gateway, GatewayError, StartResponse};
pub use server::{AccessLog, BoundServer, ListenAddress, Server, ServerHandle, serve};
pub mod access_log;
pub mod adapters;
