//! Sends and resends of one lane meet in every order that their threads can take, and in every way that the memory
//! orderings of [`Sends`] allow: what goes in of a lane stays in the order of its numbers. `scripts/models` runs this.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use franking_core::Record;
use loom::{sync::Mutex, thread};

use super::order::{Order, Place, Sends};

/// Runs a model in all orders.
fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(AtomicUsize::new(0));
    let builder = loom::model::Builder::new();
    builder.check({
        let orders = Arc::clone(&orders);
        move || {
            orders.fetch_add(1, Ordering::Relaxed);
            model();
        }
    });
    let orders = orders.load(Ordering::Relaxed);
    assert!(orders > 1, "nothing in this model meets anything");
    println!("{name}: {orders} orders");
}

/// A stack with its engine's queue, which holds the numbers of what went in.
struct Stack {
    sends: Sends,
    queue: Mutex<Vec<(&'static str, u64)>>,
}

impl Stack {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            sends: Sends::new(Order::Keep),
            queue: Mutex::new(Vec::new()),
        })
    }

    fn send(&self, key: &'static str) -> u32 {
        let ticket = self.sends.note(&Record::new("t").key(key));
        self.queue.lock().unwrap().push((key, ticket.into()));
        ticket
    }

    /// One that came back as not persisted.
    fn failed(&self, key: &'static str) -> Place {
        let ticket = self.send(key);
        self.come_back(ticket)
    }

    fn come_back(&self, ticket: u32) -> Place {
        self.queue
            .lock()
            .unwrap()
            .retain(|(_, number)| *number != u64::from(ticket));
        self.sends.strike_out(ticket).expect("it is remembered")
    }

    /// As the retry layer does it when a wait is over.
    fn resend(&self, key: &'static str, place: Place) -> bool {
        let resending = loop {
            match self.sends.resend(place.lane) {
                Some(resending) => break resending,
                None => thread::yield_now(),
            }
        };
        let goes = resending.latest_behind(place.number) == 0 && resending.write_back(place.number);
        if goes {
            self.queue.lock().unwrap().push((key, place.number));
        }
        goes
    }

    /// What went in of a lane.
    fn lane(&self, key: &'static str) -> Vec<u64> {
        let queue = self.queue.lock().unwrap();
        let ours = queue.iter().filter(|(other, _)| *other == key);
        ours.map(|(_, number)| *number).collect()
    }
}

/// A resend goes before a send that comes meanwhile, or not at all.
#[test]
fn a_send_meets_a_resend() {
    explore("order, a send meets a resend", || {
        let stack = Stack::new();
        let place = stack.failed("k");
        let sender = thread::spawn({
            let stack = Arc::clone(&stack);
            move || stack.send("k")
        });
        let went = stack.resend("k", place);
        sender.join().unwrap();
        assert_eq!(stack.lane("k"), if went { vec![1, 2] } else { vec![2] });
    });
}

/// A sender of another lane stands in nobody's way, not even one that is stopped before its lane is noted.
#[test]
fn a_send_of_another_lane_meets_a_resend() {
    explore("order, a send of another lane meets a resend", || {
        let stack = Stack::new();
        let place = stack.failed("k");
        let sender = thread::spawn({
            let stack = Arc::clone(&stack);
            move || stack.send("other")
        });
        assert!(stack.resend("k", place), "nobody sent behind it");
        sender.join().unwrap();
        assert_eq!((stack.lane("k"), stack.lane("other")), (vec![1], vec![2]));
    });
}

/// A later record that comes back as not persisted in that moment counts as gone in, or not; sent again, it comes behind.
#[test]
fn a_later_one_comes_back_meanwhile() {
    explore("order, a later one comes back", || {
        let stack = Stack::new();
        let first = stack.failed("k");
        let second = stack.send("k");
        let resender = thread::spawn({
            let stack = Arc::clone(&stack);
            move || stack.resend("k", first)
        });
        let second = stack.come_back(second);
        let went = resender.join().unwrap();
        assert!(stack.resend("k", second), "nobody sent behind it");
        assert_eq!(stack.lane("k"), if went { vec![1, 2] } else { vec![2] });
    });
}
