//! Tests the life of the processes that serve Python applications, as an operator has it: signals, deploys,
//! crashes, and ways to start. They are real processes of the package as `pip install .` makes it.
//!
//! ```text
//! cargo test -p tidegate-wsgi --test wsgi_life
//! ```
//!
//! Nothing is awaited by sleeping: the application tells in files what it does and waits for files
//! (`wsgi/life.rs`), and the server's own sentences on stderr tell the rest.

#[allow(dead_code)] // Shared with the tests of applications.
#[path = "wsgi/environment.rs"]
mod environment;
#[path = "wsgi/life.rs"]
mod life;
#[path = "wsgi/life_behind_nginx.rs"]
mod life_behind_nginx;
#[path = "wsgi/life_deploy.rs"]
mod life_deploy;
#[path = "wsgi/life_end.rs"]
mod life_end;
#[path = "wsgi/life_start.rs"]
mod life_start;
#[path = "wsgi/life_status.rs"]
mod life_status;
#[path = "wsgi/life_stuck.rs"]
mod life_stuck;
#[path = "wsgi/life_workers.rs"]
mod life_workers;
mod support;
