use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, header};
use stentor_apps::{App, AppSet, Limits, Texts};
use stentor_protocol::ConnectUrl;
use stentor_types::{AppId, GatewayId};

use super::*;
use crate::config::Config;

fn app(name: &str, origins: &[&str]) -> App {
    App {
        id: AppId::try_new(name).unwrap(),
        bot: None,
        origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
        texts: Texts::default(),
        limits: Limits::default(),
        log_retention: std::time::Duration::from_secs(1),
        history_retention: std::time::Duration::from_secs(1),
        visitor_grace: std::time::Duration::from_secs(1),
        agent_grace: std::time::Duration::from_secs(1),
        keys: stentor_tokens::Keys::default(),
        revoked: std::collections::BTreeSet::new(),
        widget: Default::default(),
    }
}

fn origin(value: &str) -> Origin {
    let mut headers = HeaderMap::new();
    headers.insert(header::ORIGIN, HeaderValue::from_str(value).unwrap());
    Origin::read(&headers, true)
}

fn config() -> Config {
    Config::new(GatewayId(1))
}

fn which(
    config: &Config,
    apps: &AppSet,
    url: &str,
    from: &Origin,
) -> Result<Option<String>, Refusal> {
    let url = ConnectUrl::parse(url).unwrap();
    which_app(config, apps, &url, from).map(|app| app.map(|app| app.as_str().to_owned()))
}

#[test]
fn s2_twenty_tricks_with_the_origin_are_refused() {
    let app = app("demo", &["https://shop.example", "https://shop.example:8443"]);
    assert!(origin("https://shop.example").fits(&app, false));
    assert!(origin("https://SHOP.example").fits(&app, false));
    assert!(origin("https://shop.example:8443").fits(&app, false));
    for bad in [
        "null",
        "",
        "*",
        "http://shop.example",
        "https://shop.example:443",
        "https://shop.example:80",
        "https://shop.example.evil.example",
        "https://evil-shop.example",
        "https://evil.example/https://shop.example",
        "https://shop.example@evil.example",
        "https://shop.example/",
        "https://shop.example#",
        "https://shop.example?",
        "https://shop.example.",
        "https://sub.shop.example",
        "https://shopXexample",
        "shop.example",
        "//shop.example",
        "file://",
        "wss://shop.example",
        "https://shop.example, https://evil.example",
        "https://evil.example https://shop.example",
        "http://localhost",
        "http://127.0.0.1",
    ] {
        assert!(!origin(bad).fits(&app, false), "{bad:?}");
    }
    let mut twice = HeaderMap::new();
    twice.append(header::ORIGIN, HeaderValue::from_static("https://shop.example"));
    twice.append(header::ORIGIN, HeaderValue::from_static("https://shop.example"));
    assert!(!Origin::read(&twice, true).fits(&app, true));
}

#[test]
fn s21_only_in_dev_may_loopback_omit_the_origin_or_have_any() {
    let app = app("demo", &[]);
    let missing = |local| Origin::read(&HeaderMap::new(), local);
    assert!(missing(true).fits(&app, true));
    assert!(!missing(false).fits(&app, true));
    assert!(!missing(true).fits(&app, false));
    for good in
        ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8", "http://a.localhost"]
    {
        assert!(origin(good).fits(&app, true), "{good}");
        assert!(!origin(good).fits(&app, false), "{good}");
    }
    for bad in [
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "ws://localhost",
        "http://localhost:x",
        "http://[::1",
        "http://127.0.0.1@evil.example",
        "http://localhost/",
        "null",
    ] {
        assert!(!origin(bad).fits(&app, true), "{bad}");
    }
}

