//! Where answers are kept: in memory, and in files where the configuration names a folder.
//!
//! ```text
//!                    ┌─► Memory (LRU, bounded in bytes)
//! proxy ──► Store ───┤        ▲ small objects that are read
//!                    └─► Disk (an index in memory, a file per object, bounded in bytes)
//! ```
//!
//! A store is known by its name and lives as long as the process, whatever is reloaded: Pingora wants its storages so.
//! What a disk refuses, lacks or garbles is a miss, never an error. Nothing here knows of requests or of rules: what may be
//! kept, and for how long, was decided before.

mod counts;
mod disk;
mod object;
mod shelf;
mod storage;
mod store;

pub use counts::Standing;
pub use object::Object;
pub use storage::Url;
pub use store::{FOR_NOW, Store, Stores};
