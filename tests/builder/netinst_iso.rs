//! Where the installer's disc comes from, as a user meets it: `imgbuild base` with a file, a
//! download or Debian's signed list. No disc here is one that would be installed from, so
//! nothing boots. Needs curl, gpgv, gpg and genisoimage.

#![allow(clippy::unwrap_used)]

#[path = "netinst_iso/download.rs"]
mod download;
#[path = "netinst_iso/place.rs"]
mod place;
#[path = "netinst_iso/server.rs"]
mod server;
#[path = "netinst_iso/signed.rs"]
mod signed;

use place::{Place, disc, sha256, was_read};
use std::fs;

#[test]
fn a_file_of_the_users_is_used_as_it_is() {
    let place = Place::new("");
    let iso = disc();
    fs::write(place.path().join("my.iso"), &iso).unwrap();
    let said = place.says(&["--iso", "my.iso"]);
    assert!(said.contains(&format!("sha256 {}", sha256(&iso))), "{said}");
    assert!(
        was_read(&place.error(&["--iso", "my.iso"]), "my.iso"),
        "{said}"
    );
    assert!(!place.cache().exists());
}

#[test]
fn a_file_that_is_no_disc_is_refused() {
    let place = Place::new("");
    let write = |content: &[u8]| fs::write(place.path().join("my.iso"), content).unwrap();
    let refused = |expected: &str| assert_eq!(place.error(&["--iso", "my.iso"]), expected);
    refused("cannot read my.iso: No such file or directory (os error 2)");
    write(b"<html>no</html>");
    refused(
        "my.iso is no ISO 9660 image: it is an HTML page; perhaps the answer of a proxy or a \
         login page",
    );
    let iso = disc();
    let (half, whole) = (iso.len() / 2, iso.len());
    write(&iso[..half]);
    refused(&format!(
        "my.iso is truncated: it has {half} bytes, and its volume has {whole}. Download it once \
         more"
    ));
}

#[test]
fn a_flipped_bit_is_found_where_debians_list_lies_beside_the_file() {
    let place = Place::new("");
    let mut iso = disc();
    let right = sha256(&iso);
    let list = format!("{}  other.iso\n{right} *my.iso\n", "0".repeat(64));
    fs::write(place.path().join("SHA256SUMS"), list).unwrap();
    fs::write(place.path().join("my.iso"), &iso).unwrap();
    let file = place.path().join("my.iso");
    let error = place.error(&["--iso", file.to_str().unwrap()]);
    assert!(was_read(&error, "HERE/my.iso"), "{error}");
    iso[200_000] ^= 4;
    fs::write(&file, &iso).unwrap();
    assert_eq!(
        place.error(&["--iso", file.to_str().unwrap()]),
        format!(
            "HERE/my.iso is damaged, or is not what its name says:\n    expected: {right} (in \
             HERE/SHA256SUMS)\n    found:    {}",
            sha256(&iso)
        )
    );
}
