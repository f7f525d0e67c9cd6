//! The command line.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Pingora allocates some 75 times a request: with glibc's allocator a request costs a tenth more (measured).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    weir::cli::main()
}
