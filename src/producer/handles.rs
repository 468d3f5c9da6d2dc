//! Handles of the stack, so that many tasks can send through one producer.

use std::{
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use franking_core::{Delivery, Produce, Record, SendError};

/// A stack behind one border: boxed once, not a layer at a time.
pub(super) trait Stack: Send {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>>;
    fn call(&mut self, record: Record) -> Delivery;
    fn clone_box(&self) -> Box<dyn Stack>;
}

impl<S: Produce<Future = Delivery> + Clone + Send + 'static> Stack for S {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        tower_service::Service::poll_ready(self, cx)
    }

    fn call(&mut self, record: Record) -> Delivery {
        tower_service::Service::call(self, record)
    }

    fn clone_box(&self) -> Box<dyn Stack> {
        Box::new(self.clone())
    }
}

/// tower's `poll_ready` reserves on a handle, and `call` uses that up, so each send needs a handle of its own. They are
/// kept and used again: cloning a stack costs an allocation and a reference count a layer.
pub(super) struct Handles(Mutex<Kept>);

struct Kept {
    prototype: Box<dyn Stack>,
    idle: Vec<Box<dyn Stack>>,
}

/// More sends than this at one moment clone.
const KEPT: usize = 64;

impl Handles {
    pub(super) fn new(prototype: Box<dyn Stack>) -> Self {
        Self(Mutex::new(Kept {
            prototype,
            idle: Vec::new(),
        }))
    }

    /// A handle for one send. Dropped before its `call`, it gives back what it reserved.
    pub(super) fn take(&self) -> Handle<'_> {
        let mut kept = self.lock();
        let stack = match kept.idle.pop() {
            Some(stack) => stack,
            None => kept.prototype.clone_box(),
        };
        Handle { stack, home: self }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A layer's `Clone` may have panicked; the list is whole all the same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One send's handle of the stack.
pub(super) struct Handle<'h> {
    stack: Box<dyn Stack>,
    home: &'h Handles,
}

impl Handle<'_> {
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.stack.poll_ready(cx)
    }

    pub(super) async fn ready(&mut self) -> Result<(), SendError> {
        poll_fn(|cx| self.stack.poll_ready(cx)).await
    }

    /// Sends, once ready. No lock is held meanwhile: layers and hooks run in here.
    pub(super) fn call(self, record: Record) -> Delivery {
        let Self { mut stack, home } = self;
        let delivery = stack.call(record);
        if delivery.may_be_refused() {
            // Whoever refused may stand outside the engine, which then still holds the room for this record. An idle
            // handle would keep it from those who wait; this one goes, and gives it back.
            return delivery;
        }
        let mut kept = home.lock();
        if kept.idle.len() < KEPT {
            kept.idle.push(stack);
        }
        delivery
    }
}
