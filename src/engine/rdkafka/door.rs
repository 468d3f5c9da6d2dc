//! Whether the brokers let this client in.
//!
//! librdkafka takes a refusal for one more connection that failed: it tries again, and its records wait for
//! `delivery.timeout.ms`, two minutes by default, to fail as timed out. Here the refusals that are certain (see
//! [`refusal`](super::refusal)) are remembered, one a broker, and when one was heard librdkafka is asked again and again
//! whether any broker is connected. Then there are these cases:
//!
//! - **Some broker is**: the door stays open. Records for the broker that refuses wait, since their partition may
//!   be led by another one soon; if they time out, they say what that broker said.
//! - **None is, and all that were heard of refuse**: after [`PATIENCE`] the door is shut.
//! - **None is, and some of them are only away**: those may come back and be friendly, so it is shut only after
//!   [`LONG_PATIENCE`].
//!
//! While it is shut, records fail at once, and those that wait in librdkafka's queue are purged: not persisted, or
//! *unknown* if they were sent before and have no answer, as librdkafka's status says. The question is asked on, which has
//! librdkafka go on connecting; with the first broker that is connected the door is open again. So credentials that are
//! granted later need no new producer.
//!
//! A refusal that is repeated in the same words within 30 s is one that librdkafka does not tell. So who is let in and put
//! out again within that time may hear so half a minute late.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use franking_core::Failure;
use tracing::{error, info};

use super::{
    native::refused_certificate,
    refusal::{self, Refusal},
};

/// How long no broker may be connected: long enough for a few more attempts (`reconnect.backoff.max.ms` is 1 s).
const PATIENCE: Duration = Duration::from_secs(2);

/// The same, where brokers are away that did not refuse: long enough for one to be started again.
const LONG_PATIENCE: Duration = Duration::from_secs(30);

/// How long a refusal counts. librdkafka tells one that is repeated every 30 s.
const STANDS: Duration = Duration::from_secs(45);

/// The time between two questions. Each lets librdkafka try one connection, no more: the brokers are not to be flooded.
const QUESTION: Duration = Duration::from_millis(250);

/// So many brokers are remembered. Their names are what a cluster says, so there could be any number.
const MOST: usize = 1000;

/// The refusals that were heard, and what follows from them.
#[derive(Default)]
pub(super) struct Door {
    /// As `state.shut`: read for each record.
    shut: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The latest failure of each broker's connection.
    heard: HashMap<String, Heard>,
    /// What was found wrong with a broker's certificate: it is said before the connection fails.
    certificates: HashMap<String, i32>,
    /// Why records fail at once, while they do.
    shut: Option<Failure>,
    /// Why they last did.
    last: Option<Failure>,
    /// When a broker was found to be connected. What was heard before closes no door.
    connected: Option<Instant>,
    /// Since when a refusal was heard and no broker is connected.
    since: Option<Instant>,
    /// When to ask again whether one is.
    next: Option<Instant>,
}

struct Heard {
    at: Instant,
    /// `None`: it failed otherwise.
    refusal: Option<Refusal>,
}

impl Door {
    /// Why a record fails at once, if it does. An atomic read if not.
    pub(super) fn refuses(&self) -> Option<Failure> {
        match self.shut.load(Ordering::Relaxed) {
            true => self.lock().shut.clone(),
            false => None,
        }
    }

    /// Why records were purged from the queue, if the door is or was shut.
    pub(super) fn why_purged(&self) -> Option<Failure> {
        self.lock().last.clone()
    }

    /// The latest refusal that still counts, or the suspicion of one: for errors that have no better reason.
    pub(super) fn hint(&self) -> Option<Failure> {
        let state = self.lock();
        state.shut.clone().or_else(|| state.latest(|_| true))
    }

    /// Takes note of a connection that failed.
    pub(super) fn on_error(&self, code: i32, reason: &str) {
        // `NAME: what happened`, where a name is `[PROTOCOL://]HOST:PORT/ID`; what is not about one broker has none.
        let (broker, _) = reason
            .split_once(": ")
            .filter(|(broker, _)| broker.contains('/') && !broker.contains(' '))
            .unwrap_or_default();
        let mut state = self.lock();
        let refusal = refusal::read(code, reason, state.certificates.get(broker).copied());
        if refusal.is_some() || !broker.is_empty() {
            state.hear(broker, refusal);
        }
    }

