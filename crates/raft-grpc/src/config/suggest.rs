//! Suggests the known name nearest to an unknown one.

/// The end of an error message about an unknown name: a suggestion, or all known names.
pub(super) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, &known) {
        Some(candidate) => format!(", did you mean `{candidate}`?"),
        None => format!(", expected one of {}", known.join(", ")),
    }
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // Damerau-Levenshtein counts a swapped pair as one error. At most a third of the name may be wrong, so that a short name gets no
    // unrelated suggestion. The beginning of a name gets a suggestion too.
    let allowed = (word.chars().count() / 3).max(1);
    let slips = known.iter().map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate));
    let slip = slips.filter(|(distance, _)| *distance <= allowed).min().map(|(_, candidate)| candidate);
    slip.or_else(|| known.iter().find(|candidate| !word.is_empty() && candidate.starts_with(word)).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_and_beginnings_get_a_suggestion() {
        let known = ["heartbeat_interval", "id", "peers"];
        assert_eq!(nearest("heartbeat_intervall", &known), Some("heartbeat_interval"));
        assert_eq!(nearest("heartbeat", &known), Some("heartbeat_interval"));
        assert_eq!(nearest("peer", &known), Some("peers"));
        assert_eq!(nearest("di", &known), Some("id"));
        assert_eq!(nearest("tls", &known), None);
        assert_eq!(nearest("", &known), None);
        assert_eq!(hint("tls", known), ", expected one of heartbeat_interval, id, peers");
    }
}
