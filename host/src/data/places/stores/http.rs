//! Files of web servers, as they are.

use std::io::Read;
use std::time::Duration;

use base64::Engine;
use serde::{Deserialize, Serialize};
use ureq::http::HeaderMap;
use vlhub_core::{Config, Digest, Error, ObjectInfo, ObjectSink, ObjectStore, Result, StoreCx, StoreFault};
use vlhub_sdk::register;
use vlhub_sdk::schemars::JsonSchema;

use crate::hub::http::{Client, Refusal, header};
use crate::hub::settings::Settings;

/// Files of web servers.
///
/// Redirects are followed, but not from `https` to `http`. What a server tells of a file (length, ETag, `Content-MD5`, `x-goog-hash`) is held against
/// what comes. Certificates are those of Mozilla, or of the file that `SSL_CERT_FILE` names.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct HttpConfig {
    /// Seconds that a server may be silent.
    pub timeout: f64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { timeout: 30.0 }
    }
}

register!(dyn ObjectStore, "http", HttpConfig);
register!(dyn ObjectStore, "https", HttpConfig);

impl Config<dyn ObjectStore> for HttpConfig {
    fn build(&self, _: &StoreCx<'_>) -> Result<Box<dyn ObjectStore>> {
        let timeout = Duration::try_from_secs_f64(self.timeout).ok().filter(|timeout| !timeout.is_zero());
        let timeout = timeout.ok_or_else(|| Error::Options("`timeout` is a number of seconds above 0".into()))?;
        let client = Client::new(&Settings::elsewhere(timeout)).map_err(|refusal| Error::invalid(refusal.to_string()))?;
        Ok(Box::new(Http { client }))
    }
}

#[derive(Debug)]
struct Http {
    client: Client,
}

/// A refusal in words: never with the address, whose query may sign it.
fn fault(refusal: &Refusal) -> StoreFault {
    let why = match refusal {
        Refusal::Status { status, .. } => {
            let meaning = match status {
                401 | 403 => ": the server does not give it to you",
                404 | 410 => ": there is no such file",
                408 | 429 | 500..=599 => ": the server is busy or broken",
                _ => "",
            };
            format!("status {status}{meaning}")
        }
        other => other.to_string(),
    };
    StoreFault { passes: refusal.passes(), why }
}

/// The digest of the whole file that a server tells, if it tells one.
fn digest(headers: &HeaderMap) -> Option<Digest> {
    let decoded = |text: &str| base64::engine::general_purpose::STANDARD.decode(text.trim()).ok();
    let md5 = |text: &str| decoded(text)?.try_into().ok().map(Digest::Md5);
    // Google's says both, each in a header of its own or joined by a comma.
    let google = || headers.get_all("x-goog-hash").iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let crc = |text: &str| decoded(text)?.try_into().ok().map(|bytes| Digest::Crc32c(u32::from_be_bytes(bytes)));
    let of = |name: &str| google().find_map(|part| part.trim().strip_prefix(name).map(str::to_owned));
    of("md5=")
        .and_then(|text| md5(&text))
        .or_else(|| of("crc32c=").and_then(|text| crc(&text)))
        .or_else(|| md5(header(headers, "content-md5")?))
}

impl ObjectStore for Http {
    fn fetch(&self, address: &str, begun: Option<(u64, &str)>, to: &mut dyn ObjectSink) -> Result<(), StoreFault> {
        let address = address.split('#').next().unwrap_or_default();
        let answer = match begun {
            None => self.client.get(address, 0),
            Some((from, version)) => self.client.get_version(address, from, version),
        };
        let answer = match answer {
            // There is no such range: the file is another now.
            Err(Refusal::Status { status: 416, .. }) if begun.is_some() => self.client.get(address, 0),
            answer => answer,
        };
        let answer = answer.map_err(|refusal| fault(&refusal))?;
        let headers = answer.headers();
        if header(headers, "content-encoding").is_some_and(|encoding| encoding != "identity") {
            return Err(StoreFault::lasting("the server sends it compressed, although that was not asked for"));
        }
        let rest: Option<u64> = header(headers, "content-length").and_then(|length| length.parse().ok());
        let version = header(headers, "etag").filter(|etag| etag.starts_with('"')).map(str::to_owned);
        let is_part = answer.status() == 206;
        // `Content-Range: bytes FROM-TO/TOTAL`
        let range = header(headers, "content-range").and_then(|range| range.strip_prefix("bytes ")?.split_once('/'));
        let from = range.and_then(|(part, _)| part.split_once('-')?.0.parse::<u64>().ok()).filter(|_| is_part);
        let asked = begun.map(|(from, _)| from);
        if is_part && (from.is_none() || from != asked) {
            return Err(StoreFault::lasting("the server sends another part than was asked for"));
        }
        let from = from.unwrap_or(0);
        let length = range.filter(|_| is_part).and_then(|(_, total)| total.parse().ok()).or(rest.map(|rest| from + rest));
        // A digest of a part would be another.
        let digest = digest(headers).filter(|_| !is_part || headers.contains_key("x-goog-hash"));
        to.begin(&ObjectInfo { length, version, digest }, from)?;
        let mut body = answer.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => to.write(&buffer[..count])?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreFault::passing(format!("the connection was cut: {error}"))),
            }
        }
    }

    fn list(&self, _: &str) -> Result<Vec<String>, StoreFault> {
        Err(StoreFault::lasting("web servers do not list what they have; write braces, such as `{00000..00331}.tar`, in place of `*`"))
    }
}
