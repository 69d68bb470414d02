//! What a base is published with, for any static web server: digests whole and by piece, a metalink, a
//! torrent, and the small file that names the newest image.

mod bencode;
mod current;
mod metalink;
mod pieces;
mod torrent;

pub(crate) use current::{CURRENT, Current};
pub(crate) use metalink::metalink;
pub(crate) use pieces::Pieces;
pub(crate) use torrent::torrent;
