//! `GET /servers/{id}/sse`: events of a virtual server, until the client leaves.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Extension, Path};
use axum::response::sse::{Event, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;

use super::catalogue;
use crate::error::GatewayError;
use crate::rbac::{Caller, User};
use crate::request::SlowWork;

/// Time between two signs of life.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Says where messages go, and then that it is alive.
///
/// # Errors
/// [`GatewayError::NotFound`] when there is no such server for this user.
pub async fn events(
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(user): Extension<User>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, GatewayError> {
    let Caller { worker, session, .. } = &caller;
    if id.contains('\0') {
        return Err(GatewayError::NotFound);
    }
    catalogue::find_server(&caller, &user, &id).await?;
    session.before(worker, SlowWork::Stream(&id)).await?;
    // The stream is dropped when it has been sent, or when the client has gone.
    let held = session.until_sent(worker);
    let endpoint = Event::default().event("endpoint").data(format!("/servers/{id}/mcp"));
    let events = unfold((Some(endpoint), held), async |(first, held)| {
        let event = if let Some(endpoint) = first {
            endpoint
        } else {
            tokio::time::sleep(KEEP_ALIVE).await;
            Event::default().event("keepalive").data("{}")
        };
        Some((Ok(event), (None, held)))
    });
    Ok(Sse::new(events))
}
