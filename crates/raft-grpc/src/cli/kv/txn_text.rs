//! Parses a transaction: a line for each compare and each operation.

use raft_kv::command::{Compare, Relation, Target, Txn, TxnOp};

/// The form, as `kv txn --help` shows it.
pub(super) const FORM: &str = "\
A transaction has a line for each compare and each operation; # begins a comment:
  if KEY absent                    if KEY present
  if KEY value = VALUE             if KEY version > 3
  if KEY created < 7               if KEY modified != 7      (= != < >)
  then put KEY VALUE [TIME]        then delete KEY           then get KEY
  else put KEY VALUE [TIME]        else delete KEY           else get KEY
If all `if` lines hold, the `then` lines are executed, otherwise the `else` lines.
Write a word with spaces as a JSON string: \"two words\".";

/// The error is the first wrong line, and why.
pub(super) fn parse(text: &str) -> Result<Txn, String> {
    let mut txn = Txn::default();
    for (line, number) in text.lines().zip(1..) {
        add(&mut txn, line).map_err(|problem| format!("line {number}: {problem}"))?;
    }
    Ok(txn)
}

fn add(txn: &mut Txn, line: &str) -> Result<(), String> {
    let words = words(line)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => {}
        ["if", ref compare @ ..] => txn.compares.push(read_compare(compare)?),
        ["then", ref op @ ..] => txn.success.push(read_op(op)?),
        ["else", ref op @ ..] => txn.failure.push(read_op(op)?),
        [other, ..] => return Err(format!("a line begins with if, then or else, not with {other:?}")),
    }
    Ok(())
}

fn read_compare(words: &[&str]) -> Result<Compare, String> {
    let (key, what, relation, given) = match *words {
        [key, "absent"] => return Ok(Compare::absent(key.to_owned())),
        [key, "present"] => return Ok(Compare::present(key.to_owned())),
        [key, what, relation, given] => (key, what, relation, given),
        _ => return Err("after `if` comes KEY absent, KEY present, or KEY WHAT RELATION VALUE".into()),
    };
    let relation = match relation {
        "=" => Relation::Equal,
        "!=" => Relation::NotEqual,
        "<" => Relation::Less,
        ">" => Relation::Greater,
        other => return Err(format!("{other:?} is not one of = != < >")),
    };
    let number = || given.parse::<u64>().map_err(|_| format!("{given:?} is not a number"));
    let target = match what {
        "value" => Target::Value(given.to_owned().into()),
        "version" => Target::Version(number()?),
        "created" => Target::Created(number()?),
        "modified" => Target::Modified(number()?),
        other => return Err(format!("{other:?} cannot be compared: value, version, created, modified")),
    };
    Ok(Compare { key: key.to_owned().into(), relation, target })
}

fn read_op(words: &[&str]) -> Result<TxnOp, String> {
    let put = |key: &str, value: &str, ttl_ms| TxnOp::Put {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ttl_ms,
    };
    Ok(match *words {
        ["put", key, value] => put(key, value, 0),
        ["put", key, value, time] => {
            let ttl = crate::cli::endpoints::above_zero(time)?.as_millis();
            put(key, value, u64::try_from(ttl).unwrap_or(u64::MAX).max(1))
        }
        ["delete", key] => TxnOp::Delete { key: key.to_owned().into() },
        ["get", key] => TxnOp::Get { key: key.to_owned().into() },
        _ => return Err("an operation is put KEY VALUE [TIME], delete KEY or get KEY".into()),
    })
}

/// The words of a line. A comment begins with a word that begins with #.
fn words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut rest) = (Vec::new(), line.trim());
    while !rest.is_empty() && !rest.starts_with('#') {
        let word = if rest.starts_with('"') {
            let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let word = strings.next().and_then(Result::ok).ok_or_else(|| format!("{rest:?} is not a JSON string"))?;
            rest = &rest[strings.byte_offset()..];
            if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
                return Err(format!("there is no space after {word:?}"));
            }
            word
        } else {
            let (word, behind) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
            rest = behind;
            word.to_owned()
        };
        words.push(word);
        rest = rest.trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_form_is_read() {
        let text = r#"
            # a comment
            if a absent
            if b present   # another
            if "two words" value = "quoted \"v\"\n"
            if c version > 3
            if c created < 7
            if c modified != 0
            then put k v
            then put "\t" "" 10s
            then delete a
            else get k
        "#;
        let compare = |key: &'static str, relation, target| Compare { key: key.into(), relation, target };
        let put = |key: &'static str, value: &'static str, ttl_ms| TxnOp::Put {
            key: key.into(),
            value: value.into(),
            ttl_ms,
        };
        let expected = Txn {
            compares: vec![
                Compare::absent("a"),
                Compare::present("b"),
                compare("two words", Relation::Equal, Target::Value("quoted \"v\"\n".into())),
                compare("c", Relation::Greater, Target::Version(3)),
                compare("c", Relation::Less, Target::Created(7)),
                compare("c", Relation::NotEqual, Target::Modified(0)),
            ],
            success: vec![put("k", "v", 0), put("\t", "", 10_000), TxnOp::Delete { key: "a".into() }],
            failure: vec![TxnOp::Get { key: "k".into() }],
        };
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse(""), Ok(Txn::default()));
    }

    #[test]
    fn a_wrong_line_is_refused_with_its_number() {
        let table = [
            ("\nwhen a absent", "line 2: a line begins with if"),
            ("if a", "line 1: after `if` comes"),
            ("if a value ~ b", "\"~\" is not one of"),
            ("if a version = many", "\"many\" is not a number"),
            ("if a size = 1", "\"size\" cannot be compared"),
            ("then put a", "an operation is"),
            ("then put a b soon", "write 10s"),
            ("else", "an operation is"),
            ("then put \"a", "is not a JSON string"),
            ("then get \"a\"b", "no space"),
        ];
        for (text, words) in table {
            let problem = parse(text).expect_err(text);
            assert!(problem.contains(words), "{problem}, not {words}");
        }
    }
}
