//! A metalink: RFC 5854.

use super::pieces::Pieces;

/// The metalink of a file of this name. `urls` are where the file itself is served; each must be
/// absolute (RFC 5854, section 4.2.16), the first is the one to try first.
pub(crate) fn metalink(name: &str, pieces: &Pieces, urls: &[String]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\n  \
         <file name=\"{}\">\n    <size>{}</size>\n    <hash type=\"sha-256\">{}</hash>\n    \
         <pieces length=\"{}\" type=\"sha-256\">\n",
        escaped(name),
        pieces.bytes,
        pieces.sha256,
        pieces.length
    );
    for hash in &pieces.sha256_of_each {
        xml += &format!("      <hash>{hash}</hash>\n");
    }
    xml += "    </pieces>\n";
    for (number, url) in urls.iter().enumerate() {
        let priority = number + 1;
        xml += &format!("    <url priority=\"{priority}\">{}</url>\n", escaped(url));
    }
    xml + "  </file>\n</metalink>\n"
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::pieces::tests::example;

    #[test]
    fn one_file_with_two_mirrors() {
        let urls = ["http://a/x?b&c".to_owned(), "http://b/x".to_owned()];
        assert_eq!(
            metalink("x", &example(), &urls),
            r#"<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
  <file name="x">
    <size>11</size>
    <hash type="sha-256">b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9</hash>
    <pieces length="4" type="sha-256">
      <hash>0ebdc3317b75839f643387d783535adc360ca01f33c75f7c1e7373adcd675c0b</hash>
      <hash>8af8e662a3b251ef02d2ed85745535086af77aa1ac63a4f5f800f501c8e5d093</hash>
      <hash>85c76dcae2299d2235c793fe3425bd88376f5c4721cfddc1c9a9c452c20c5d33</hash>
    </pieces>
    <url priority="1">http://a/x?b&amp;c</url>
    <url priority="2">http://b/x</url>
  </file>
</metalink>
"#
        );
    }
}
