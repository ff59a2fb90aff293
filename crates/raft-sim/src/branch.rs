//! Branches of a run: events from which on it makes other choices than its seed. `12034:3` redraws all choices after event
//! 12034 with salt 3, `12034:3@delay` those of one site, and `12034:3#5` only the fifth choice after the event.

use crate::rng::Redrawn;
use std::fmt;

/// A point at which a run leaves its seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The number of the last record before it.
    pub event: u64,
    pub salt: u64,
    pub redrawn: Redrawn,
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.event, self.salt)?;
        match &self.redrawn {
            Redrawn::All => Ok(()),
            Redrawn::Site(site) => write!(f, "@{site}"),
            Redrawn::Single(number) => write!(f, "#{number}"),
        }
    }
}

/// The branches of a run, in the order of their events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branches(pub Vec<Branch>);

impl fmt::Display for Branches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

/// Reads branches as `12034:3, 15001:9@delay`.
///
/// # Errors
/// What was expected and what was found.
pub fn branches(text: &str) -> Result<Branches, String> {
    let wrong = |part: &str| format!("expected a branch such as 12034:3, 12034:3@delay or 12034:3#5, found `{part}`");
    let branches = text.split(',').map(|part| branch(part.trim()).ok_or_else(|| wrong(part.trim())));
    let branches = branches.collect::<Result<Vec<Branch>, String>>()?;
    match branches.windows(2).find(|pair| matches!(pair, [before, after] if after.event < before.event)) {
        Some([before, after]) => {
            Err(format!("expected branches in the order of their events, found {before} before {after}"))
        }
        _ => Ok(Branches(branches)),
    }
}

fn branch(text: &str) -> Option<Branch> {
    let (event, rest) = text.split_once(':')?;
    let (salt, redrawn) = match (rest.split_once('@'), rest.split_once('#')) {
        (Some((salt, site)), _) => (salt, Redrawn::Site(Some(site).filter(|site| !site.is_empty())?.to_owned())),
        (None, Some((salt, number))) => (salt, Redrawn::Single(number.parse().ok().filter(|number| *number > 0)?)),
        (None, None) => (rest, Redrawn::All),
    };
    Some(Branch { event: event.parse().ok()?, salt: salt.parse().ok()?, redrawn })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_read_as_it_is_shown() {
        for text in ["12034:3", "12034:3, 15001:9@request delay", "0:1#7, 0:2"] {
            assert_eq!(branches(text).map(|read| read.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "7", "7:", "a:1", "7:1@", "7:1#0", "7:1,", "9:1, 7:1"] {
            assert!(branches(text).is_err(), "{text}");
        }
    }
}
