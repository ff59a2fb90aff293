//! Entropy from the system.

/// A random number; without entropy the time, because no secret depends on it.
pub(crate) fn number() -> u64 {
    getrandom::u64().unwrap_or_else(|_| crate::clock::now().0)
}

/// A unique id. Without entropy it fails: the time is no substitute, because two equal ids do harm.
pub(crate) fn unique() -> Result<[u8; 16], getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_equal() {
        assert_ne!(number(), number());
        assert_ne!(unique(), unique());
    }
}