#[test]
fn the_app_is_the_configured_one_then_the_urls_then_the_origins() {
    let shared = "https://two.example";
    let apps = AppSet::new([
        app("one", &["https://one.example"]),
        app("two", &[shared]),
        app("three", &[shared]),
    ]);
    let (plain, url) = (config(), "/?appId=two&userId=u");
    assert_eq!(which(&plain, &apps, url, &origin(shared)), Ok(Some("two".into())));
    assert_eq!(which(&plain, &apps, url, &origin("https://one.example")), Err(Refusal::Origin));
    assert_eq!(which(&plain, &apps, "/?appId=none", &origin(shared)), Err(Refusal::App));
    assert_eq!(
        which(&plain, &apps, "/dev", &origin("https://one.example")),
        Ok(Some("one".into()))
    );
    assert_eq!(which(&plain, &apps, "/dev", &origin(shared)), Ok(None), "two apps allow it");
    assert_eq!(which(&plain, &apps, "/dev", &origin("https://x.example")), Err(Refusal::Origin));
    let single = Config { single_app: AppId::try_new("one").ok(), ..config() };
    assert_eq!(which(&single, &apps, url, &origin("https://one.example")), Ok(Some("one".into())));
    assert_eq!(which(&single, &apps, url, &origin(shared)), Err(Refusal::Origin));
}

const RANDOM: &str = "1b9d6bcd-bbfd-65d4-9f1a-0c1e5f2a7d33";

fn claim(user_id: &str, headers: &HeaderMap) -> Claim {
    Claim::new(Some(user_id.to_owned()), DeviceCookie::read(headers))
}

#[test]
fn s4_an_id_that_could_be_guessed_counts_only_with_the_devices_cookie() {
    let app = AppId::try_new("demo").unwrap();
    let who = |user: &str, headers: &HeaderMap| claim(user, headers).identity(&app).visitor;
    let none = HeaderMap::new();
    assert_eq!(who(RANDOM, &none), who(RANDOM, &none));
    let prefixed = format!("stentor-widget-user-{RANDOM}");
    assert_eq!(who(&prefixed, &none), who(&prefixed, &none));
    for guessable in [
        "customer-42",
        "00000000-0000-0000-0000-000000000001",
        "me@example.com",
        "1b9d6bcd-bbfd-65d4-9f1a-0c1e5f2a7d3",
        "1b9d6bcdbbfd65d49f1a0c1e5f2a7d331234",
    ] {
        assert_ne!(who(guessable, &none), who(guessable, &none), "{guessable}");
    }
    let mut device = HeaderMap::new();
    let cookie = DeviceCookie::read(&none).header(true).unwrap();
    let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
    device.insert(header::COOKIE, HeaderValue::try_from(format!("a=b; {pair}")).unwrap());
    assert_eq!(who("customer-42", &device), who("customer-42", &device));
    assert_ne!(who("customer-42", &device), who("customer-43", &device));
    assert!(DeviceCookie::read(&device).header(true).is_none(), "it has the cookie already");
}

#[test]
fn the_cookie_is_out_of_reach_of_scripts_and_travels_encrypted() {
    let cookie = DeviceCookie::read(&HeaderMap::new());
    let secure = cookie.header(true).unwrap();
    let secure = secure.to_str().unwrap();
    assert!(secure.ends_with("HttpOnly; SameSite=None; Secure"), "{secure}");
    let plain = cookie.header(false).unwrap();
    assert!(plain.to_str().unwrap().ends_with("HttpOnly; SameSite=Lax"));
}

#[test]
fn s12_addresses_are_believed_from_trusted_proxies_only() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let mut headers = HeaderMap::new();
    headers.append("x-forwarded-for", HeaderValue::from_static("9.9.9.9, 192.0.2.7"));
    headers.append("x-forwarded-for", HeaderValue::from_static("10.0.0.2"));
    let trusted = ["10.0.0.0/8".parse().unwrap()];
    assert_eq!(real_address(address("10.0.0.1"), &headers, &trusted), address("192.0.2.7"));
    assert_eq!(real_address(address("::ffff:10.0.0.1"), &headers, &trusted), address("192.0.2.7"));
    assert_eq!(real_address(address("203.0.113.1"), &headers, &trusted), address("203.0.113.1"));
    assert_eq!(real_address(address("10.0.0.1"), &headers, &[]), address("10.0.0.1"));
    let mut rubbish = HeaderMap::new();
    rubbish.append("x-forwarded-for", HeaderValue::from_static("1.1.1.1, rubbish, 10.0.0.3"));
    assert_eq!(real_address(address("10.0.0.1"), &rubbish, &trusted), address("10.0.0.3"));
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    assert!(is_encrypted(address("10.0.0.1"), &headers, &trusted));
    assert!(!is_encrypted(address("203.0.113.1"), &headers, &trusted));
}
