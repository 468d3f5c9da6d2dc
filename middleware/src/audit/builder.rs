//! How an audit is made.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    Audit, LOOK_EVERY, Receipt, Report, ReportSink, cell::Cell, ledger::Ledger, millis,
    outbox::Outbox, report,
};
use crate::provenance::{Header, Names, percent};

/// An [`Audit`] that differs from the default.
#[must_use = "a builder does nothing until it is built"]
pub struct AuditBuilder {
    width: Duration,
    delay: Duration,
    capacity: usize,
    instance: Option<String>,
    instance_on_all: bool,
    names: Names,
    outbox: Outbox,
}

impl Default for AuditBuilder {
    fn default() -> Self {
        let outbox = Outbox::default();
        outbox.add_sink(Arc::new(ToTracing));
        Self {
            width: Duration::from_secs(600),
            delay: Duration::from_secs(60),
            capacity: 1024,
            instance: None,
            instance_on_all: false,
            names: Names::new(),
            outbox,
        }
    }
}

impl AuditBuilder {
    /// How much time a bucket covers; 10 minutes by default, 1 ms at least.
    pub fn bucket(mut self, width: Duration) -> Self {
        self.width = width;
        self
    }

    /// How long after its end a bucket is reported, so that late records are in it; 60 s by default.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// How many buckets can be open, and how many topics are numbered; 1,024 by default. A bucket takes 128 bytes, and
    /// 1.5 KB when it was open once.
    pub fn capacity(mut self, buckets: usize) -> Self {
        self.capacity = buckets;
        self
    }

    /// Whose records these are, `service.instance.id`: reports say so, and the numbers of forwarded records. As
    /// [`Origin::instance_id`](crate::origin::Origin::instance_id).
    pub fn instance_id(mut self, id: impl Into<String>) -> Self {
        self.instance = Some(id.into());
        self
    }

    /// The numbers of all records say so, for a stack in which the application may set an origin of its own
    /// ([`Origin::if_not_present`](crate::origin::Origin::if_not_present)).
    pub fn instance_on_all(mut self) -> Self {
        self.instance_on_all = true;
        self
    }

    /// Writes the number under an organisation's own name.
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// Gives reports to this sink too, beside `tracing`. At most 63 of them.
    pub fn sink(self, sink: impl ReportSink) -> Self {
        self.outbox.add_sink(Arc::new(sink));
        self
    }

    /// Makes it.
    pub fn build(self) -> Audit {
        static IDS: AtomicU64 = AtomicU64::new(0);
        // One more: for what finds no place.
        let cells = self.capacity.min(u32::MAX as usize - 1) + 1;
        let at_instance = self.instance.as_deref().map(|id| {
            let mut text = String::from("@");
            percent::encode(id, &mut text);
            text
        });
        Audit {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            uuid: Uuid::new_v4(),
            instance: self.instance,
            at_instance,
            instance_on_all: self.instance_on_all,
            sequence: self.names.encoded(Header::Sequence),
            width: millis(self.width).max(1),
            delay: millis(self.delay),
            cells: (0..cells).map(|_| Cell::default()).collect(),
            ledger: Mutex::new(Ledger::new(cells)),
            outbox: Arc::new(self.outbox),
            born: Instant::now(),
            look_at: AtomicU64::new(LOOK_EVERY),
        }
    }
}

impl std::fmt::Debug for AuditBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditBuilder")
            .field("bucket", &self.width)
            .finish_non_exhaustive()
    }
}

/// Where every audit reports to.
struct ToTracing;

impl ReportSink for ToTracing {
    fn write(&self, report: &Arc<Report>, receipt: Receipt) {
        report::trace(report);
        receipt.written();
    }

    fn name(&self) -> &str {
        "tracing"
    }
}
