//! Keys, values and events as lines for pipes: fields separated by tabs, and escaped so that no field contains a tab or newline.

use raft_kv::command::{Event, EventKind, KeyValue, TxnResult};

/// A field: text unchanged except for control characters and backslashes; bytes that are not text as `\xff`.
fn field(bytes: &[u8]) -> String {
    let escaped = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if c.is_ascii_control() => text.push_str(&escaped(c.encode_utf8(&mut [0; 4]).as_bytes())),
                c => text.push(c),
            }
        }
        text.push_str(&escaped(chunk.invalid()));
    }
    text
}

/// `key<TAB>value`.
pub(super) fn entry(entry: &KeyValue) -> String {
    format!("{}\t{}\n", field(&entry.key), field(&entry.value.data))
}

/// `revision<TAB>put<TAB>key<TAB>value`, or without a value.
pub(super) fn event(event: &Event) -> String {
    let (revision, key) = (event.revision, field(&event.key));
    match &event.kind {
        EventKind::Put(value) => format!("{revision}\tput\t{key}\t{}\n", field(&value.data)),
        EventKind::Delete => format!("{revision}\tdelete\t{key}\n"),
        EventKind::Expire => format!("{revision}\texpire\t{key}\n"),
    }
}

pub(super) fn results(results: &[TxnResult]) -> String {
    let line = |result: &TxnResult| match result {
        TxnResult::Put => "put\n".to_owned(),
        TxnResult::Delete { existed } => format!("delete\texisted={existed}\n"),
        TxnResult::Got(Some(found)) => format!("get\t{}", entry(found)),
        TxnResult::Got(None) => "get\n".to_owned(),
    };
    results.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_kv::command::Value;

    fn found(key: &'static [u8], data: &'static [u8]) -> KeyValue {
        let value = Value { data: data.into(), created_revision: 1, modified_revision: 7, version: 2, ttl_ms: 0 };
        KeyValue { key: key.into(), value }
    }

    #[test]
    fn lines_are_as_documented() {
        assert_eq!(entry(&found(b"a/b", "gr\u{fc}n".as_bytes())), "a/b\tgr\u{fc}n\n");
        assert_eq!(entry(&found(b"tab\t", b"line\n\\ \xff\x00")), "tab\\t\tline\\n\\\\ \\xff\\x00\n");
        let say = |kind| event(&Event { key: "k".into(), revision: 7, previous_revision: 1, kind });
        assert_eq!(say(EventKind::Put(found(b"", b"v").value)), "7\tput\tk\tv\n");
        assert_eq!(say(EventKind::Delete) + &say(EventKind::Expire), "7\tdelete\tk\n7\texpire\tk\n");
        let all = [
            TxnResult::Put,
            TxnResult::Delete { existed: true },
            TxnResult::Got(None),
            TxnResult::Got(Some(found(b"k", b"v"))),
        ];
        assert_eq!(results(&all), "put\ndelete\texisted=true\nget\nget\tk\tv\n");
    }
}
