//! What dpkg knows about the packages of an image.

use std::collections::BTreeMap;

/// dpkg's list of packages (deb822 paragraphs).
pub(crate) const STATUS: &str = "/var/lib/dpkg/status";

/// Names and versions out of dpkg's status file (deb822 paragraphs).
pub(crate) fn installed(status: &str) -> BTreeMap<String, String> {
    status
        .split("\n\n")
        .filter_map(|paragraph| {
            let field = |name: &str| {
                paragraph
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            field("Status")?
                .ends_with(" installed")
                .then_some(())
                .and_then(|()| Some((field("Package")?.to_owned(), field("Version")?.to_owned())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let status = "Package: vim\nStatus: install ok installed\nVersion: 2:9.1\nDescription: x\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n";
        assert_eq!(
            installed(status).into_iter().collect::<Vec<_>>(),
            [("vim".into(), "2:9.1".into())]
        );
    }
}
