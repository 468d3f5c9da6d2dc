//! The origin layer: who a record is, and who wrote it.
//!
//! # Example
//! ```
//! use franking_core::{InterceptorLayer, Record, testing::{Scripted, send}};
//! use franking_middleware::origin::{self, Origin};
//! use tower_layer::Layer;
//!
//! let engine = Scripted::new();
//! let origin = Origin::builder()
//!     .service_namespace("shop")
//!     .service_name("checkout")
//!     .environment("prod")
//!     .build()?;
//! let mut stack = InterceptorLayer::new(origin).layer(engine.clone());
//! send(&mut stack, Record::new("orders").value("{}"))?;
//!
//! let headers = &engine.stored()[0].parts.headers;
//! assert_eq!(headers.get_str("prov-id").unwrap().len(), 36);
//! let wrote = origin::parse(headers.get_str("prov-origin").unwrap());
//! assert_eq!(wrote[0], ("service.namespace".into(), "shop".into()));
//! assert_eq!(wrote[1], ("service.name".into(), "checkout".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it stamps
//! - `prov-id`: a UUIDv7 as lower-case text, 36 bytes: the record's identity, and when it was made. Ids of one thread
//!   grow, unless the clock is set back; those of several threads interleave.
//! - `prov-origin`: the syntax of `OTEL_RESOURCE_ATTRIBUTES` with OpenTelemetry's resource names, encoded once, when the
//!   [`Origin`] is built. [`parse`] reads it. Names of hosts and pods can be confidential, so nothing beyond the five
//!   attributes with a setter goes in unless it is asked for.
//! - `prov-path`, on a record that is made of a consumed one: see below.
//! - What CloudEvents requires, [if asked for](OriginBuilder::cloud_events).
//! - The record's timestamp, if it has none: the same millisecond that is in `prov-id`. An engine would take the time a
//!   moment later; so the clock is read once, and a record that is sent again keeps its time.
//!
//! # Records that go on
//! [`Record::forward`](franking_core::Record::forward) passes a consumed record on: it keeps `prov-id` and `prov-origin`, as
//! far as they can be read (otherwise it gets ours: we are the first who can be named), and `prov-path` gets a hop more:
//! who read it, and from where. [`Record::derive`](franking_core::Record::derive) gives a record of our own the path of
//! the one it was made of. What else the consumed record carried goes on when it is forwarded, a signature for one,
//! but for its `prov-seq`: numbers are the sender's.
//!
//! A path has at most 8 hops: then the oldest go, and a leading `…;` says so. A consumed record whose place is none (a
//! topic's name that Kafka does not take, a negative offset) adds no hop.
//!
//! ```
//! use franking_core::{ConsumerRecord, InterceptorLayer, Record, testing::{Scripted, send}};
//! use franking_middleware::{origin::Origin, provenance::Provenance};
//! use tower_layer::Layer;
//!
//! let headers = [
//!     ("prov-id", Some(&b"01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e"[..])),
//!     ("prov-origin", Some(b"service.namespace=shop,service.name=checkout")),
//! ];
//! let consumed = ConsumerRecord::new("orders", 2, 184_467, headers).value(Some(b"{}"));
//!
//! let engine = Scripted::new();
//! let mut mirror = InterceptorLayer::new(Origin::new("mirror")?).layer(engine.clone());
//! send(&mut mirror, Record::new("orders.eu").forward(consumed))?;
//!
//! let stored = engine.stored();
//! let read = Provenance::read(&stored[0].parts.headers);
//! assert_eq!(read.service(), Some("checkout"));
//! let path = read.path.unwrap();
//! assert_eq!((&*path.hops[0].service, path.hops[0].topic, path.hops[0].offset), ("mirror", "orders", 184_467));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Special cases
//! - **The application set a header `prov-…` itself**, or one that others may take for it (another case, blanks around it):
//!   those names are the stack's. [`Origin::overriding`] (what the builder makes) removes and counts it,
//!   [`Origin::if_not_present`] keeps an id and an origin that can be read, and [`Origin::refusing`] refuses the record. So
//!   this layer stands outside of every other that stamps one, and inside of the application's own. `docs/headers.md`
//!   has the rules, and what is not one of these names.
//! - **A failed record that the application sends again** is a new record with a new id (with `if_not_present` it keeps
//!   its own); one that was forwarded keeps its id. What a retry layer further in sends again keeps its id.
//! - **Too many bytes**: see [`OriginBuilder::header_budget`].
//! - Two processes, threads or restarts never share an id: each thread draws 73 random bits from a seeded generator
//!   for each millisecond, and counts within it.
//! - It leaves no hook and needs no runtime.
//!
//! # Cost
//! For a new record no allocation: the headers lie in the record's own memory. 36 ns over an engine that does nothing,
//! 20 of them for the clock, which is read once a record for all layers (`Uuid::now_v7` alone takes 90). A record whose
//! own headers begin with none of the letters of a reserved name costs no more.
//!
//! # What it does not do
//! It does not sign: whoever can write to the topic can write these headers.