    /// Takes note of what is only logged: why a certificate is not taken, and connections that just ended. `false`: that has
    /// been logged before. librdkafka says the first for each attempt, and there are many.
    pub(super) fn on_log(&self, facility: &str, message: &str) -> bool {
        if let Some((broker, number)) = refused_certificate(facility, message) {
            let mut state = self.lock();
            if state.certificates.len() > MOST {
                state.certificates.clear();
            }
            return state.certificates.insert(broker.to_owned(), number) != Some(number);
        }
        if facility == "FAIL"
            && let Some(suspicion) = refusal::read(0, message, None)
            && !suspicion.is_certain()
        {
            let message = message.rsplit_once("]: ").map_or(message, |(_, rest)| rest);
            let broker = message.split_once(": ").map_or("", |(broker, _)| broker);
            self.lock().hear(broker, Some(suspicion));
        }
        true
    }

    /// Asks whether a broker is connected, if a refusal was heard and it is time. Called again and again, by one thread.
    /// `true`: the door is shut, and what is queued is to be purged.
    pub(super) fn attend(&self, is_connected: impl FnOnce() -> bool) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        if state.since.is_none() && state.refusal().is_none() {
            return false;
        }
        let since = *state.since.get_or_insert(now);
        if state.next.is_some_and(|next| now < next) {
            return state.shut.is_some();
        }
        state.next = Some(now + QUESTION);
        drop(state);
        // It takes librdkafka's locks: not under ours.
        let connected = is_connected();
        self.on_answer(connected, now - since)
    }

    /// What follows from the answer, after so long without a better one.
    fn on_answer(&self, connected: bool, waited: Duration) -> bool {
        let mut state = self.lock();
        if connected {
            state.connected = Some(Instant::now());
            state.certificates.clear();
        }
        state.heard.retain(|_, heard| heard.stands());
        let Some(refusal) = state.refusal() else {
            (state.since, state.next) = (None, None);
            if state.shut.take().is_some() {
                info!("no broker refuses this producer any more: it takes records again");
            }
            self.shut.store(false, Ordering::Relaxed);
            return false;
        };
        let patience = match state.some_are_away() {
            true => LONG_PATIENCE,
            false => PATIENCE,
        };
        if state.shut.is_none() && waited < patience {
            return false;
        }
        if state.shut.is_none() {
            error!("no broker lets this producer in, so its records fail at once: {refusal}");
        }
        state.shut = Some(refusal.clone());
        state.last = Some(refusal);
        self.shut.store(true, Ordering::Relaxed);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of anybody else's runs under this lock, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hear(&mut self, broker: &str, refusal: Option<Refusal>) {
        let at = Instant::now();
        if self.heard.len() > MOST {
            self.heard.clear();
        }
        self.heard.insert(broker.to_owned(), Heard { at, refusal });
    }

    /// The failure of the latest refusal that may close the door.
    fn refusal(&self) -> Option<Failure> {
        self.latest(|heard| self.is_news(heard) && heard.refuses())
    }

    fn some_are_away(&self) -> bool {
        let mut heard = self.heard.values();
        heard.any(|heard| self.is_news(heard) && !heard.refuses())
    }

    fn is_news(&self, heard: &Heard) -> bool {
        self.connected.is_none_or(|connected| connected < heard.at)
    }

    /// The failure of the latest refusal, or suspicion, of this kind.
    fn latest(&self, kind: impl Fn(&Heard) -> bool) -> Option<Failure> {
        let refusals = self.heard.iter().filter_map(|(broker, heard)| {
            let refusal = heard.refusal.filter(|_| heard.stands() && kind(heard))?;
            Some((heard.at, refusal, broker))
        });
        let (_, refusal, broker) = refusals.max_by_key(|(at, ..)| *at)?;
        Some(refusal.failure(broker))
    }
}

impl Heard {
    fn stands(&self) -> bool {
        self.at.elapsed() < STANDS
    }

    fn refuses(&self) -> bool {
        self.refusal.is_some_and(Refusal::is_certain)
    }
}

#[cfg(test)]
mod tests {
    use franking_core::Code;

    use super::*;

    const AUTHENTICATION: i32 = -169;
    const SSL: i32 = -181;
    const TRANSPORT: i32 = -195;
    const PASSWORD: &str = "sasl_ssl://a:1/1: SASL authentication error: Authentication failed: Invalid username or password";
    const REFUSED: &str = "sasl_ssl://b:1/2: Connect to ipv4#10.0.0.2:1 failed: Connection refused";

    fn heard(lines: &[(i32, &str)]) -> Door {
        let door = Door::default();
        for (code, reason) in lines {
            door.on_error(*code, reason);
        }
        door
    }

    /// Whether it is watched: asked whether a broker is connected.
    fn asks(door: &Door) -> bool {
        let mut asked = false;
        door.lock().next = None;
        door.attend(|| {
            asked = true;
            false
        });
        asked
    }

