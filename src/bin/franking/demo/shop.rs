//! The shop: two services as their teams would write them.
//!
//! This file is the application. It knows a producer of orders, a producer of payments, and the trace that a record came in. It
//! names no layer: what provenance its records carry is not its business.

use franking::{Delivery, Producer, ProducerRecord, SendError};
use opentelemetry::Context;
use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

pub(super) const ORDERS: &str = "orders";
pub(super) const PAYMENTS: &str = "payments";

/// What somebody wants.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) id: u32,
    pub(super) item: String,
    pub(super) cents: u64,
    /// What the customer wrote to it.
    pub(super) note: String,
}

/// What somebody paid.
#[derive(Serialize, Deserialize)]
pub(super) struct Payment {
    pub(super) order: u32,
    pub(super) cents: u64,
}

/// The checkout service takes an order, as the handler of an HTTP request does: in a span of its own.
pub(super) async fn take_order(
    producer: &Producer<String, Order>,
    order: Order,
) -> Result<Delivery, SendError> {
    let request = info_span!("POST /orders", order = order.id);
    async {
        let record = ProducerRecord::new(ORDERS)
            .key(format!("order-{}", order.id))
            .value(order);
        producer.enqueue(record).await
    }
    .instrument(request)
    .await
}

/// The payment service handles an order that it consumed. Its span goes on with the trace that the order came in.
pub(super) async fn pay(
    producer: &Producer<String, Payment>,
    order: &Order,
    came_in: Option<Context>,
) -> Result<Delivery, SendError> {
    let handling = info_span!("pay order", order = order.id);
    if let Some(context) = came_in {
        // Without OpenTelemetry there is no trace to go on with, and the order is paid all the same.
        let _ = handling.set_parent(context);
    }
    async {
        let payment = Payment {
            order: order.id,
            cents: order.cents,
        };
        let record = ProducerRecord::new(PAYMENTS)
            .key(format!("order-{}", order.id))
            .value(payment);
        producer.enqueue(record).await
    }
    .instrument(handling)
    .await
}
