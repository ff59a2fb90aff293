//! Values in a scenario file: code that serde's derive needs for types of other crates and for values written as text.

use super::model::{Fate, InitialState, Invocation, Links, MessagePlace, NodeSet, NodeSettings, Targets};
use super::refusals::{REFUSALS, Refusal};
use super::{changes, feature, names, parse, suggest, targets, units};
use crate::branch::{self, Branches};
use crate::faults::Fault;
use raft_core::{LogIndex, MAX_NUMBER, NodeId, RoleKind, Term};
use serde::de::{Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::time::Duration;

thread_local! {
    /// The number of nodes of the current scenario: serde passes no context to the reader of a field.
    static NODES: Cell<u64> = const { Cell::new(parse::MAX_NODES) };
}

/// Sets the number of nodes that later texts may name.
pub(crate) fn set_nodes(count: u64) {
    NODES.set(count);
}

/// A value that is written as text.
pub(crate) trait Text: Sized {
    /// The description of a valid text: `a duration such as "150ms"`.
    const EXPECTED: &'static str;
    /// Reads the text of a scenario with `nodes` nodes.
    fn parse(text: &str, nodes: u64) -> Result<Self, String>;
    fn show(&self) -> String;
}

macro_rules! texts {
    ($($type:ty: $expected:literal, $parse:expr, $show:expr;)+) => {$(
        impl Text for $type {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str, nodes: u64) -> Result<Self, String> {
                let parse: fn(&str, u64) -> Result<Self, String> = $parse;
                parse(text, nodes)
            }

            fn show(&self) -> String {
                let show: fn(&Self) -> String = $show;
                show(self)
            }
        }
    )+};
}

/// A node, or any node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AnyNode(pub(crate) Option<NodeId>);

/// A kind of message; see [`raft_core::Rpc::kind`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MessageKind(pub(crate) String);

/// How far a clock jumps, in nanoseconds; below 0 it jumps back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Jump(pub(crate) i64);

/// A key and a value to put there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Put(pub(crate) String, pub(crate) String);

