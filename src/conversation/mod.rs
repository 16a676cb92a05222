//! temporary
pub mod journal;
pub use journal::*;
