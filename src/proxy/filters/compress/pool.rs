//! What encoders leave behind for the thread's next ones: laying their tables out costs more than compressing a small body.
//!
//! ```text
//! Pool::take ──► Pooled<State> ──drop──► the thread's pool, or nowhere where it is full
//! ```

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::thread::LocalKey;

/// States that a thread keeps of each kind: more are in use at once only where bodies are streamed, and those take longer anyway.
const KEPT: usize = 4;

pub type Pool<T> = LocalKey<RefCell<Vec<T>>>;

pub trait Reusable: Sized + 'static {
    fn pool() -> &'static Pool<Self>;
}

/// Goes back to the pool when it is dropped, in whatever condition: whoever takes it resets it.
pub struct Pooled<T: Reusable>(Option<T>);

impl<T: Reusable> Pooled<T> {
    /// One that `suits`, or a new one.
    pub fn take(suits: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> Self {
        let known = T::pool().with_borrow_mut(|kept| kept.iter().position(suits).map(|found| kept.swap_remove(found)));
        Self(Some(known.unwrap_or_else(new)))
    }
}

impl<T: Reusable> Drop for Pooled<T> {
    fn drop(&mut self) {
        let Some(state) = self.0.take() else { return };
        // Where the thread ends there is no pool any more.
        let _ = T::pool().try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() == KEPT {
                // What nobody asked for lately makes room: levels change with the configuration.
                kept.remove(0);
            }
            kept.push(state);
        });
    }
}

impl<T: Reusable> Deref for Pooled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().unwrap_or_else(|| unreachable!("only drop takes the state"))
    }
}

impl<T: Reusable> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().unwrap_or_else(|| unreachable!("only drop takes the state"))
    }
}
