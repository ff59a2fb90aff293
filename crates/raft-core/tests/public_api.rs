//! `docs/api.txt` against the sources: a change of the public API is seen as what it is, a line in a diff.
//!
//! The list is made from the sources alone. Modules are private and the compiler refuses `pub` on what cannot be reached,
//! so what is `pub` here is the API. To accept a change: `UPDATE_API=1 cargo test -p raft-core --test public_api`.

use quote::ToTokens;
use std::fs;
use std::path::{Path, PathBuf};
use syn::{Fields, ImplItem, Item, Visibility};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Tokens as people write them.
fn text(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (from, to) in [
        (" < ", "<"),
        (" >", ">"),
        (" ,", ","),
        (" :: ", "::"),
        (" : ", ": "),
        ("& ", "&"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" ;", ";"),
        ("< ", "<"),
    ] {
        text = text.replace(from, to);
    }
    text
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The fields of a struct or a variant: all of them in a variant, the public ones in a struct.
fn fields(fields: &Fields, all: bool) -> String {
    let shown = fields.iter().filter(|field| all || is_public(&field.vis));
    let shown: Vec<String> = shown
        .map(|field| match &field.ident {
            Some(name) => format!("{name}: {}", text(&field.ty)),
            None => text(&field.ty),
        })
        .collect();
    match fields {
        Fields::Named(_) => format!(" {{ {} }}", shown.join(", ")),
        Fields::Unnamed(_) => format!("({})", shown.join(", ")),
        Fields::Unit => String::new(),
    }
}

/// The lines that an item adds to the list.
fn lines(item: &Item, into: &mut Vec<String>) {
    match item {
        Item::Use(item) if is_public(&item.vis) => into.push(format!("use {}", text(&item.tree))),
        Item::Fn(item) if is_public(&item.vis) => into.push(text(&item.sig)),
        Item::Const(item) if is_public(&item.vis) => into.push(format!("const {}: {}", item.ident, text(&item.ty))),
        Item::Struct(item) if is_public(&item.vis) => {
            into.push(format!("struct {}{}", item.ident, fields(&item.fields, false)));
        }
        Item::Enum(item) if is_public(&item.vis) => {
            into.push(format!("enum {}", item.ident));
            for variant in &item.variants {
                into.push(format!("{}::{}{}", item.ident, variant.ident, fields(&variant.fields, true)));
            }
        }
        Item::Impl(item) if item.trait_.is_none() => {
            for member in &item.items {
                match member {
                    ImplItem::Fn(member) if is_public(&member.vis) => {
                        into.push(format!("{}::{}", text(&item.self_ty), text(&member.sig)));
                    }
                    ImplItem::Const(member) if is_public(&member.vis) => {
                        into.push(format!("{}::const {}: {}", text(&item.self_ty), member.ident, text(&member.ty)));
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// The public API of sources, a line each, in order.
fn api(sources: &[String]) -> String {
    let mut all = Vec::new();
    for source in sources {
        let file = syn::parse_file(source).expect("the compiler has read it, too");
        file.items.iter().for_each(|item| lines(item, &mut all));
    }
    all.sort();
    all.join("\n") + "\n"
}

#[test]
fn the_list_is_what_the_sources_say() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder("src")).expect("sources").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let sources: Vec<String> = files.iter().map(|file| fs::read_to_string(file).expect("text")).collect();
    let (now, path) = (api(&sources), folder("../../docs/api.txt"));
    if std::env::var_os("UPDATE_API").is_some() {
        fs::write(&path, &now).expect("the list can be written");
    }
    let listed = fs::read_to_string(&path).unwrap_or_default();
    let news: Vec<&str> = now.lines().filter(|line| !listed.lines().any(|other| other == *line)).collect();
    let gone: Vec<&str> = listed.lines().filter(|line| !now.lines().any(|other| other == *line)).collect();
    assert!(now == listed, "docs/api.txt lacks {news:#?} and has {gone:#?}: run with UPDATE_API=1 if that is meant");
}

#[test]
fn what_is_public_is_listed_and_nothing_else() {
    let source = "pub struct A { pub b: Vec<u8>, c: u8 } pub(crate) struct D; pub enum E { F { g: u8 }, H(A) }
        impl A { pub fn i(&self, j: &[u8]) -> Option<E> { None } fn k() {} } pub const L: u64 = 1; fn m() {}";
    let expected = "A::fn i(&self, j: &[u8]) -> Option<E>\nE::F { g: u8 }\nE::H(A)\nconst L: u64\nenum E\nstruct A { b: Vec<u8> }\n";
    assert_eq!(api(&[source.to_owned()]), expected);
}
