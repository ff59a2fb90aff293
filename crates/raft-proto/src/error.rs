//! The reasons why bytes cannot be decoded.

/// The reason why bytes cannot be decoded. Fields have their names in the `.proto` files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not a protobuf message of the expected type.
    #[error("not a protobuf message: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A required field is missing, or a choice has a value that this version does not know: in protobuf the two look
    /// the same.
    #[error("{0} is missing or unknown to this version")]
    Missing(&'static str),
    /// A list does not ascend strictly as it must.
    #[error("{0} does not ascend strictly")]
    NotAscending(&'static str),
    /// Bytes were damaged in transit.
    #[error("{0} does not match its checksum: damaged in transit")]
    Checksum(&'static str),
}
