//! The published widget: files of one folder, for pages anywhere.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use stentor_apps::App;

use super::{Answer, answer, inject};
use crate::{config::Config, identify::is_encrypted, shared::Shared};

/// The widget itself.
const WIDGET: &str = "xapp-chat-widget.js";
/// Larger files are not served: the widget has 1.5 MB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Whether the published widget is there.
pub(super) async fn has_widget(config: &Config) -> bool {
    let Some(folder) = &config.widget_dir else { return false };
    tokio::fs::metadata(folder.join(WIDGET)).await.is_ok_and(|file| file.is_file())
}

/// A file of the widget's folder.
pub(super) async fn serve<B, T>(
    shared: &Arc<Shared<B>>,
    peer: IpAddr,
    request: &Request<T>,
    name: &str,
) -> Answer {
    let found = path(&shared.config, name).zip(kind(name));
    let Some((path, kind)) = found else { return nothing() };
    let Some(content) = read(path).await else { return nothing() };
    let injected = if name == WIDGET { settings(shared, peer, request) } else { None };
    let mut answer = match injected {
        Some(settings) => {
            answer::file(request, kind, answer::A_MINUTE, inject::into(&content, &settings))
        }
        None => answer::file(request, kind, answer::AN_HOUR, content),
    };
    let fields = answer.headers_mut();
    fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    fields.insert(
        header::HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    // The settings name the host by which the file was asked for.
    fields.insert(header::VARY, HeaderValue::from_static("Host"));
    answer
}

/// What is written into the widget for the app in question; nothing if there is no telling which.
fn settings<B, T>(shared: &Shared<B>, peer: IpAddr, request: &Request<T>) -> Option<String> {
    let app = app(shared, request)?;
    let encrypted = is_encrypted(peer, request.headers(), &shared.config.trusted_proxies);
    let url = match &shared.config.public_url {
        Some(url) => url.clone(),
        None => {
            let host = request.headers().get(header::HOST)?.to_str().ok()?;
            let scheme = if encrypted { "wss" } else { "ws" };
            is_host(host).then(|| format!("{scheme}://{host}/"))?
        }
    };
    // The page of an agent, about one session.
    let session = parameter(request, "session=").and_then(|session| session.parse().ok());
    Some(inject::settings(&app, &url, session))
}

fn app<B, T>(shared: &Shared<B>, request: &Request<T>) -> Option<Arc<App>> {
    let apps = shared.apps();
    let named = parameter(request, "app=");
    let single = shared.config.single_app.as_ref().map(stentor_types::AppId::as_str);
    match single.or(named) {
        Some(name) => apps.get(name).cloned(),
        None => apps.only().cloned(),
    }
}

fn parameter<'a, T>(request: &'a Request<T>, name: &str) -> Option<&'a str> {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').find_map(|pair| pair.strip_prefix(name))
}

/// Letters, digits and the few signs of a host and its port: nothing that means something in a URL.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
        })
}

/// Where a file is, if its name is one that could be served: plain names, no hidden ones.
fn path(config: &Config, name: &str) -> Option<PathBuf> {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    let folder = config.widget_dir.as_ref()?;
    name.split('/').all(plain).then(|| folder.join(name))
}

fn kind(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => return None,
    })
}

async fn read(path: PathBuf) -> Option<Bytes> {
    let file = tokio::fs::metadata(&path).await.ok()?;
    if !file.is_file() || file.len() > FILE_BYTES_MAX {
        return None;
    }
    tokio::fs::read(path).await.ok().map(Bytes::from)
}

fn nothing() -> Answer {
    answer::text(StatusCode::NOT_FOUND, "There is no such file.\n")
}
