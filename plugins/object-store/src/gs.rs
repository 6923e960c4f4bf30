//! Google Cloud Storage.

use std::sync::Arc;

use object_store::gcp::GoogleCloudStorageBuilder;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{ObjectStore, StoreCx};

use crate::buckets::{Buckets, client, one_try};

/// Objects of Google Cloud Storage: `gs://BUCKET/KEY`.
///
/// Credentials are those of the file that `GOOGLE_APPLICATION_CREDENTIALS` or `GOOGLE_SERVICE_ACCOUNT` names, of `gcloud auth application-default
/// login`, or the machine's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct GsConfig {
    /// Address of the server. Empty: Google's. One that begins with `http://` is not encrypted.
    pub endpoint: String,
    /// Ask without credentials, as public buckets allow.
    pub anonymous: bool,
    /// Seconds that the server may be silent.
    pub timeout: f64,
}

impl Default for GsConfig {
    fn default() -> Self {
        Self { endpoint: String::new(), anonymous: false, timeout: 30.0 }
    }
}

register!(dyn ObjectStore, "gs", GsConfig);

impl Config<dyn ObjectStore> for GsConfig {
    fn build(&self, _: &StoreCx<'_>) -> Result<Box<dyn ObjectStore>> {
        let mut builder = GoogleCloudStorageBuilder::from_env().with_retry(one_try());
        if !self.endpoint.is_empty() {
            builder = builder.with_base_url(&self.endpoint);
        }
        if self.anonymous {
            builder = builder.with_skip_signature(true);
        }
        let builder = builder.with_client_options(client(self.timeout, &self.endpoint)?);
        Ok(Box::new(Buckets::new(
            "gs",
            self.endpoint.clone(),
            "Set `GOOGLE_APPLICATION_CREDENTIALS` to a file of credentials, or `anonymous = true` in `[store.gs]` for a public bucket",
            move |bucket| Ok(Arc::new(builder.clone().with_bucket_name(bucket).build()?)),
        )))
    }
}
