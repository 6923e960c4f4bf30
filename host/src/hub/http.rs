//! Requests: redirects that never carry the token to another host, and answers in words.

use std::fmt;
use std::path::Path;

use ureq::http::{HeaderMap, Response, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::settings::{Settings, Token};

/// Redirects that are followed.
const HOPS: usize = 10;

/// Why a request brought nothing.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The server answered with a status that is no success.
    Status {
        /// The status.
        status: u16,
        /// `X-Error-Code` of the hub; empty elsewhere.
        code: String,
        /// `X-Error-Message` of the hub; empty elsewhere.
        message: String,
        /// `X-Repo-Commit` of the hub; empty elsewhere.
        commit: String,
    },
    /// No answer, or half of one.
    Network(String),
    /// Anything that no further request changes.
    Other(String),
}

impl Refusal {
    /// Whether the same request may succeed in a moment.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Self::Network(_) => true,
            Self::Other(_) => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, code, message, .. } => {
                write!(f, "status {status}")?;
                let words: Vec<_> = [code, message].into_iter().filter(|word| !word.is_empty()).map(String::as_str).collect();
                if words.is_empty() { Ok(()) } else { write!(f, " ({})", words.join(": ")) }
            }
            Self::Network(why) | Self::Other(why) => f.write_str(why),
        }
    }
}

/// Scheme, host and port.
type ServerOrigin = (String, String, u16);

fn origin(url: &str) -> Result<ServerOrigin, Refusal> {
    let uri: Uri = url.parse().map_err(|error| Refusal::Other(format!("`{url}` is no address: {error}")))?;
    match (uri.scheme_str(), uri.host()) {
        (Some(scheme @ ("http" | "https")), Some(host)) => {
            let port = uri.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
            Ok((scheme.to_owned(), host.to_lowercase(), port))
        }
        _ => Err(Refusal::Other(format!("`{url}` is no address of the form https://HOST"))),
    }
}

/// Whom to believe: the certificate authorities of Mozilla, or those of a file in PEM.
///
/// # Errors
/// A file that cannot be read, or that holds no certificate.
pub(crate) fn tls(certificates: Option<&Path>) -> Result<TlsConfig, Refusal> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = certificates {
        let bad = |why: String| Refusal::Other(format!("the certificates `{}` (SSL_CERT_FILE): {why}", path.display()));
        let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let all: Vec<_> = parse_pem(&pem)
            .filter_map(|item| if let Ok(PemItem::Certificate(certificate)) = item { Some(certificate) } else { None })
            .collect();
        if all.is_empty() {
            return Err(bad("no certificate is in it".into()));
        }
        tls = tls.root_certs(RootCerts::new_with_certs(&all));
    }
    Ok(tls.build())
}

