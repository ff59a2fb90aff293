//! Why bytes are no message.

/// Why bytes were refused. Names the place as the `.proto` files do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no protobuf of the expected message.
    #[error("not a protobuf message: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A required field is missing, or a choice has a value this build does not know: protobuf shows both alike.
    #[error("{0} is missing or unknown to this version")]
    Missing(&'static str),
    /// A list that must ascend strictly does not.
    #[error("{0} does not ascend strictly")]
    NotAscending(&'static str),
    /// Something was changed on its way.
    #[error("{0} are not those that were sent")]
    Checksum(&'static str),
}
