//! What parts say, each once, for as long as one of them says it.
//!
//! ```text
//! part 1: a b ─┐
//! part 2:   b c┴─► Tally: a×1 b×2 c×1 ──part 2 takes back──► a×1 b×1
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::RangeFrom;

#[derive(Debug)]
pub struct Tally<K, V>(BTreeMap<K, Said<V>>);

#[derive(Debug)]
struct Said<V> {
    what: V,
    times: usize,
}

impl<K, V> Default for Tally<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, V: PartialEq> Tally<K, V> {
    /// Parts agree on what belongs to a key; where they do not, the cluster has changed, and the last one knows. What is said
    /// again stays the same object. Returns what is to be taken back with [`Self::take_back`].
    pub fn add(&mut self, said: impl IntoIterator<Item = (K, V)>) -> Vec<K> {
        let add = |(key, what): (K, V)| {
            match self.0.entry(key.clone()) {
                Entry::Vacant(place) => drop(place.insert(Said { what, times: 1 })),
                Entry::Occupied(place) => {
                    let known = place.into_mut();
                    known.times += 1;
                    if known.what != what {
                        known.what = what;
                    }
                }
            }
            key
        };
        said.into_iter().map(add).collect()
    }

    pub fn take_back(&mut self, keys: Vec<K>) {
        for key in keys {
            if let Entry::Occupied(mut place) = self.0.entry(key) {
                place.get_mut().times -= 1;
                if place.get().times == 0 {
                    place.remove();
                }
            }
        }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key).map(|said| &said.what)
    }

    /// In the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, said)| (key, &said.what))
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values().map(|said| &said.what)
    }

    pub fn range(&self, keys: RangeFrom<K>) -> impl Iterator<Item = (&K, &V)> {
        self.0.range(keys).map(|(key, said)| (key, &said.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_say_stays_until_both_have_taken_it_back() {
        let mut tally = Tally::default();
        let first = tally.add([("a", 1), ("b", 2)]);
        let second = tally.add([("b", 2), ("c", 3)]);
        tally.take_back(first);
        assert_eq!(tally.iter().collect::<Vec<_>>(), [(&"b", &2), (&"c", &3)]);
        tally.take_back(second);
        assert_eq!(tally.iter().count(), 0);
    }

    #[test]
    fn the_last_one_knows_how_it_is_now() {
        let mut tally = Tally::default();
        let before = tally.add([("a", 1)]);
        tally.add([("a", 2)]);
        tally.take_back(before);
        assert_eq!(tally.get(&"a"), Some(&2));
    }
}
