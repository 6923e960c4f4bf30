//! Amazon S3 and what speaks its protocol: MinIO, Ceph, Cloudflare R2, …

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use vlhub_sdk::prelude::*;
use vlhub_sdk::{ObjectStore, StoreCx};

use crate::buckets::{Buckets, client, one_try};

/// Objects of S3, and of servers that speak its protocol: `s3://BUCKET/KEY`.
///
/// Credentials come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`), from web identity tokens, or from the
/// machine's role. Profiles in `~/.aws` are not read: `eval "$(aws configure export-credentials --format env)"` makes them the environment's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct S3Config {
    /// Address of the server. Empty: `AWS_ENDPOINT_URL`, else Amazon's. One that begins with `http://` is not encrypted.
    pub endpoint: String,
    /// Region of the bucket. Empty: `AWS_REGION`, `AWS_DEFAULT_REGION`, else `us-east-1`.
    pub region: String,
    /// Ask without credentials, as public buckets allow.
    pub anonymous: bool,
    /// Name the bucket in the host's name and not in the path. Amazon's own servers take both.
    pub virtual_hosted: bool,
    /// Pay for what is read of a bucket whose owner asks for that.
    pub requester_pays: bool,
    /// Seconds that the server may be silent.
    pub timeout: f64,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            region: String::new(),
            anonymous: false,
            virtual_hosted: false,
            requester_pays: false,
            timeout: 30.0,
        }
    }
}

register!(dyn ObjectStore, "s3", S3Config);

impl Config<dyn ObjectStore> for S3Config {
    fn build(&self, _: &StoreCx<'_>) -> Result<Box<dyn ObjectStore>> {
        let mut builder = AmazonS3Builder::from_env().with_retry(one_try());
        if !self.endpoint.is_empty() {
            builder = builder.with_endpoint(&self.endpoint);
        }
        if !self.region.is_empty() {
            builder = builder.with_region(&self.region);
        }
        if self.anonymous {
            builder = builder.with_skip_signature(true);
        }
        if self.virtual_hosted {
            builder = builder.with_virtual_hosted_style_request(true);
        }
        if self.requester_pays {
            builder = builder.with_request_payer(true);
        }
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint).unwrap_or_default();
        let builder = builder.with_client_options(client(self.timeout, &endpoint)?);
        Ok(Box::new(Buckets::new(
            "s3",
            endpoint,
            "Set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or `anonymous = true` in `[store.s3]` for a public bucket",
            move |bucket| Ok(Arc::new(builder.clone().with_bucket_name(bucket).build()?)),
        )))
    }
}
