//! Azure Blob Storage.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use vlhub_sdk::prelude::*;
use vlhub_sdk::{ObjectStore, StoreCx};

use crate::buckets::{Buckets, client, one_try};

/// Objects of Azure Blob Storage: `az://CONTAINER/BLOB`.
///
/// Credentials come from the environment (`AZURE_STORAGE_ACCOUNT_NAME` with `AZURE_STORAGE_ACCOUNT_KEY` or `AZURE_STORAGE_SAS_KEY`, `AZURE_CLIENT_ID` with
/// its secret and tenant, `AZURE_USE_AZURE_CLI`), or from the machine's identity.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "vlhub_sdk::serde", default, deny_unknown_fields)]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct AzConfig {
    /// Storage account. Empty: `AZURE_STORAGE_ACCOUNT_NAME`.
    pub account: String,
    /// Address of the server. Empty: Azure's for the account. One that begins with `http://` is not encrypted.
    pub endpoint: String,
    /// Ask without credentials, as public containers allow.
    pub anonymous: bool,
    /// Seconds that the server may be silent.
    pub timeout: f64,
}

impl Default for AzConfig {
    fn default() -> Self {
        Self { account: String::new(), endpoint: String::new(), anonymous: false, timeout: 30.0 }
    }
}

register!(dyn ObjectStore, "az", AzConfig);

impl Config<dyn ObjectStore> for AzConfig {
    fn build(&self, _: &StoreCx<'_>) -> Result<Box<dyn ObjectStore>> {
        let mut builder = MicrosoftAzureBuilder::from_env().with_retry(one_try());
        if !self.account.is_empty() {
            builder = builder.with_account(&self.account);
        }
        if !self.endpoint.is_empty() {
            builder = builder.with_endpoint(self.endpoint.clone());
        }
        if self.anonymous {
            builder = builder.with_skip_signature(true);
        }
        let value = |key: AzureConfigKey| builder.get_config_value(&key).unwrap_or_default();
        let (account, endpoint) = (value(AzureConfigKey::AccountName), value(AzureConfigKey::Endpoint));
        let builder = builder.with_client_options(client(self.timeout, &endpoint)?);
        Ok(Box::new(Buckets::new(
            "az",
            format!("{account} {endpoint}"),
            "Set `AZURE_STORAGE_ACCOUNT_NAME` and `AZURE_STORAGE_ACCOUNT_KEY`, or `anonymous = true` in `[store.az]` for a public container",
            move |container| Ok(Arc::new(builder.clone().with_container_name(container).build()?)),
        )))
    }
}