texts! {
    Duration: "a duration such as \"150ms\"", |text, _| units::duration(text), |length| units::show(*length);
    Range<Duration>: "a range of durations such as \"150ms..300ms\"", |text, _| units::duration_range(text), units::show_range;
    Range<u64>: "seeds such as \"0..100\"", |text, _| units::seeds(text), |seeds| format!("{}..{}", seeds.start, seeds.end);
    NodeId: "a node such as \"n1\"", units::node, ToString::to_string;
    (NodeId, NodeId): "a link such as \"n1>n3\"",
        |text, nodes| {
            let (from, to) = text.split_once('>').ok_or_else(|| format!("expected a link such as \"n1>n3\", found `{text}`"))?;
            Ok((units::node(from.trim(), nodes)?, units::node(to.trim(), nodes)?))
        },
        |(from, to)| format!("{from}>{to}");
    MessagePlace: "a message such as \"n1>n3 17\"",
        |text, nodes| {
            let wrong = || format!("expected a message such as \"n1>n3 17\", found `{text}`");
            let (link, number) = text.rsplit_once(' ').ok_or_else(wrong)?;
            let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
            Ok(Self { link: <(NodeId, NodeId)>::parse(link.trim(), nodes)?, number })
        },
        |place| format!("{} {}", place.link.show(), place.number);
    Fate: "\"lost\" or a delay such as \"80ms\"",
        |text, _| match text.split_once(' ') {
            None if text == "lost" => Ok(Self::Lost),
            None => units::duration(text).map(|delay| Self::Arrives(delay, None)),
            Some((first, second)) => Ok(Self::Arrives(units::duration(first)?, Some(units::duration(second.trim())?))),
        },
        |fate| match fate {
            Fate::Lost => "lost".to_owned(),
            Fate::Arrives(delay, None) => units::show(*delay),
            Fate::Arrives(delay, Some(copy)) => format!("{} {}", units::show(*delay), units::show(*copy)),
        };
    Invocation: "an operation such as \"c1 7 at 250ms\"",
        |text, _| {
            let wrong = || format!("expected an operation such as \"c1 7 at 250ms\", found `{text}`");
            let (operation, at) = text.split_once(" at ").ok_or_else(wrong)?;
            let (client, number) = operation.trim().split_once(' ').ok_or_else(wrong)?;
            let positive = |text: &str| text.trim().parse().ok().filter(|number| *number > 0).ok_or_else(wrong);
            let client = client.strip_prefix('c').ok_or_else(wrong)?;
            let (client, lane) = client.split_once('.').unwrap_or((client, "1"));
            Ok(Self {
                at: units::duration(at.trim())?,
                client: positive(client)?,
                lane: positive(lane)?,
                number: positive(number)?,
            })
        },
        |Self { at, client, lane, number }| {
            let lane = if *lane == 1 { String::new() } else { format!(".{lane}") };
            format!("c{client}{lane} {number} at {}", units::show(*at))
        };
    Jump: "a jump such as \"2s\" or \"-300ms\"",
        |text, _| {
            let (sign, length) = text.strip_prefix('-').map_or((1, text), |length| (-1, length));
            let nanos = raft_core::nanos(units::duration(length)?);
            Ok(Self(sign * i64::try_from(nanos).unwrap_or(i64::MAX)))
        },
        |Self(by)| units::show_jump(*by);
    AnyNode: "\"any\" or a node such as \"n1\"",
        |text, nodes| if text == "any" { Ok(Self(None)) } else { units::node(text, nodes).map(|id| Self(Some(id))) },
        |node| node.0.map_or_else(|| "any".to_owned(), |id| id.to_string());
    BTreeSet<NodeId>: "\"any\" or nodes such as \"n1\"",
        |text, nodes| if text == "any" { Ok(Self::new()) } else { targets::nodes(text, nodes) },
        |nodes| if nodes.is_empty() { "any".to_owned() } else { targets::show_nodes(nodes) };
    NodeSet: "\"none\" or nodes such as \"n1\"",
        |text, nodes| if text == "none" { Ok(Self::default()) } else { targets::nodes(text, nodes).map(Self) },
        |Self(nodes)| if nodes.is_empty() { "none".to_owned() } else { targets::show_nodes(nodes) };
    (LogIndex, Option<Term>): "an entry such as \"7@3\"", |text, _| units::entry(text), units::show_entry;
    Targets: "nodes such as \"leader\" or \"n1 n2\"", targets::targets, targets::show;
    Links: "a link such as \"n1>n3\"", targets::links, targets::show_links;
    Vec<BTreeSet<NodeId>>: "groups such as \"n1 n2 | n3\"", targets::groups, |groups| targets::show_groups(groups);
    Vec<changes::SeatChange>: "a change such as \"add n4\"", changes::change, |steps| changes::show_change(steps);
    changes::Seats: "voters such as \"n1 n2 n3\"", changes::seats, ToString::to_string;
    RoleKind: "a role such as \"candidate\"",
        |text, _| names::named(&names::ROLES, "role", text), |role| names::name_of(&names::ROLES, *role).to_owned();
    feature::Feature: "a fault such as \"loss\"",
        |text, _| names::named(feature::FEATURES, "fault", text),
        |feature| names::name_of(feature::FEATURES, *feature).to_owned();
    Fault: "a fault such as \"torn_write\"",
        |text, _| names::named(&names::faults(), "fault", text), |fault| fault.name().to_owned();
    MessageKind: "a message kind such as \"request_vote\"",
        |text, _| suggest::one_of(text, "message kind", names::MESSAGE_KINDS).map(Self), |kind| kind.0.clone();
    Refusal: "a refusal such as \"not_ready\"",
        |text, _| {
            let known = REFUSALS.iter().find(|name| **name == text).map(|name| Self(name));
            known.ok_or_else(|| suggest::unknown("refusal", text, REFUSALS))
        },
        |refusal| refusal.0.to_owned();
    Put: "a put such as \"k1 = v1\"",
        |text, _| {
            let parts = text.split_once('=').map(|(key, value)| (key.trim(), value.trim())).filter(|(key, _)| !key.is_empty());
            let put = parts.map(|(key, value)| Self(key.to_owned(), value.to_owned()));
            put.ok_or_else(|| format!("expected a put such as \"k1 = v1\", found `{text}`"))
        },
        |Self(key, value)| format!("{key} = {value}");
    Branches: "branches such as \"12034:3\"", |text, _| branch::branches(text), ToString::to_string;
    u128: "a trace hash",
        |text, _| {
            let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let hash = Self::from_str_radix(text, 16).ok().filter(|_| digits);
            hash.ok_or_else(|| format!("expected a trace hash of 32 hexadecimal digits, found `{text}`"))
        },
        |hash| format!("{hash:032x}");
}

/// The form of a value in a file.
pub(crate) trait Form: Sized {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error>;
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;
}

/// A value that serde reads and writes in its form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct F<T>(pub(crate) T);

impl<'de, T: Form> Deserialize<'de> for F<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::read(from).map(F)
    }
}

impl<T: Form> Serialize for F<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }
}

struct Ref<'a, T>(&'a T);