mod attributes;
mod budget;
mod builder;
mod cloud_events;
mod conflict;
mod error;
mod ids;
mod path;

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use franking_core::{Failure, HeaderName, Headers, Interceptor, Parts};

pub use self::{attributes::parse, builder::OriginBuilder, error::OriginError};
use self::{
    budget::{Budget, Hops},
    cloud_events::CloudEvents,
    conflict::{Came, Conflict, Reserved},
    ids::IDS,
};
use crate::provenance::{Names, Reader, RecordId};

/// Stamps `prov-id` and `prov-origin`, and `prov-path` on what goes on. See the [module's documentation](self).
pub struct Origin {
    id: HeaderName,
    origin: HeaderName,
    path: HeaderName,
    reserved: Reserved,
    reader: Reader,
    value: String,
    /// `namespace/service@`: how our hops begin.
    me: String,
    instance_id: String,
    conflict: Conflict,
    budget: Budget,
    events: Option<CloudEvents>,
    removed: AtomicU64,
    shed: AtomicU64,
}

impl Origin {
    /// The origin of a service about which only its name is known; the instance gets a random id.
    ///
    /// # Errors
    /// [`OriginError`] for an empty name, or one too long for a header on every record.
    pub fn new(service_name: impl Into<String>) -> Result<Self, OriginError> {
        Self::builder().service_name(service_name).build()
    }

    /// What OpenTelemetry's environment says: `OTEL_SERVICE_NAME`, and from `OTEL_RESOURCE_ATTRIBUTES` the five
    /// attributes that have a setter on the [builder](OriginBuilder).
    ///
    /// # Errors
    /// [`OriginError`] if neither names the service, or the attributes cannot be read.
    pub fn from_env() -> Result<Self, OriginError> {
        OriginBuilder::from_env()?.build()
    }

    /// Sets each attribute by itself.
    pub fn builder() -> OriginBuilder {
        OriginBuilder::default()
    }

    /// Reserved headers that the application set are removed and counted.
    ///
    /// # Errors
    /// As [`OriginBuilder::build`].
    pub fn overriding(attributes: OriginBuilder) -> Result<Self, OriginError> {
        attributes.finish(Conflict::Override)
    }

    /// An id and an origin that the application set are kept, if they can be read, and so are its other reserved headers:
    /// for an application that is no producer of its own, but a gateway that knows who is. An audit should then name its
    /// instance on every record (`AuditBuilder::instance_on_all`).
    ///
    /// # Errors
    /// As [`OriginBuilder::build`].
    pub fn if_not_present(attributes: OriginBuilder) -> Result<Self, OriginError> {
        attributes.finish(Conflict::Keep)
    }

    /// A record on which the application set a reserved header is refused, with
    /// [`Code::Refused`](franking_core::Code::Refused). One that was sent before and came back in an error is not.
    ///
    /// # Errors
    /// As [`OriginBuilder::build`].
    pub fn refusing(attributes: OriginBuilder) -> Result<Self, OriginError> {
        attributes.finish(Conflict::Refuse)
    }

    /// The value of `prov-origin`, as every new record carries it.
    pub fn header(&self) -> &str {
        &self.value
    }

    /// The id of this instance.
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// How many headers with a reserved name were on records that came in, and were removed.
    pub fn reserved_removed(&self) -> u64 {
        self.removed.load(Ordering::Relaxed)
    }

    /// On how many records hops or a `tracestate` were left out for the budget of bytes.
    pub fn shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// The names that it writes under.
    pub fn names(&self) -> &Names {
        self.reader.map()
    }

