//! Tokens: asked for with an event, given, and refused.

use std::time::{Duration, SystemTime};

use super::*;
use crate::oauthbearer::OAuthBearerToken;

fn client(more: &[(&str, &str)]) -> Client<()> {
    // No broker is there, and none is needed.
    let all = [("bootstrap.servers", "127.0.0.1:1"), ("log_level", "0")];
    let all = all.iter().chain(more);
    let all = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Client::new(&all.collect::<Vec<_>>()).unwrap()
}

/// Polls until this event comes, or some seconds have passed.
fn hears(client: &Client<()>, what: impl Fn(&Event<'_, ()>) -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut heard = false;
    while !heard && Instant::now() < deadline {
        client.poll(Duration::from_millis(50), |event| heard |= what(&event));
    }
    heard
}

#[test]
fn a_token_is_asked_for_and_taken_and_an_expired_one_is_not() {
    let client = client(&[
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanisms", "OAUTHBEARER"),
    ]);
    assert!(hears(&client, |event| matches!(event, Event::TokenWanted)));

    let now = SystemTime::now();
    let token = |expires| {
        let token = OAuthBearerToken::new("hunter2", expires, "alice").unwrap();
        token.extension("team", "till").unwrap()
    };
    // With nothing left of its life, it is asked for again at once.
    client
        .set_token(&token(now + Duration::from_secs(2)))
        .unwrap();
    assert!(hears(&client, |event| matches!(event, Event::TokenWanted)));
    let forever = now.checked_add(Duration::from_secs(1 << 40)).unwrap();
    client.set_token(&token(forever)).unwrap();
    let error = client.set_token(&token(now)).unwrap_err();
    assert_eq!(error, "it has expired");

    client.token_failed("the provider\0 is away");
    assert!(hears(&client, |event| matches!(event,
        Event::Error { reason, .. } if reason.ends_with("token: the provider is away"))));
}

#[test]
fn a_client_without_tokens_says_so() {
    let client = client(&[]);
    let token = OAuthBearerToken::new(
        "hunter2",
        SystemTime::now() + Duration::from_secs(60),
        "alice",
    );
    let error = client.set_token(&token.unwrap()).unwrap_err();
    assert!(
        error.contains("not the configured") && !error.contains("hunter2"),
        "{error}"
    );
    // And nothing happens.
    client.token_failed("away");
}
