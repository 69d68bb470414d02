//! What builder and guest agree on: the seed disk's volumes and documents, what they may say, and
//! what the guest tells of itself.

#![warn(missing_docs)]

pub mod clock;
pub mod digest;
pub mod iso9660;
pub mod openvpn;
pub mod place;
pub mod seed;
pub mod status;
pub mod values;
pub mod volumes;
pub mod yaml;
