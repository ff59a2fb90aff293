//! The nodes that a step means: `leader`, `followers`, `all`, `random`, `n1 n2`; links `n1>n3`; groups `n1 n2 | n3`.

use super::model::{Links, Targets};
use super::suggest;
use super::units;
use raft_core::NodeId;
use std::collections::BTreeSet;

const WORDS: [(&str, Targets); 4] = [
    ("leader", Targets::Leader),
    ("followers", Targets::Followers),
    ("all", Targets::All),
    ("random", Targets::Random),
];

/// Reads `n1 n2` or `1,2` into nodes.
pub(crate) fn nodes(text: &str, nodes: u64) -> Result<BTreeSet<NodeId>, String> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let set: BTreeSet<NodeId> = words.map(|word| units::node(word, nodes)).collect::<Result<_, _>>()?;
    if set.is_empty() { Err("no node is named".to_owned()) } else { Ok(set) }
}

/// Reads a word for nodes, or nodes.
pub(crate) fn targets(text: &str, count: u64) -> Result<Targets, String> {
    let text = text.trim();
    if let Some((_, targets)) = WORDS.iter().find(|(word, _)| *word == text) {
        return Ok(targets.clone());
    }
    nodes(text, count).map(Targets::Nodes).map_err(|message| {
        let near = suggest::nearest(text, WORDS.iter().map(|(word, _)| *word));
        near.map_or(message, |word| format!("unknown node `{text}`, did you mean `{word}`?"))
    })
}

/// Reads `n1>n3` (one way) or `n1<>n3` (both); either side as in [`targets`].
pub(crate) fn links(text: &str, count: u64) -> Result<Links, String> {
    let (from, to, one_way) = match (text.split_once("<>"), text.split_once('>')) {
        (Some((from, to)), _) => (from, to, false),
        (None, Some((from, to))) => (from, to, true),
        (None, None) => {
            return Err(format!("expected a link such as \"n1>n3\" (one way) or \"n1<>n3\" (both), found `{text}`"));
        }
    };
    Ok(Links { from: targets(from, count)?, to: targets(to, count)?, one_way })
}

/// Reads `n1 n2 | n3 n4 n5`. No node may be in two groups.
pub(crate) fn groups(text: &str, count: u64) -> Result<Vec<BTreeSet<NodeId>>, String> {
    let groups: Vec<BTreeSet<NodeId>> = text.split('|').map(|group| nodes(group, count)).collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    match groups.iter().flatten().find(|id| !seen.insert(**id)) {
        Some(id) => Err(format!("{id} is in two groups")),
        None => Ok(groups),
    }
}

/// Writes nodes so that [`nodes`] reads the same.
pub(crate) fn show_nodes(nodes: &BTreeSet<NodeId>) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Writes groups so that [`groups`] reads the same.
pub(crate) fn show_groups(groups: &[BTreeSet<NodeId>]) -> String {
    groups.iter().map(show_nodes).collect::<Vec<_>>().join(" | ")
}

/// Writes links so that [`links`] reads the same.
pub(crate) fn show_links(links: &Links) -> String {
    format!("{}{}{}", show(&links.from), if links.one_way { ">" } else { "<>" }, show(&links.to))
}

/// Writes targets so that [`targets`] reads the same.
pub(crate) fn show(targets: &Targets) -> String {
    if let Targets::Nodes(nodes) = targets {
        return show_nodes(nodes);
    }
    WORDS.iter().find(|(_, word)| word == targets).map_or_else(String::new, |(word, _)| (*word).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u64]) -> BTreeSet<NodeId> {
        numbers.iter().map(|&number| NodeId(number)).collect()
    }

    #[test]
    fn words_nodes_links_and_groups() {
        assert_eq!(targets("leader", 3), Ok(Targets::Leader));
        assert_eq!(targets("n1 n3", 3), Ok(Targets::Nodes(ids(&[1, 3]))));
        assert_eq!(targets("1,3", 3), Ok(Targets::Nodes(ids(&[1, 3]))));
        assert_eq!(targets("leadr", 3), Err("unknown node `leadr`, did you mean `leader`?".to_owned()));
        assert_eq!(targets("n4", 3), Err("unknown node `n4`: this scenario has n1 to n3".to_owned()));
        assert_eq!(targets("", 3), Err("no node is named".to_owned()));
        let one_way = links("1>3", 3).expect("a link");
        assert_eq!((one_way.from, one_way.to), (Targets::Nodes(ids(&[1])), Targets::Nodes(ids(&[3]))));
        assert!(one_way.one_way && !links("leader<>followers", 3).expect("a link").one_way);
        assert!(links("1-3", 3).is_err());
        assert_eq!(groups("n1 n2 | n3", 3), Ok(vec![ids(&[1, 2]), ids(&[3])]));
        assert_eq!(groups("n1 | n1", 3), Err("n1 is in two groups".to_owned()));
    }
}
