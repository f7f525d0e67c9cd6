//! What a request wants of a file, whichever lane it travels in.
//!
//! ```text
//! Accept-Encoding ──► Folder::find ──► FoundFile ──preconditions──► 200, 304, 412 ──Range──► 206, 416
//! ```

mod precondition;
mod range;

pub use precondition::{Preconditions, Standing, expressible};
pub use range::{Part, range};
