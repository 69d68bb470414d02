//! Where the installer's disc comes from, as a user meets it: `imgbuild base` with a file, a
//! download or Debian's signed list. No disc here is one that would be installed from, so
//! nothing boots. Needs curl, gpgv, gpg and genisoimage.

mod download;
mod place;
mod signed;

use place::{Place, disc, was_read};
use testkit::{has, sha256};

#[test]
fn a_file_of_the_users_is_used_as_it_is() {
    let place = Place::new("");
    let iso = disc();
    place.write("my.iso", &iso);
    let said = place.says(&["--iso", "my.iso"]);
    has(&said, &format!("sha256 {}", sha256(&iso)));
    assert!(
        was_read(&place.error(&["--iso", "my.iso"]), "my.iso"),
        "{said}"
    );
    assert!(!place.cache().exists());
}

#[test]
fn a_file_that_is_no_disc_is_refused() {
    let place = Place::new("");
    let write = |content: &[u8]| place.write("my.iso", content);
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
    place.write("SHA256SUMS", &list);
    place.write("my.iso", &iso);
    let file = place.path("my.iso");
    let error = place.error(&["--iso", file.to_str().unwrap()]);
    assert!(was_read(&error, "HERE/my.iso"), "{error}");
    iso[200_000] ^= 4;
    place.write("my.iso", &iso);
    assert_eq!(
        place.error(&["--iso", file.to_str().unwrap()]),
        format!(
            "HERE/my.iso is damaged, or is not what its name says:\n    expected: {right} (in \
             HERE/SHA256SUMS)\n    found:    {}",
            sha256(&iso)
        )
    );
}
