//! The port for operators and for `curl`: HTTP/1.1.

mod kv;
mod status;

use crate::client_service::ClientService;
use crate::ports::{Connection, SILENCE};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The answers of the port. Its clients start at the nodes `endpoints`.
pub(crate) fn router(service: ClientService, endpoints: Vec<String>) -> Router {
    let limit = usize::try_from(service.max_request_bytes).unwrap_or(usize::MAX);
    let kv = kv::routes(kv::Clients::new(endpoints)).layer(DefaultBodyLimit::max(limit));
    status::routes(service).merge(kv)
}

/// Serves every admitted connection until `closing`; then answers the requests in progress, and ends.
pub(crate) async fn serve(
    mut connections: ReceiverStream<io::Result<Connection>>,
    router: Router,
    closing: CancellationToken,
) {
    let under_way = TaskTracker::new();
    loop {
        let connection = tokio::select! {
            connection = connections.next() => connection,
            () = closing.cancelled() => break,
        };
        match connection {
            Some(Ok(connection)) => drop(under_way.spawn(answer(connection, router.clone(), closing.clone()))),
            Some(Err(error)) => tracing::error!("the server of the admin port has ended: {error}"),
            None => break,
        }
    }
    under_way.close();
    under_way.wait().await;
}

async fn answer(connection: Connection, router: Router, closing: CancellationToken) {
    let mut http = hyper::server::conn::http1::Builder::new();
    // Without it, the server would wait for half a request forever.
    http.timer(TokioTimer::new()).header_read_timeout(SILENCE);
    let connection = http.serve_connection(TokioIo::new(connection), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let end = tokio::select! {
        end = connection.as_mut() => end,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = end {
        tracing::debug!("a connection on the admin port ends: {error}");
    }
}
