//! "Did you mean": the known word nearest to an unknown one.

/// The known word that is near enough to `word` to be what was meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Damerau-Levenshtein counts a swapped pair as one slip; a third of the word may be wrong, so that short words
    // are not "corrected" into something unrelated.
    let allowed = (word.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, candidate)| candidate)
}

/// The end of an error message about an unknown word: a suggestion, or all that is known.
pub(crate) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, known.iter().copied()) {
        Some(candidate) => format!(", did you mean `{candidate}`?"),
        None => format!(", known here: {}", known.join(", ")),
    }
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
        assert_eq!(hint("x", known), ", known here: duration, nodes, seeds");
    }
}
