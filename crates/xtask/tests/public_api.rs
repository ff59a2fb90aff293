//! `docs/api/` against the sources: a change of a crate's public API shows as lines in a diff.
//!
//! The lists depend on the sources alone. The compiler refuses `pub` on an unreachable item, so every `pub` item is
//! API; a public module prefixes its items. To accept a change: `UPDATE_API=1 cargo test -p xtask --test public_api`.

use quote::ToTokens;
use std::fs;
use std::path::{Path, PathBuf};
use syn::{Attribute, Fields, ImplItem, Item, TraitItem, Visibility};

/// The crates with a list.
const CRATES: [&str; 4] = ["raft-core", "raft-node", "raft-store", "raft-client"];

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Tokens with the usual spaces.
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
        Item::Type(item) if is_public(&item.vis) => into.push(format!("type {} = {}", item.ident, text(&item.ty))),
        Item::Struct(item) if is_public(&item.vis) => {
            into.push(format!("struct {}{}", item.ident, fields(&item.fields, false)));
        }
        Item::Enum(item) if is_public(&item.vis) => {
            into.push(format!("enum {}", item.ident));
            for variant in &item.variants {
                into.push(format!("{}::{}{}", item.ident, variant.ident, fields(&variant.fields, true)));
            }
        }
        Item::Trait(item) if is_public(&item.vis) => {
            into.push(format!("trait {}{}", item.ident, text(&item.generics)));
            into.extend(item.items.iter().filter_map(|member| match member {
                TraitItem::Fn(member) => Some(format!("{}::{}", item.ident, text(&member.sig))),
                TraitItem::Type(member) => {
                    Some(format!("{}::type {}: {}", item.ident, member.ident, text(&member.bounds)))
                }
                _ => None,
            }));
        }
        Item::Impl(item) if item.trait_.is_none() => {
            into.extend(item.items.iter().filter_map(|member| match member {
                ImplItem::Fn(member) if is_public(&member.vis) => {
                    Some(format!("{}::{}", text(&item.self_ty), text(&member.sig)))
                }
                ImplItem::Const(member) if is_public(&member.vis) => {
                    Some(format!("{}::const {}: {}", text(&item.self_ty), member.ident, text(&member.ty)))
                }
                _ => None,
            }));
        }
        _ => {}
    }
}

/// Whether a module is omitted: a module of tests, or one hidden from the documentation.
fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().map(text).any(|attribute| attribute.contains("cfg(test") || attribute.contains("doc(hidden"))
}

/// The lines of a file, and of the modules that it declares in `folder`.
fn module(source: &str, folder: &Path, prefix: &str, into: &mut Vec<String>) {
    let mut own = Vec::new();
    for item in syn::parse_file(source).expect("the compiler accepts this file").items {
        lines(&item, &mut own);
        let Item::Mod(item) = item else { continue };
        if item.content.is_some() || is_hidden(&item.attrs) {
            continue;
        }
        let name = item.ident.to_string();
        let inner = folder.join(&name);
        let files = [folder.join(format!("{name}.rs")), inner.join("mod.rs")];
        let source = files.iter().find_map(|file| fs::read_to_string(file).ok());
        let source = source.unwrap_or_else(|| panic!("no file for module {name} in {}", folder.display()));
        let public = is_public(&item.vis).then(|| format!("{prefix}{name}::"));
        module(&source, &inner, public.as_deref().unwrap_or(prefix), into);
    }
    into.extend(own.into_iter().map(|line| format!("{prefix}{line}")));
}

/// The public API below a crate's root file, one item in each line, in order.
fn api(source: &str, folder: &Path) -> String {
    let mut all = Vec::new();
    module(source, folder, "", &mut all);
    all.sort();
    all.join("\n") + "\n"
}

#[test]
fn the_lists_are_what_the_sources_say() {
    for name in CRATES {
        let sources = root("crates").join(name).join("src");
        let now = api(&fs::read_to_string(sources.join("lib.rs")).expect("a library"), &sources);
        let path = root("docs/api").join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_API").is_some() {
            fs::write(&path, &now).expect("the list can be written");
        }
        let listed = fs::read_to_string(&path).unwrap_or_default();
        let lacks: Vec<&str> = now.lines().filter(|line| !listed.lines().any(|other| other == *line)).collect();
        let extra: Vec<&str> = listed.lines().filter(|line| !now.lines().any(|other| other == *line)).collect();
        assert!(
            now == listed,
            "docs/api/{name}.txt lacks {lacks:#?} and has {extra:#?}: set UPDATE_API=1 to accept this"
        );
    }
}

#[test]
fn what_is_public_is_listed_and_nothing_else() {
    let source = "pub struct A { pub b: Vec<u8>, c: u8 } pub(crate) struct D; pub enum E { F { g: u8 }, H(A) }
        impl A { pub fn i(&self, j: &[u8]) -> Option<E> { None } fn k() {} } pub const L: u64 = 1; fn m() {}
        pub trait N { fn o(&self) -> u8; } trait P { fn q(&self); } #[cfg(test)] mod tests;";
    let expected = "A::fn i(&self, j: &[u8]) -> Option<E>\nE::F { g: u8 }\nE::H(A)\nN::fn o(&self) -> u8\nconst L: u64\nenum E\n\
        struct A { b: Vec<u8> }\ntrait N\n";
    assert_eq!(api(source, Path::new("no/such/folder")), expected);
}