    /// Whether the application's own id and origin are kept.
    pub fn keeps_present(&self) -> bool {
        self.conflict == Conflict::Keep
    }

    /// What a record says already and shall go on saying. Removes what it shall not.
    fn known(&self, record: &mut Parts) -> Result<Option<Box<Known>>, Failure> {
        let headers = &mut record.headers;
        let Some(history) = record.history.as_deref() else {
            return match self.reserved.may_be_in(headers) {
                true => self.settle(headers, Came::Again),
                false => Ok(None),
            };
        };
        let mut known = if history.is_forwarded() {
            let came = match path::ends_here(headers.get_str(self.path.as_str()), &self.me, history)
            {
                true => Came::AgainFromHistory,
                false => Came::First,
            };
            self.note(self.reserved.restore(headers, history.headers(), came));
            self.read(history.headers())
        } else {
            self.settle(headers, Came::AgainFromHistory)?
                .unwrap_or_default()
        };
        let consumed = self.reader.read(history.headers());
        known.path = Some(path::continued(consumed.path.as_ref(), &self.me, history));
        Ok(Some(known))
    }

    /// Settles the conflict about what the application set; `again` is how the record came if it came again.
    fn settle(&self, headers: &mut Headers, again: Came) -> Result<Option<Box<Known>>, Failure> {
        let came = match headers.get_str(self.origin.as_str()) == Some(self.value.as_str()) {
            true => again,
            false => Came::First,
        };
        match self.conflict {
            Conflict::Override => {}
            Conflict::Keep => {
                self.note(self.reserved.remove_variants(headers));
                return Ok(Some(self.read(headers)));
            }
            Conflict::Refuse => self.reserved.refuse(headers, came)?,
        }
        self.note(self.reserved.remove(headers, came));
        Ok(None)
    }

    fn note(&self, removed: u64) {
        if removed > 0 {
            self.removed.fetch_add(removed, Ordering::Relaxed);
        }
    }

    /// Id and origin, as far as they can be read.
    fn read(&self, headers: &Headers) -> Box<Known> {
        let read = self.reader.read(headers);
        let text = headers.get_str(self.origin.as_str());
        let origin = text.filter(|text| !read.origin.is_empty() && self.budget.takes(text));
        Box::new(Known {
            id: read.id.map(RecordId::to_text),
            origin: origin.map(str::to_owned),
            path: None,
        })
    }

    fn stamp(&self, headers: &mut Headers, known: Option<&mut Known>, id: &[u8; 36]) {
        headers.stamp(&self.id, id);
        let (origin, path) = match known {
            None => (None, None),
            Some(known) => (known.origin.as_deref(), known.path.as_mut()),
        };
        let value = origin.unwrap_or(&self.value);
        headers.stamp(&self.origin, value.as_bytes());
        let shed = match path {
            None => self.budget.fit_state(headers, value),
            Some(path) => {
                let shed = self.budget.fit(headers, value, path);
                match path::write(path) {
                    Some(text) => headers.stamp(&self.path, text.as_bytes()),
                    None => drop(headers.remove(self.path.as_str())),
                }
                shed
            }
        };
        if shed {
            self.shed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(events) = &self.events {
            events.stamp(headers, id, origin);
        }
    }
}

/// What a record said already: it goes on, where it is there.
#[derive(Default)]
struct Known {
    id: Option<[u8; 36]>,
    origin: Option<String>,
    path: Option<Hops>,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("header", &self.value)
            .field("reserved_removed", &self.reserved_removed())
            .field("shed", &self.shed())
            .finish_non_exhaustive()
    }
}

impl Interceptor for Origin {
    type Token = ();
    const OBSERVES: bool = false;

    fn on_send(&self, record: &mut Parts) -> Result<(), Failure> {
        let mut known = self.known(record)?;
        let now = record.wall();
        record.timestamp.get_or_insert(now);
        let headers = &mut record.headers;
        match known.as_ref().and_then(|known| known.id) {
            Some(id) => self.stamp(headers, known.as_deref_mut(), &id),
            None => IDS.with_borrow_mut(|ids| {
                ids.next(now as u64, |id| {
                    self.stamp(headers, known.as_deref_mut(), id);
                });
            }),
        }
        Ok(())
    }
}
