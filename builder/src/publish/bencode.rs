//! Bencoding, as far as a torrent needs it (BEP 3, "bencoding").

use std::collections::BTreeMap;

/// A value of a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Integer(u64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    /// Keys are sorted as raw bytes, as the format demands.
    Map(BTreeMap<&'static str, Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Bytes(text.into())
    }
}

impl Value {
    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Integer(number) => out.extend(format!("i{number}e").bytes()),
            Value::Bytes(bytes) => write_bytes(bytes, out),
            Value::List(values) => {
                out.push(b'l');
                values.iter().for_each(|value| value.write(out));
                out.push(b'e');
            }
            Value::Map(map) => {
                out.push(b'd');
                for (key, value) in map {
                    write_bytes(key.as_bytes(), out);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(format!("{}:", bytes.len()).bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of BEP 3.
    #[test]
    fn the_examples_of_the_specification() {
        let list = |words: &[&str]| Value::List(words.iter().map(|word| (*word).into()).collect());
        for (value, expected) in [
            (Value::from("spam"), "4:spam"),
            (Value::from(""), "0:"),
            (Value::Integer(3), "i3e"),
            (Value::Integer(0), "i0e"),
            (list(&["spam", "eggs"]), "l4:spam4:eggse"),
            (
                Value::Map([("spam", "eggs".into()), ("cow", "moo".into())].into()),
                "d3:cow3:moo4:spam4:eggse",
            ),
            (
                Value::Map([("spam", list(&["a", "b"]))].into()),
                "d4:spaml1:a1:bee",
            ),
        ] {
            assert_eq!(String::from_utf8(value.encoded()).unwrap(), expected);
        }
        // Bytes that are no text.
        assert_eq!(Value::Bytes(vec![0, 255]).encoded(), b"2:\0\xff");
    }
}