impl<T: Form> Serialize for Ref<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }
}

impl<T: Text> Form for T {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(TextVisitor(PhantomData))
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.show())
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: Text> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::parse(text, NODES.get()).map_err(E::custom)
    }
}

impl<T: Form> Form for Option<T> {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::<F<T>>::deserialize(from)?.map(|F(value)| value))
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.as_ref().map(Ref).serialize(to)
    }
}

impl<K: Text + Ord, T: Form> Form for BTreeMap<K, T> {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<F<K>, F<T>>::deserialize(from)?;
        Ok(map.into_iter().map(|(F(key), F(value))| (key, value)).collect())
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter().map(|(key, value)| (Ref(key), Ref(value))))
    }
}

macro_rules! lists {
    ($($list:ty: $item:ty),+) => {$(
        impl Form for $list {
            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(Vec::<F<$item>>::deserialize(from)?.into_iter().map(|F(item)| item).collect())
            }

            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_seq(self.iter().map(Ref))
            }
        }
    )+};
}

lists!(BTreeSet<feature::Feature>: feature::Feature, BTreeSet<Fault>: Fault, Vec<Term>: Term, Vec<Invocation>: Invocation);

/// One link is read as a list with one link.
impl Form for Vec<Links> {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LinksVisitor)
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(Ref))
    }
}

struct LinksVisitor;

impl<'de> Visitor<'de> for LinksVisitor {
    type Value = Vec<Links>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Links::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<Links>, E> {
        Ok(vec![TextVisitor(PhantomData).visit_str(text)?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Links>, A::Error> {
        let mut links = Vec::new();
        while let Some(F(item)) = items.next_element()? {
            links.push(item);
        }
        Ok(links)
    }
}

macro_rules! numbers {
    ($($type:ident from $min:literal),+) => {$(
        impl Form for $type {
            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                within::<$min, { MAX_NUMBER as i64 }, _, _>(from).map(Self)
            }

            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_u64(self.0)
            }
        }
    )+};
}

numbers!(Term from 0, LogIndex from 1);

macro_rules! derived {
    ($($type:ty),+) => {$(
        impl Form for $type {
            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Self::deserialize(from)
            }

            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.serialize(to)
            }
        }
    )+};
}

derived!(InitialState, NodeSettings, u32);

/// For `#[serde(with = "form")]`.
pub(crate) mod form {
    use super::{Deserializer, Form, Serializer};

    pub(crate) fn deserialize<'de, T: Form, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        T::read(from)
    }

    pub(crate) fn serialize<T: Form, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        value.write(to)
    }
}

/// For `#[serde(with = "ppm")]`: a probability as `"2.5%"`, or as an integer of parts per million.
pub(crate) mod ppm {
    use super::{Deserializer, PpmVisitor, Serializer, units};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        from.deserialize_any(PpmVisitor)
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(crate) fn serialize<S: Serializer>(ppm: &u32, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&units::show_percentage(*ppm))
    }
}

struct PpmVisitor;

impl Visitor<'_> for PpmVisitor {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a percentage such as \"2.5%\" or parts per million from 0 to 1000000")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u32, E> {
        units::percentage(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, ppm: i64) -> Result<u32, E> {
        let known = u32::try_from(ppm).ok().filter(|ppm| *ppm <= 1_000_000);
        known.ok_or_else(|| E::invalid_value(Unexpected::Signed(ppm), &self))
    }
}

/// Reads an integer from `MIN` to `MAX`.
pub(crate) fn within<'de, const MIN: i64, const MAX: i64, T, D>(from: D) -> Result<T, D::Error>
where
    T: TryFrom<i64>,
    D: Deserializer<'de>,
{
    from.deserialize_i64(Within::<MIN, MAX, T>(PhantomData))
}

/// Reads an optional integer from `MIN` to `MAX`.
pub(crate) fn some_within<'de, const MIN: i64, const MAX: i64, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: TryFrom<i64>,
    D: Deserializer<'de>,
{
    within::<MIN, MAX, T, D>(from).map(Some)
}

struct Within<const MIN: i64, const MAX: i64, T>(PhantomData<T>);

impl<const MIN: i64, const MAX: i64, T: TryFrom<i64>> Visitor<'_> for Within<MIN, MAX, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer from {MIN} to {MAX}")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let known =
            Some(number).filter(|number| (MIN..=MAX).contains(number)).and_then(|number| T::try_from(number).ok());
        known.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }
}

/// Reads a text and removes the white space around it.
pub(crate) fn trimmed<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| text.trim().to_owned())
}

/// Whether a field can be omitted, because a reader assumes its value.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