    #[test]
    fn shuts_when_nobody_lets_it_in_and_opens_with_the_first_connection() {
        let door = heard(&[(AUTHENTICATION, PASSWORD)]);
        assert!(asks(&door));
        assert!(!door.attend(|| panic!("it was asked just now")));
        assert!(!door.on_answer(false, PATIENCE / 2));
        assert!(door.refuses().is_none());
        assert!(door.on_answer(false, PATIENCE));
        let failure = door.refuses().unwrap();
        assert_eq!(*failure.code(), Code::Authentication);
        assert!(
            failure.to_string().contains("sasl_ssl://a:1/1"),
            "{failure}"
        );
        assert!(door.on_answer(false, PATIENCE), "it stays so");
        assert!(!door.on_answer(true, PATIENCE));
        assert!(door.refuses().is_none());
        assert!(door.why_purged().is_some(), "reports may come later");
        assert!(!asks(&door));
        door.on_error(AUTHENTICATION, PASSWORD);
        assert!(asks(&door), "again");
        assert!(door.refuses().is_none(), "with the same patience");
    }

    #[test]
    fn a_broker_that_is_away_may_be_friendly() {
        let door = heard(&[(AUTHENTICATION, PASSWORD), (TRANSPORT, REFUSED)]);
        assert!(!door.on_answer(false, PATIENCE));
        assert!(door.refuses().is_none());
        assert!(door.on_answer(false, LONG_PATIENCE));
        assert!(door.refuses().is_some());
    }

    #[test]
    fn a_broker_that_is_connected_keeps_it_open() {
        let door = heard(&[(AUTHENTICATION, PASSWORD)]);
        assert!(door.hint().is_some());
        assert!(!door.attend(|| true));
        assert!(door.refuses().is_none());
        assert!(door.hint().is_some(), "for the records that wait for it");
        assert!(!asks(&door));
    }

    #[test]
    fn what_is_not_certain_is_a_hint_and_no_more() {
        let door = heard(&[
            (TRANSPORT, REFUSED),
            (
                TRANSPORT,
                "ssl://a:1/1: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?",
            ),
        ]);
        assert!(!asks(&door));
        assert!(
            door.hint()
                .unwrap()
                .to_string()
                .contains("security.protocol")
        );
        let door = Door::default();
        let line = "[thrd:h:1/1]: h:1/1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 3ms in state UP)";
        assert!(door.on_log("FAIL", line));
        assert!(!asks(&door));
        assert!(
            door.hint()
                .unwrap()
                .to_string()
                .contains("h:1/1: the connection ended")
        );
    }

    #[test]
    fn a_later_failure_of_the_same_broker_takes_the_place_of_a_refusal() {
        let down = PASSWORD.replace("SASL authentication error", "Connect failed");
        let door = heard(&[(AUTHENTICATION, PASSWORD), (TRANSPORT, &down)]);
        assert!(!asks(&door));
        assert!(!door.on_answer(false, LONG_PATIENCE));
        assert!(door.refuses().is_none());
    }

    #[test]
    fn the_certificates_fault_is_told_by_the_line_before_and_logged_once() {
        let door = Door::default();
        let line = "[thrd:ssl://h:1/bootstrap]: ssl://h:1/bootstrap: Certificate (subject=/CN=x, issuer=/CN=y) verification callback failed: X509 error 10";
        assert!(door.on_log("SSLCERTVRFY", line));
        assert!(!door.on_log("SSLCERTVRFY", line));
        door.on_error(SSL, "ssl://h:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed");
        assert!(door.hint().unwrap().to_string().contains("expired"));
    }

    #[test]
    fn names_have_no_protocol_where_there_is_no_security() {
        let door = heard(&[
            (TRANSPORT, "h:1/bootstrap: Connect failed"),
            (TRANSPORT, "g:1/2: Connect failed"),
        ]);
        assert_eq!(door.lock().heard.len(), 2);
    }

    #[test]
    fn memory_is_bounded() {
        let door = Door::default();
        for n in 0..10_000 {
            let name = format!("h:{n}/{n}");
            door.on_error(TRANSPORT, &format!("{name}: Connect failed"));
            door.on_log("SSLCERTVRFY", &format!("{name}: Certificate (subject=, issuer=) verification callback failed: X509 error 10"));
        }
        let state = door.lock();
        assert!(state.heard.len() <= MOST + 1 && state.certificates.len() <= MOST + 1);
    }

    #[test]
    fn what_is_said_of_all_brokers_is_no_brokers() {
        let door = heard(&[(AUTHENTICATION, PASSWORD), (-187, "1/1 brokers are down")]);
        assert!(door.on_answer(false, PATIENCE));
        assert!(door.refuses().is_some(), "nobody is away");
    }
}
