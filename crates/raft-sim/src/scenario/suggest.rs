//! "Did you mean": suggests the known word nearest to an unknown one.

/// The known word that is similar enough to `word` to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Damerau-Levenshtein counts a swapped pair as one error. A third of the word may be wrong, so short words are not
    // "corrected" into something unrelated.
    let allowed = (word.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, candidate)| candidate)
}

/// The problem of an unknown word: a suggestion, or all known words.
pub(crate) fn unknown<'a>(what: &str, word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, known.iter().copied()) {
        Some(candidate) => format!("unknown {what} `{word}`, did you mean `{candidate}`?"),
        None => format!("unknown {what} `{word}`, known here: {}", known.join(", ")),
    }
}

/// Reads a word that must be one of these.
pub(crate) fn one_of(
    word: &str,
    what: &str,
    known: impl IntoIterator<Item = &'static str> + Clone,
) -> Result<String, String> {
    let found = known.clone().into_iter().find(|candidate| *candidate == word);
    found.map(str::to_owned).ok_or_else(|| unknown(what, word, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["duration", "nodes", "seeds"];
        assert_eq!(nearest("durration", known), Some("duration"));
        assert_eq!(nearest("node", known), Some("nodes"));
        assert_eq!(nearest("sedes", known), Some("seeds"));
        assert_eq!(nearest("clients", known), None);
        assert_eq!(unknown("field", "x", known), "unknown field `x`, known here: duration, nodes, seeds");
    }
}
