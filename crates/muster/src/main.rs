//! The program, with its own connectors and no others.

use std::process::ExitCode;

/// Batches of rows come and go; the usual allocator keeps half as much memory again for them. Its settings are in
/// `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    muster_host::run(Vec::new())
}
