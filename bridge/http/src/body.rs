//! The body of a request, which has to be there in time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::{BoxError, Error};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::Sleep;

use super::connection_slots::SlotHandle;

/// How long a body may take: as long as 64 KiB take that come with 3 KiB a second, or the largest message with 5.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// Whether a body has not come in time.
#[derive(Debug, Clone, Default)]
pub(super) struct BodyTimeout(Arc<AtomicBool>);

impl BodyTimeout {
    pub(super) fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The body of a request, with a deadline. While it waits for more, so does its connection.
pub(super) struct TimedBody {
    body: Body,
    slot_handle: SlotHandle,
    late: BodyTimeout,
    /// From when it first has to wait.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    pub(super) fn new(body: Body, slot_handle: SlotHandle, late: BodyTimeout) -> Self {
        Self { body, slot_handle, late, deadline: None }
    }
}

impl hyper::body::Body for TimedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let is_last = !matches!(frame, Some(Ok(_))) || self.body.is_end_stream();
            if is_last && self.deadline.take().is_some() {
                self.slot_handle.waits_for_server();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::into_inner)));
        }
        if self.deadline.is_none() {
            self.slot_handle.waits_for_client();
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(DEADLINE)));
        ready!(deadline.as_mut().poll(cx));
        self.late.0.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err("the body did not come in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
