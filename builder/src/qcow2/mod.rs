//! Reading qcow2 images.
