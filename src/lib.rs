#![doc = "temporary"]
pub mod conversation;
pub mod gateway;
pub mod limits;
pub mod message;
pub mod now;
pub use gateway::{Body, Environ, Gateway, GatewayError, StartResponse};