/// Sends requests.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    token: Option<(Token, ServerOrigin)>,
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Result<Self, Refusal> {
        let agent = Agent::config_builder()
            .tls_config(tls(settings.certificates.as_deref())?)
            // Redirects are followed here, to see to the token.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("vlhub/", env!("CARGO_PKG_VERSION")))
            // A compressed answer would have another length and other ranges than the file.
            .accept_encoding("identity")
            .timeout_resolve(Some(settings.timeout))
            .timeout_connect(Some(settings.timeout))
            .timeout_recv_response(Some(settings.timeout))
            .timeout_per_read(Some(settings.timeout))
            .build()
            .new_agent();
        let token = settings.token.clone().map(|token| match token.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok((token, origin(&settings.endpoint)?)),
            false => Err(Refusal::Other("the token in HF_TOKEN has characters that no token has".into())),
        });
        Ok(Self { agent, token: token.transpose()? })
    }

    /// What the hub says about a file. A redirect to another host is an answer: it has the headers that matter.
    pub(super) fn head(&self, url: &str) -> Result<Response<Body>, Refusal> {
        self.follow(url, true, 0, None)
    }

    /// A file from this byte on; the server may send the whole of it all the same (status 200).
    pub(crate) fn get(&self, url: &str, from: u64) -> Result<Response<Body>, Refusal> {
        self.follow(url, false, from, None)
    }

    /// The same, if the file is still of this version (an ETag); otherwise the whole of it.
    pub(crate) fn get_version(&self, url: &str, from: u64, version: &str) -> Result<Response<Body>, Refusal> {
        self.follow(url, false, from, Some(version))
    }

    fn follow(&self, url: &str, head: bool, from: u64, version: Option<&str>) -> Result<Response<Body>, Refusal> {
        let mut url = url.to_owned();
        let start = origin(&url)?;
        let mut trusted = true;
        for _ in 0..HOPS {
            let mut request = if head { self.agent.head(&url) } else { self.agent.get(&url) };
            let here = origin(&url)?;
            // A host that was left is not trusted again.
            trusted &= here == start;
            if let Some((token, _)) = self.token.as_ref().filter(|(_, home)| trusted && *home == here) {
                request = request.header("authorization", format!("Bearer {}", token.0));
            }
            if from > 0 {
                request = request.header("range", format!("bytes={from}-"));
                if let Some(version) = version {
                    request = request.header("if-range", version);
                }
            }
            let answer = request.call().map_err(|error| network(&url, &error))?;
            let status = answer.status();
            if status.is_redirection() {
                let target = header(answer.headers(), "location").ok_or_else(|| Refusal::Other(format!("{url} redirects to nowhere")))?;
                let target = resolve(&url, target)?;
                let next = origin(&target)?;
                if head && next != here && answer.headers().contains_key("x-repo-commit") {
                    return Ok(answer);
                }
                if here.0 == "https" && next.0 == "http" {
                    return Err(Refusal::Other(format!("{url} redirects to {target}, which is not encrypted")));
                }
                url = target;
                continue;
            }
            if status.is_success() {
                return Ok(answer);
            }
            let word =
                |name: &str| header(answer.headers(), name).unwrap_or_default().chars().filter(|c| !c.is_control()).take(300).collect();
            let (code, message, commit) = (word("x-error-code"), word("x-error-message"), word("x-repo-commit"));
            return Err(Refusal::Status { status: status.as_u16(), code, message, commit });
        }
        Err(Refusal::Other(format!("{url}: more than {HOPS} redirects")))
    }
}

/// A header as text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The address that a `Location` header means.
fn resolve(from: &str, location: &str) -> Result<String, Refusal> {
    if location.contains("://") {
        return Ok(location.to_owned());
    }
    let uri: Uri = from.parse().map_err(|error| Refusal::Other(format!("`{from}` is no address: {error}")))?;
    let scheme = uri.scheme_str().unwrap_or("https");
    let host = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    Ok(match location {
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{host}{location}"),
        _ => format!("{scheme}://{host}{}/{location}", uri.path().rsplit_once('/').map_or("", |(folder, _)| folder)),
    })
}

fn network(url: &str, error: &ureq::Error) -> Refusal {
    let host = origin(url).map(|(_, host, port)| format!("{host}:{port}")).unwrap_or_default();
    Refusal::Network(match error {
        ureq::Error::Timeout(_) => format!("{host} did not answer in time"),
        ureq::Error::HostNotFound => format!("the host {host} was not found"),
        other => {
            let why = if let ureq::Error::Io(why) = other { why.to_string() } else { other.to_string() };
            let hint = if why.contains("certificate") { "; SSL_CERT_FILE names a file of certificates to believe" } else { "" };
            format!("no connection to {host}: {why}{hint}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_relative_to_where_they_come_from() {
        let from = "https://hub.test:8443/a/b/c?x=1";
        for (location, expected) in [
            ("https://cdn.test/f", "https://cdn.test/f"),
            ("//cdn.test/f", "https://cdn.test/f"),
            ("/f?y=2", "https://hub.test:8443/f?y=2"),
            ("f", "https://hub.test:8443/a/b/f"),
        ] {
            assert_eq!(resolve(from, location).unwrap(), expected);
        }
        assert!(origin("file:///etc/passwd").is_err());
        assert_eq!(origin("https://HUB.test/a").unwrap(), ("https".into(), "hub.test".into(), 443));
    }
}
