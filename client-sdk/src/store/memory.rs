//! A store that ends with the app: for devices that keep nothing, and for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{KeyValue, LocalStore, LocalStoreError, Scan};

/// Its clones are the same store, as if opened again: a test can "restart the app" on it.
#[derive(Debug, Clone, Default)]
pub struct VolatileStore(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What was before each write since the last commit, oldest first.
    before: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl VolatileStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        let before = match value {
            Some(value) => self.pairs.insert(key.to_vec(), value),
            None => self.pairs.remove(key),
        };
        self.before.push((key.to_vec(), before));
    }
}

impl LocalStore for VolatileStore {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, LocalStoreError> {
        Ok(self.lock().pairs.get(key).cloned())
    }

    fn scan(&mut self, from: &[u8], to: &[u8], order: Scan, limit: usize) -> Result<Vec<KeyValue>, LocalStoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let contents = self.lock();
        let range = contents.pairs.range(from.to_vec()..to.to_vec()).map(|(key, value)| (key.clone(), value.clone()));
        Ok(match order {
            Scan::Forward => range.take(limit).collect(),
            Scan::Backward => range.rev().take(limit).collect(),
        })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), LocalStoreError> {
        self.lock().set(key, Some(value.to_vec()));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), LocalStoreError> {
        self.lock().set(key, None);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), LocalStoreError> {
        self.lock().before.clear();
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), LocalStoreError> {
        let mut contents = self.lock();
        while let Some((key, before)) = contents.before.pop() {
            match before {
                Some(value) => contents.pairs.insert(key, value),
                None => contents.pairs.remove(&key),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_store() {
        let mut stores = Vec::new();
        super::super::conformance::check(|name| {
            let known = stores.iter().find(|(known, _): &&(String, VolatileStore)| known == name);
            let store = known.map_or_else(VolatileStore::new, |(_, store)| store.clone());
            // Opened anew: what a killed app had not committed is gone.
            store.clone().rollback().unwrap();
            stores.push((name.to_owned(), store.clone()));
            store
        });
    }
}
