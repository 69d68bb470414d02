//! A torrent of one file with web seeds: BEP 3, and BEP 19 for `url-list`.

use super::bencode::Value;
use super::pieces::Pieces;

/// The torrent of a file of this name. `urls` are where the file itself is served, and `tracker` is
/// where peers learn of each other; without one they find each other in their own network (BEP 14)
/// and by the DHT (BEP 5), since the torrent is not private. The same file gives the same bytes: there
/// is no date in it.
pub(crate) fn torrent(
    name: &str,
    pieces: &Pieces,
    urls: &[String],
    tracker: Option<&str>,
) -> Vec<u8> {
    let info = Value::Map(
        [
            ("length", Value::Integer(pieces.bytes)),
            ("name", name.into()),
            ("piece length", Value::Integer(pieces.length)),
            ("pieces", Value::Bytes(pieces.sha1_of_each.clone())),
        ]
        .into(),
    );
    let urls = urls.iter().map(|url| url.as_str().into()).collect();
    let whole = [
        Some(("info", info)),
        Some(("url-list", Value::List(urls))),
        tracker.map(|tracker| ("announce", tracker.into())),
    ];
    Value::Map(whole.into_iter().flatten().collect()).encoded()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::pieces::tests::example;

    #[test]
    fn one_file_with_web_seeds() {
        let pieces = example();
        let urls = ["http://a/x".to_owned(), "http://b/x".to_owned()];
        let rest = [
            &b"4:infod6:lengthi11e4:name1:x12:piece lengthi4e6:pieces60:"[..],
            &pieces.sha1_of_each,
            b"e8:url-listl10:http://a/x10:http://b/xee",
        ]
        .concat();
        assert_eq!(
            torrent("x", &pieces, &urls, None),
            [b"d", &rest[..]].concat()
        );
        assert_eq!(
            torrent("x", &pieces, &urls, Some("udp://t:1/")),
            [b"d8:announce10:udp://t:1/", &rest[..]].concat()
        );
    }
}
