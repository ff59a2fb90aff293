//! A node's folder: its owner, the disks of its peers, and the [`Disk`](crate::Disk) on a real folder.

pub(crate) mod atomic_file;
pub(crate) mod folder_state;
pub(crate) mod inspect;
pub(crate) mod known_peers;
pub(crate) mod meta_file;
pub(crate) mod old_folder;
pub(crate) mod real_files;
pub(crate) mod rebuild;
pub(crate) mod register_peer;
pub(crate) mod start;
