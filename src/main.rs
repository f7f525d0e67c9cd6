//! The command line.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Pingora allocates some 75 times a request: with glibc's allocator a request costs a tenth more (measured).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages, and any small thing holds 2 MiB of one: after half an hour of steady traffic 30 of 70 MB were
    // such. Requests cost the same without them (both measured). A kernel that has none is fine.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    weir::cli::main()
}
