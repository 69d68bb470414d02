//! Where the installer's disc comes from: a file, a URL with a digest, or Debian's own site.
