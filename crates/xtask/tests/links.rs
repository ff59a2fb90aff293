//! Every link in a page to a file or folder of this repository has a target, and none leads out of the repository.

use std::path::{Path, PathBuf};

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != ".git" {
            pages(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The targets in `[text](target)`, without anchors and without links to other sites.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links.filter(|link| !link.contains("://")).filter_map(|link| link.split('#').next()).filter(|link| !link.is_empty())
}

fn problems(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    pages(root, &mut found);
    let mut problems = Vec::new();
    for page in found {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in targets(&text) {
            let path = page.parent().unwrap().join(target);
            if !path.canonicalize().is_ok_and(|path| path.starts_with(root)) {
                problems.push(format!("{}: {target}", page.display()));
            }
        }
    }
    problems
}

#[test]
fn links_lead_somewhere_inside() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    assert_eq!(problems(&root), [""; 0]);
}

#[test]
fn dead_links_and_links_out_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap().join("root");
    std::fs::create_dir(&root).unwrap();
    let text = "[a](here.md) [b](gone.md) [c](../root/here.md#part) [d](..) [e](https://example.org/x)";
    std::fs::write(root.join("here.md"), text).unwrap();
    let problems = problems(&root);
    assert_eq!(problems.len(), 2, "{problems:?}");
}
