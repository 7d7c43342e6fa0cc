//! What this device may be let in with, in the order in which the engine tries it. More than one while it is not certain
//! which is good: one that it was given and has not used may have been replaced since by a repeated call, and an app may
//! bring another than the store has.

/// The passwords that the device may be let in with, and which one is tried. Not `Debug`: it has passwords.
pub(crate) struct Passwords {
    all: Vec<String>,
    at: usize,
}

impl Passwords {
    /// The same twice counts once.
    pub(crate) fn new(given: impl IntoIterator<Item = String>) -> Self {
        let mut all = Vec::new();
        for password in given {
            if !all.contains(&password) {
                all.push(password);
            }
        }
        Self { all, at: 0 }
    }

    /// For the next connection.
    pub(crate) fn current(&self) -> &str {
        self.all.get(self.at).map_or("", String::as_str)
    }

    /// The server does not take the current one. Whether there is another; otherwise they are tried once more, later.
    pub(crate) fn refused(&mut self) -> bool {
        self.at = (self.at + 1) % self.all.len().max(1);
        self.at > 0
    }

    /// The server takes the current one, and no other is needed. Returns it if that was not certain before.
    pub(crate) fn accepted(&mut self) -> Option<String> {
        if self.all.len() < 2 {
            return None;
        }
        let current = self.current().to_owned();
        *self = Self::new([current.clone()]);
        Some(current)
    }

    /// The device was given a new one, which it has not used.
    pub(crate) fn renewed(&mut self, password: String) {
        let used = self.current().to_owned();
        *self = Self::new([password, used]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords(all: &[&str]) -> Passwords {
        Passwords::new(all.iter().map(|password| (*password).to_owned()))
    }

    #[test]
    fn each_is_tried_until_one_is_taken() {
        let mut it = passwords(&["new", "old", "new"]);
        assert_eq!(it.current(), "new");
        assert!(it.refused());
        assert_eq!(it.current(), "old");
        assert!(!it.refused());
        assert_eq!(it.current(), "new", "from the first");
        assert!(it.refused());
        assert_eq!(it.accepted().as_deref(), Some("old"));
        assert!(it.accepted().is_none() && !it.refused());
        assert_eq!(it.current(), "old");
    }

    #[test]
    fn one_that_was_never_used_stands_before_the_one_that_was() {
        let mut it = passwords(&["old"]);
        it.renewed("new".to_owned());
        assert_eq!(it.current(), "new");
        assert!(it.refused());
        assert_eq!(it.current(), "old");
    }
}
