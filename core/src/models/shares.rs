//! References in lots: what is shared lives as long as anybody holds a reference from any lot, and is freed once after.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use loom::thread;

use super::{Turns, explore};
use crate::{Share, Shares};

/// References in a lot, as `shares.rs` has it.
const LOT: usize = 512;

/// What is shared, and who holds it.
#[derive(Default)]
struct Count {
    held: AtomicUsize,
    freed: AtomicUsize,
}

struct Shared(Arc<Count>);

impl Drop for Shared {
    fn drop(&mut self) {
        assert_eq!(self.0.held.load(Ordering::SeqCst), 0, "freed too early");
        self.0.freed.fetch_add(1, Ordering::SeqCst);
    }
}

/// A sender's handle, or a reference that it handed out: lets go of it when its turn comes.
fn let_go<T>(turns: &Turns, count: &Count, reference: T) {
    turns.next();
    count.held.fetch_sub(1, Ordering::SeqCst);
    drop(reference);
}

fn share(turns: &Turns, count: &Count, shares: &mut Shares<Shared>) -> Arc<Share<Shared>> {
    turns.next();
    count.held.fetch_add(1, Ordering::SeqCst);
    shares.share()
}

/// A sender hands out the last reference of one lot and the first of the next, and goes, while two engines give
/// references of both lots back.
#[test]
fn over_the_end_of_a_lot() {
    explore("shares, over the end of a lot", || {
        let (turns, count) = (Turns::default(), Arc::new(Count::default()));
        let mut shares = Shares::of(Arc::new(Shared(Arc::clone(&count))));
        count.held.store(1, Ordering::SeqCst);
        let early: Vec<_> = (0..LOT - 1).map(|_| shares.share()).collect();
        count.held.fetch_add(1, Ordering::SeqCst);
        let engine = thread::spawn({
            let (turns, count) = (turns.clone(), Arc::clone(&count));
            move || let_go(&turns, &count, early)
        });
        let last = share(&turns, &count, &mut shares);
        let first = share(&turns, &count, &mut shares);
        assert!(!Arc::ptr_eq(&last, &first), "not the end of a lot");
        let other = thread::spawn({
            let (turns, count) = (turns.clone(), Arc::clone(&count));
            move || {
                let_go(&turns, &count, last);
                let_go(&turns, &count, first);
            }
        });
        let_go(&turns, &count, shares);
        engine.join().unwrap();
        other.join().unwrap();
        assert_eq!(count.freed.load(Ordering::SeqCst), 1);
    });
}

/// A handle that was cloned outlives the first, and hands out of lots of its own.
#[test]
fn a_clone_has_lots_of_its_own() {
    explore("shares, a clone", || {
        let (turns, count) = (Turns::default(), Arc::new(Count::default()));
        let mut shares = Shares::of(Arc::new(Shared(Arc::clone(&count))));
        count.held.store(2, Ordering::SeqCst);
        let mut clone = shares.clone();
        let other = thread::spawn({
            let (turns, count) = (turns.clone(), Arc::clone(&count));
            move || {
                let reference = share(&turns, &count, &mut clone);
                let_go(&turns, &count, clone);
                reference
            }
        });
        let reference = share(&turns, &count, &mut shares);
        let engine = thread::spawn({
            let (turns, count) = (turns.clone(), Arc::clone(&count));
            move || let_go(&turns, &count, reference)
        });
        let_go(&turns, &count, shares);
        let reference = other.join().unwrap();
        assert_eq!(count.freed.load(Ordering::SeqCst), 0);
        let_go(&turns, &count, reference);
        engine.join().unwrap();
        assert_eq!(count.freed.load(Ordering::SeqCst), 1);
    });
}
