//! How client commands reach a cluster: endpoints and a timeout.

use raft_client::ClientOptions;
use raft_grpc::Failure;
use std::time::Duration;

/// The client ports of three nodes with default ports.
const DEFAULT_ENDPOINTS: [&str; 3] = ["http://127.0.0.1:7071", "http://127.0.0.1:7081", "http://127.0.0.1:7091"];

#[derive(clap::Args, Debug)]
pub(crate) struct Endpoints {
    /// Where nodes serve clients: http://HOST:PORT, comma separated [default: RAFT_ENDPOINTS, or ports 7071, 7081 and 7091 of this
    /// machine]
    #[arg(long, global = true, value_name = "URLS", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// The longest time for one operation, over all its attempts
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = above_zero)]
    timeout: Duration,
    /// The longest time for one attempt at one node [default: the nodes' shortest election timeout, between 250ms and 5s; 1s until a
    /// node has said it]
    #[arg(long, global = true, value_name = "TIME", value_parser = above_zero)]
    attempt_timeout: Option<Duration>,
}

impl Endpoints {
    pub(crate) fn options(&self) -> Result<ClientOptions, Failure> {
        let environment = match std::env::var("RAFT_ENDPOINTS") {
            Ok(list) => Some(list),
            Err(std::env::VarError::NotPresent) => None,
            Err(error) => return Err(Failure::usage(format!("RAFT_ENDPOINTS: {error}"))),
        };
        let mut options = ClientOptions::new(endpoints(&self.endpoints, environment.as_deref()));
        options.deadline = self.timeout;
        options.attempt_timeout = self.attempt_timeout;
        Ok(options)
    }
}

/// The flag, otherwise the variable, otherwise the default ports. An empty list counts as absent.
fn endpoints(flag: &[String], environment: Option<&str>) -> Vec<String> {
    let given = |list: Vec<&str>| -> Vec<String> {
        list.into_iter().map(str::trim).filter(|url| !url.is_empty()).map(str::to_string).collect()
    };
    let sources = [
        given(flag.iter().map(String::as_str).collect()),
        given(environment.unwrap_or_default().split(',').collect()),
        given(DEFAULT_ENDPOINTS.to_vec()),
    ];
    sources.into_iter().find(|source| !source.is_empty()).unwrap_or_default()
}

pub(super) fn above_zero(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error}; write 10s or 500ms"))?;
    if duration.is_zero() { Err("it must be above 0".into()) } else { Ok(duration) }
}

pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::runtime(format!("cannot start: {error}")))?;
    Ok(runtime.block_on(future))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_then_the_environment_then_the_default_ports() {
        let flag = ["http://a:1".to_string(), " ".to_string()];
        assert_eq!(endpoints(&flag, Some("http://b:1")), ["http://a:1"]);
        assert_eq!(endpoints(&[], Some("http://b:1, http://c:1,")), ["http://b:1", "http://c:1"]);
        for nothing in [None, Some(""), Some(" , ")] {
            assert_eq!(endpoints(&[], nothing), DEFAULT_ENDPOINTS);
        }
    }

    #[test]
    fn timeouts_are_above_zero() {
        assert_eq!(above_zero("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["0s", "", "10", "-1s", "soon"] {
            assert!(above_zero(bad).is_err(), "{bad}");
        }
    }
}
