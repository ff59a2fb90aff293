//! The write-ahead log: its format, its reader, its recovery, and the deletion of its old segments.

pub(crate) mod compact;
pub(crate) mod file_reader;
pub(crate) mod format;
pub(crate) mod log_summary;
pub(crate) mod read_entries;
pub(crate) mod records_written;
pub(crate) mod recover;
pub(crate) mod scan;
