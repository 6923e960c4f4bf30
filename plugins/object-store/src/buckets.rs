//! What the three clouds share: addresses of the form `SCHEME://BUCKET/KEY`, one client for each bucket, and faults in words.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{ClientOptions, Error as CloudError, GetOptions, GetRange, ObjectStore as Objects, RetryConfig};
use tokio::runtime::Runtime;
use vlhub_sdk::{Error, ObjectInfo, ObjectSink, ObjectStore, Result, StoreFault};

/// Letters of a server's answer that are shown.
const SHOWN: usize = 400;

/// Opens a bucket.
type Open = dyn Fn(&str) -> object_store::Result<Arc<dyn Objects>> + Send + Sync;

/// The buckets of one cloud.
pub(crate) struct Buckets {
    scheme: &'static str,
    realm: String,
    remedy: &'static str,
    open: Box<Open>,
    opened: Mutex<BTreeMap<String, Arc<dyn Objects>>>,
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").field("scheme", &self.scheme).field("realm", &self.realm).finish_non_exhaustive()
    }
}

/// One thread drives the connections of all buckets; whoever asks waits for the answer on a thread of its own.
fn runtime() -> Result<&'static Runtime, StoreFault> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        // Another part of the program may have chosen already: then that is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().thread_name("object-store").build().ok()
    });
    made.as_ref().ok_or_else(|| StoreFault::lasting("no thread can be started"))
}

/// How servers are spoken to. `endpoint` is an address of the user's: one that begins with `http://` is meant so.
pub(crate) fn client(timeout: f64, endpoint: &str) -> Result<ClientOptions> {
    let timeout = Duration::try_from_secs_f64(timeout).ok().filter(|timeout| !timeout.is_zero());
    let timeout = timeout.ok_or_else(|| Error::Options("`timeout` is a number of seconds above 0".into()))?;
    if !endpoint.is_empty() && !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        return Err(Error::Options(format!("`endpoint` is `{endpoint}`; write an address, such as `https://minio.example:9000`")));
    }
    let options = ClientOptions::new().with_allow_http(endpoint.starts_with("http://"));
    // A shard takes as long as it takes; only silence is a fault.
    Ok(options.with_timeout_disabled().with_connect_timeout(timeout).with_read_timeout(timeout))
}

/// The host tries again, and goes on where a transfer was cut, even in another process.
pub(crate) fn one_try() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

impl Buckets {
    /// `scheme` begins its addresses, `realm` decides beside them which object is meant, `remedy` says what to do where access is refused.
    pub fn new(
        scheme: &'static str,
        realm: String,
        remedy: &'static str,
        open: impl Fn(&str) -> object_store::Result<Arc<dyn Objects>> + Send + Sync + 'static,
    ) -> Self {
        Self { scheme, realm, remedy, open: Box::new(open), opened: Mutex::default() }
    }

    fn at<'a>(&self, address: &'a str) -> Result<(Arc<dyn Objects>, &'a str, &'a str), StoreFault> {
        let rest = address.strip_prefix(self.scheme).and_then(|rest| rest.strip_prefix("://")).unwrap_or_default();
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(StoreFault::lasting(format!("`{address}` is not of the form `{}://BUCKET/KEY`", self.scheme)));
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(objects) = opened.get(bucket) {
            return Ok((Arc::clone(objects), bucket, key));
        }
        runtime()?;
        let objects = (self.open)(bucket).map_err(|error| self.fault(&error))?;
        opened.insert(bucket.to_owned(), Arc::clone(&objects));
        Ok((objects, bucket, key))
    }

    fn fault(&self, error: &CloudError) -> StoreFault {
        let text: String = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        let text: String = text.chars().take(SHOWN).collect();
        match error {
            CloudError::NotFound { .. } => StoreFault::lasting(format!("there is no such object, or no such bucket: {text}")),
            CloudError::PermissionDenied { .. } | CloudError::Unauthenticated { .. } => {
                StoreFault::lasting(format!("{text}. {}", self.remedy))
            }
            CloudError::Generic { .. } => {
                // No type tells what the server answered.
                let status: Option<u16> =
                    text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3)).and_then(|digits| digits.parse().ok());
                let asks_machine = text.contains("169.254.169.254") || text.contains("metadata.google.internal");
                let lasts = status.is_some_and(|status| !matches!(status, 408 | 429 | 500..=599))
                    || text.contains("redirect without LOCATION")
                    || text.contains("builder error");
                match (asks_machine, lasts) {
                    (true, _) => StoreFault::lasting(format!("there are no credentials: {text}. {}", self.remedy)),
                    (false, true) => StoreFault::lasting(text),
                    (false, false) => StoreFault::passing(text),
                }
            }
            _ => StoreFault::lasting(text),
        }
    }
}

impl ObjectStore for Buckets {
    fn fetch(&self, address: &str, begun: Option<(u64, &str)>, to: &mut dyn ObjectSink) -> Result<(), StoreFault> {
        let (objects, _, key) = self.at(address)?;
        // Slashes at an end would be left out, and another object be meant.
        let path = Path::parse(key).ok().filter(|path| path.as_ref() == key && !key.is_empty());
        let path = path.ok_or_else(|| StoreFault::lasting(format!("`{key}` is no key that can be asked for")))?;
        let runtime = runtime()?;
        let ask = |options: GetOptions| runtime.block_on(objects.get_opts(&path, options));
        let answer = match begun {
            None => ask(GetOptions::default()),
            Some((from, version)) => {
                let part = GetOptions::default().with_range(Some(GetRange::Offset(from))).with_if_match(Some(version));
                match ask(part) {
                    // It is another object now.
                    Err(CloudError::Precondition { .. }) => ask(GetOptions::default()),
                    answer => answer,
                }
            }
        };
        let answer = answer.map_err(|error| self.fault(&error))?;
        let version = answer.meta.e_tag.clone().filter(|etag| !etag.starts_with("W/"));
        // An ETag of S3 is the MD5 of some objects and of others not, and does not say of which.
        to.begin(&ObjectInfo { length: Some(answer.meta.size), version, digest: None }, answer.range.start)?;
        let mut stream = answer.into_stream();
        while let Some(bytes) = runtime.block_on(stream.next()) {
            to.write(&bytes.map_err(|error| StoreFault::passing(self.fault(&error).why))?)?;
        }
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreFault> {
        let (objects, bucket, key) = self.at(prefix)?;
        // Folders are listed as wholes.
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = Path::parse(folder).map_err(|error| StoreFault::lasting(format!("`{folder}` is no folder: {error}")))?;
        let mut stream = objects.list(Some(&path).filter(|_| !folder.is_empty()));
        let mut names = Vec::new();
        while let Some(object) = runtime()?.block_on(stream.next()) {
            let name = format!("{}://{bucket}/{}", self.scheme, object.map_err(|error| self.fault(&error))?.location);
            if name.starts_with(prefix) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn realm(&self) -> String {
        self.realm.clone()
    }
}
