//! How the root file system is made, whatever the source.

use crate::config::definition::Definition;

/// mke2fs's settings, so that the file system is the same whatever the host's defaults are:
/// nothing that grub 2.12 or ext4-view cannot read.
pub(super) const CONF: &str = "[defaults]
    base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
    default_mntopts = acl,user_xattr
    enable_periodic_fsck = 0
    blocksize = 4096
    inode_size = 256
    inode_ratio = 16384
[fs_types]
    ext4 = {
        features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
    }
";

/// The root file system's options for mke2fs, besides [`CONF`]. Nothing is left for the
/// kernel to initialise later: every clone would write it into its overlay. `offset` is where
/// the partition begins in the file, in bytes. The seed of the hashes of names follows from the UUID
/// as well: the same files, the same bytes.
pub(super) fn options(
    definition: &Definition,
    root_uuid: &str,
    offset: Option<u64>,
) -> Vec<String> {
    let mut extended =
        format!("lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,hash_seed={root_uuid}");
    if let Some(offset) = offset {
        // Of several -E, mke2fs takes the last one only.
        extended = format!("offset={offset},{extended}");
    }
    let journal = journal(definition);
    [
        "-L", "root", "-m", "1", "-J", journal, "-U", root_uuid, "-E", &extended,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The file system's journal, as mke2fs and tune2fs take it after `-J`.
///
/// The kernel writes the journal round and round, so in time each clone has written the whole of it into its
/// overlay: 16 MiB with the setting `small_journal`. It is what mke2fs gives a file system of 1 GB, and four times
/// what the largest transaction of a first boot with all its units needs.
pub(super) fn journal(definition: &Definition) -> &'static str {
    match definition.settings.small_journal {
        true => "size=16",
        false => "size=64",
    }
}
