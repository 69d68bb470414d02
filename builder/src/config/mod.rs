//! What the user writes: `lab.yaml` and `images/*.yaml`, read and judged.

pub mod definition;
pub mod lab;
pub mod yaml;
