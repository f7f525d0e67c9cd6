//! A part of a model that the next model may have, too.
//!
//! ```text
//! model before: [a] [b] [c]      of ten thousand hosts a change leaves all but a few as they are:
//!                │       │        whoever compares two models compares pointers first
//! model now:    [a] [d] [c]
//! ```

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A clone shares it; a change makes a copy where somebody else has it, too.
#[derive(Clone)]
pub struct Reused<T>(Arc<T>);

impl<T> Reused<T> {
    /// Whether the two are one, not only alike.
    pub fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> From<T> for Reused<T> {
    fn from(part: T) -> Self {
        Self(Arc::new(part))
    }
}

impl<T> Deref for Reused<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Reused<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T: PartialEq> PartialEq for Reused<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same_as(other) || *self.0 == *other.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Reused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Serialize> Serialize for Reused<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_what_others_have() {
        let one = Reused::from(vec![1]);
        let mut other = one.clone();
        assert!(one.is_same_as(&other));
        other.push(2);
        assert_eq!((&*one, &*other), (&vec![1], &vec![1, 2]));
        other.pop();
        assert!(one == other && !one.is_same_as(&other), "alike, and two");
    }
}
