//! Connections: bounded in number, size and time.

use std::convert::Infallible;
use std::io::{self, Cursor};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use vlhub_core::Thumbnail;

use super::answering::Asked;
use super::request::question;
use super::{CONNECTIONS, Door, MOST_BODY, PATIENCE, PictureReading, READING};
use crate::data::pictures;

/// The page.
const PAGE: &str = include_str!("page.html");

/// Longest side of a picture of the index as the page shows it.
const SHOWN: u32 = 320;

/// Pictures that are decoded at a time, of questions and of the index.
const DECODING: usize = 8;

/// The cookie that holds the token, so that pictures of the page are let in as well.
const COOKIE: &str = "vlhub_token=";

/// What is served.
pub(super) struct Site {
    pub door: Door,
    pub reading: PictureReading,
    pub about: Value,
    pub files: Vec<PathBuf>,
    pub questions: Sender<Asked>,
}

/// An answer that is ready.
type Reply = Response<Full<Bytes>>;

/// Starts the threads that accept connections and read requests.
pub(super) fn start(listener: TcpListener, site: Site) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(DECODING).enable_all().build()?;
    let serve = move || {
        runtime.block_on(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => accept(listener, Arc::new(site)).await,
                Err(error) => tracing::error!("cannot accept connections: {error}"),
            }
        });
    };
    std::thread::Builder::new().name("serve".into()).spawn(serve)?;
    Ok(())
}

async fn accept(listener: tokio::net::TcpListener, site: Arc<Site>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, for instance: others will be closed.
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let site = Arc::clone(&site);
                async move { Ok::<_, Infallible>(answer(&site, request).await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(READING).max_buf_size(64 << 10);
            // An ended connection is no event.
            http.serve_connection(TokioIo::new(stream), service).await.ok();
            drop(place);
        });
    }
}

async fn answer(site: &Arc<Site>, request: Request<Incoming>) -> Reply {
    let mut reply = match timeout(PATIENCE, route(site, request)).await {
        Ok(reply) => reply,
        Err(_) => error(StatusCode::GATEWAY_TIMEOUT, "the model is busy; try again later"),
    };
    let headers = reply.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    );
    reply
}

async fn route(site: &Arc<Site>, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if !site.door.admits(text(header::HOST), text(header::ORIGIN)) {
        return error(StatusCode::FORBIDDEN, "this address is served to pages of its own only");
    }
    let path = head.uri.path();
    if let Some(token) =
        head.uri.query().and_then(|query| query.strip_prefix("token=")).filter(|_| path == "/" && head.method == Method::GET)
    {
        return enter(site, token);
    }
    if !site.door.opens(shown_token(&head.headers)) {
        return error(StatusCode::UNAUTHORIZED, "show the token: `Authorization: Bearer TOKEN`, or open the address that was printed");
    }
    let get = head.method == Method::GET || head.method == Method::HEAD;
    match path {
        "/" if get => reply(StatusCode::OK, "text/html; charset=utf-8", PAGE.into()),
        "/api/about" if get => as_json(StatusCode::OK, &site.about),
        "/api/classify" | "/api/search" | "/api/caption" if head.method == Method::POST => ask(site, path, body).await,
        _ if get && path.starts_with("/picture/") => picture(site, &path["/picture/".len()..]).await,
        "/" | "/api/about" | "/api/classify" | "/api/search" | "/api/caption" => {
            error(StatusCode::METHOD_NOT_ALLOWED, "GET / and /api/about; POST /api/classify, /api/search and /api/caption")
        }
        _ => error(StatusCode::NOT_FOUND, "there are /, /api/about, /api/classify, /api/search, /api/caption and /picture/NUMBER"),
    }
}

/// Takes the token out of the address of the page and into a cookie.
fn enter(site: &Site, token: &str) -> Reply {
    if !site.door.opens(Some(token)) {
        return error(StatusCode::UNAUTHORIZED, "this is not the token");
    }
    let mut reply = reply(StatusCode::SEE_OTHER, "text/plain", Bytes::new());
    reply.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
    if let Ok(cookie) = HeaderValue::from_str(&format!("{COOKIE}{token}; HttpOnly; SameSite=Strict; Path=/")) {
        reply.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    reply
}

fn shown_token(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let cookies = headers.get(header::COOKIE).and_then(|value| value.to_str().ok());
    bearer.or_else(|| cookies?.split(';').find_map(|cookie| cookie.trim().strip_prefix(COOKIE)))
}

/// Reads a question, hands it to the model, and waits for the answer.
async fn ask(site: &Arc<Site>, path: &str, body: Incoming) -> Reply {
    let body = match timeout(READING, Limited::new(body, MOST_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(why)) if why.is::<LengthLimitError>() => {
            return error(StatusCode::PAYLOAD_TOO_LARGE, &format!("a body has at most {MOST_BODY} bytes"));
        }
        Ok(Err(why)) => return error(StatusCode::BAD_REQUEST, &format!("the body broke off: {why}")),
        Err(_) => return error(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
    };
    let (asked, reading) = (path.to_owned(), site.reading);
    let question = match tokio::task::spawn_blocking(move || question(&asked, &body, reading)).await {
        Ok(Ok(question)) => question,
        Ok(Err(why)) => return error(StatusCode::UNPROCESSABLE_ENTITY, &why),
        Err(_) => return error(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be read"),
    };
    let (reply, answer) = oneshot::channel();
    match site.questions.try_send((question, reply)) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => return error(StatusCode::SERVICE_UNAVAILABLE, "too many questions are waiting; try again later"),
        Err(TrySendError::Disconnected(_)) => return error(StatusCode::SERVICE_UNAVAILABLE, "the model is gone"),
    }
    match answer.await {
        Ok(Ok(value)) => as_json(StatusCode::OK, &value),
        Ok(Err(why)) => error(StatusCode::UNPROCESSABLE_ENTITY, &why),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "the model gave no answer"),
    }
}

/// A picture of the index, small.
async fn picture(site: &Arc<Site>, number: &str) -> Reply {
    let file = number.parse().ok().and_then(|number: usize| site.files.get(number).cloned());
    let Some(file) = file else { return error(StatusCode::NOT_FOUND, "no picture of the index has this number") };
    let reading = site.reading;
    let small = tokio::task::spawn_blocking(move || {
        let image = pictures::read(&file, &reading.input?, reading.pictures).ok()?;
        let mut jpeg = Cursor::new(Vec::new());
        Thumbnail::shrunk(&image, SHOWN).write_to(&mut jpeg, image::ImageFormat::Jpeg).ok()?;
        Some(Bytes::from(jpeg.into_inner()))
    });
    match small.await {
        Ok(Some(bytes)) => reply(StatusCode::OK, "image/jpeg", bytes),
        _ => error(StatusCode::NOT_FOUND, "the picture cannot be read any more"),
    }
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn as_json(status: StatusCode, value: &Value) -> Reply {
    reply(status, "application/json", value.to_string().into())
}

fn error(status: StatusCode, why: &str) -> Reply {
    as_json(status, &json!({"error": why}))
}
