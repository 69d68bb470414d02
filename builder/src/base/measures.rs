//! What makes an installation faster. Each can be left out, to measure what it gives.

/// One measure. Not for users: without any of them the image is the same, and later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Measure {
    /// libeatmydata in the new system while packages are installed: fsync does nothing.
    Eatmydata,
    /// QEMU does not flush the work disk: it is thrown away when anything fails.
    UnsafeCache,
    /// Only essential packages by the installer; the definition's come with the provision script.
    SmallBase,
    /// No IPv6 in the installer: QEMU's user-mode network has none, and waiting for it is in vain.
    NoIpv6,
}

impl Measure {
    /// Its name in the templates.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Eatmydata => "eatmydata",
            Measure::UnsafeCache => "unsafe_cache",
            Measure::SmallBase => "small_base",
            Measure::NoIpv6 => "no_ipv6",
        }
    }
}
