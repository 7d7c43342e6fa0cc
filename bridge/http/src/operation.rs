//! One operation of the HTTP API: what it is called, who carries it out, what it takes and what it answers. The routes
//! ([`routes`]) and the OpenAPI document (`openapi`) are made of the same tables, so neither has what the other has not.
//!
//! What an operation does not take is refused: fields of its body by the types that are read, the rest here.

use std::convert::Infallible;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter};

use super::problem::Problem;
use super::token::AdminScope;

/// Largest body that is looked at where none is taken.
const NO_BODY_BYTES_MAX: usize = 1_024;

/// Who carries it out: a handler as the route of a method.
type Handler<S> = fn(MethodFilter) -> MethodRouter<S, Infallible>;

/// An operation: a method on a path.
pub(super) struct Operation<S> {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) handler: Handler<S>,
    pub(super) summary: &'static str,
    /// The calls of `client.proto` that it makes, by their names: one of them, by what its body says.
    pub(super) calls: &'static [&'static str],
    /// Parameters of the query: `name`, or `name:kind` where the name alone does not say it.
    pub(super) query: &'static [&'static str],
    /// Schema of the body; `None`: it takes none.
    pub(super) body: Option<&'static str>,
    /// Status of the answer, and its schema.
    pub(super) answer: (u16, Option<&'static str>),
    /// Repeated under the same key or number, it is answered with 200 and the same schema.
    pub(super) once: bool,
    /// Its body may be as large as a message's.
    pub(super) large: bool,
    /// What a token must allow, for an operator's command.
    pub(super) scope: AdminScope,
}

/// One that takes and answers nothing.
pub(super) const fn op<S>(
    method: &'static str,
    path: &'static str,
    handler: Handler<S>,
    summary: &'static str,
) -> Operation<S> {
    Operation {
        method,
        path,
        handler,
        summary,
        calls: &[],
        query: &[],
        body: None,
        answer: (204, None),
        once: false,
        large: false,
        scope: AdminScope::Admin,
    }
}

impl<S> Operation<S> {
    fn filter(&self) -> MethodFilter {
        match self.method {
            "get" => MethodFilter::GET,
            "post" => MethodFilter::POST,
            "put" => MethodFilter::PUT,
            "patch" => MethodFilter::PATCH,
            "delete" => MethodFilter::DELETE,
            other => unreachable!("no operation has the method {other}"),
        }
    }
}

/// The routes of a table. A body that is `large` may have so many bytes.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(table: &[Operation<S>], large_bytes_max: usize) -> Router<S> {
    table.iter().fold(Router::new(), |routes, operation| {
        let takes = Takes { query: !operation.query.is_empty(), body: operation.body.is_some() };
        let mut route = (operation.handler)(operation.filter());
        if operation.large {
            route = route.route_layer(DefaultBodyLimit::max(large_bytes_max));
        }
        let route = route.route_layer(middleware::from_fn(move |request, next| takes.refuse_more(request, next)));
        let scope = operation.scope;
        let route = route.route_layer(middleware::from_fn(move |request, next| scope.require(request, next)));
        routes.route(operation.path, route)
    })
}

/// What of a request is read.
#[derive(Clone, Copy)]
struct Takes {
    query: bool,
    body: bool,
}

impl Takes {
    async fn refuse_more(self, request: Request, next: Next) -> Response {
        if !self.query && request.uri().query().is_some_and(|query| !query.is_empty()) {
            return Problem::new(StatusCode::BAD_REQUEST, "this takes no query").into_response();
        }
        if self.body {
            return next.run(request).await;
        }
        let (head, body) = request.into_parts();
        // An empty object says as little as nothing.
        match to_bytes(body, NO_BODY_BYTES_MAX).await {
            Ok(bytes) if matches!(bytes.trim_ascii(), b"" | b"{}") => {
                next.run(Request::from_parts(head, bytes.into())).await
            }
            _ => Problem::new(StatusCode::BAD_REQUEST, "this takes no body").into_response(),
        }
    }
}
