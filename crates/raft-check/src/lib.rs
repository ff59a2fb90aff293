//! Checks the answers that clients of a key-value map got, from the outside: it uses no type of the system under test,
//! so an error there cannot hide from its checker.
//!
//! - [`history`]: the operations of clients with their results and times, and their form as lines of JSON.
//! - [`linearizability`]: searches for an order of the operations that explains every result.
//! - [`load`]: checks a load whose answers carry revisions: acknowledged writes that are lost, commands applied twice, and
//!   the order. The revisions often prove the order without a search.
//!
//! ```
//! use raft_check::history::read_history;
//! use raft_check::linearizability::{Verdict, check};
//!
//! let lines = r#"
//! {"client":1,"op":"put","key":"k","value":"a","status":"ok","result":null,"invoke_ns":1,"return_ns":2}
//! {"client":2,"op":"get","key":"k","value":null,"status":"ok","result":null,"invoke_ns":3,"return_ns":4}
//! "#;
//! let history = read_history(lines.as_bytes())?;
//! let Verdict::Violation(counterexample) = check(&history, 1_000) else { panic!("the put was acknowledged") };
//! println!("{counterexample}");
//! # Ok::<(), raft_check::history::HistoryError>(())
//! ```

pub mod history;
pub mod linearizability;
pub mod load;
