//! Counts allocations of the server for one request of a small file, as the library's bench of the same name does for other
//! requests: calls of the allocator by the thread of the event loop. It has the same options.

#[path = "../../../benches/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use support::Failure;
use support::allocations::{Counting, count_served, figures};
use support::load::{FILE, Load};
use tidegate_files::{FileCache, StaticFiles};

const LOAD: Load =
    Load { name: "file", connections: 16, depth: 1, request: FILE, content_bytes: 0, code: 200 };

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<ExitCode, Failure> {
    let patient = FileCache { valid_for: Duration::from_secs(3_600), ..FileCache::default() };
    let files = StaticFiles::new(support::folder()?)?.file_cache(patient);
    figures(vec![count_served(files, &LOAD)?]).settle()
}
