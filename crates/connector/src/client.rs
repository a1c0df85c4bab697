//! The HTTP client: one for all bots. It resolves a name once, connects to an address that is allowed,
//! follows no redirects and uses no proxy.

use std::{net::IpAddr, sync::Arc, time::Duration};

use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use rustls::{ClientConfig, RootCertStore};

use crate::address::AddressPolicy;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// Idle connections kept per bot.
const IDLE_PER_HOST: usize = 16;

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// TLS could not be set up.
    #[error("failed to set up TLS")]
    Tls(#[from] rustls::Error),
    /// The rest could not.
    #[error("failed to build the HTTP client")]
    Build(#[from] reqwest::Error),
}

/// Builds the client.
///
/// # Errors
/// TLS or the client itself cannot be set up.
pub(crate) fn build(policy: &AddressPolicy, version: &str) -> Result<Client, ClientError> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls()?)
        .dns_resolver(Resolver(policy.clone()))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .user_agent(format!("stentor/{version}"))
        .build()?;
    Ok(client)
}

/// The system's certificates, or, on an image without any, those that browsers trust.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Resolves by the system and leaves out what may not be called.
#[derive(Debug)]
struct Resolver(AddressPolicy);

/// No address of a name may be called.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name leads only to addresses that may not be called")]
pub(crate) struct Forbidden;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<_> = found.filter(|address| policy.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err(Forbidden.into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

/// The address that a URL names itself, which no resolver is asked about.
pub(crate) fn literal(url: &url::Url) -> Option<IpAddr> {
    match url.host()? {
        url::Host::Ipv4(address) => Some(address.into()),
        url::Host::Ipv6(address) => Some(address.into()),
        url::Host::Domain(_) => None,
    }
}
