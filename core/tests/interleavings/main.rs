//! Hooks and recoverers under random interleavings: random stacks over the scripted engine, random orders of sending,
//! answering, failing, losing, closing, dropping, keeping and sending again.
//!
//! Of each record: exactly one outcome; every layer that let it pass hears of it once, innermost first; it comes back
//! unless it is in the topic; it is in the topic once at most; attempts are counted right. In the end no room is used,
//! the totals add up, no record is leaked, and nothing is taken after the close.
//!
//! A plan that fails is made smaller, printed, and tried first from then on (`main.regressions`); `PROPTEST_CASES` sets
//! how many plans are tried, `PROPTEST_RNG_SEED` which.

mod judge;
mod layers;
mod world;

use std::sync::{Mutex, PoisonError};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, FileFailurePersistence, TestRunner},
};

use self::{
    layers::{Kind, Mood, Way},
    world::{Acting, Deciding, Figures, Op, Reply, Sending, carry_out},
};

#[derive(Debug)]
struct Plan {
    room: usize,
    /// One for each sender.
    stacks: Vec<Vec<Kind>>,
    ops: Vec<Op>,
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        4 => Just(Mood::Watches),
        2 => (1..5usize).prop_map(Mood::Refuses),
        1 => (1..5usize).prop_map(Mood::PanicsOnSend),
        1 => Just(Mood::PanicsOnOutcome),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    let way = prop_oneof![
        6 => Just(Way::Keeps),
        1 => Just(Way::Declines),
        1 => Just(Way::Drops),
        1 => Just(Way::Panics),
    ];
    prop_oneof![
        3 => mood().prop_map(Kind::One),
        2 => (mood(), mood()).prop_map(|(outer, inner)| Kind::Two(outer, inner)),
        1 => Just(Kind::Stamps),
        1 => Just(Kind::Clones),
        4 => way.prop_map(Kind::Recovers),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let which = || any::<usize>();
    let reply = prop_oneof![
        2 => Just(Reply::Deliver),
        1 => Just(Reply::WithoutOffset),
        4 => Just(Reply::Fail),
        1 => Just(Reply::FailUnknown),
        1 => Just(Reply::RefuseAtOnce),
        1 => Just(Reply::LoseAcknowledgement),
        1 => Just(Reply::Late),
    ];
    let sending = prop_oneof![
        2 => Just(Sending::Ready),
        12 => proptest::option::of(reply).prop_map(Sending::Send),
        2 => which().prop_map(Sending::Poll),
        2 => which().prop_map(Sending::Drop),
        2 => which().prop_map(Sending::CallBack),
        1 => Just(Sending::NewHandle),
    ];
    let acting = prop_oneof![
        16 => Just(Acting::Stall),
        16 => Just(Acting::Resume),
        16 => (0..4usize).prop_map(Acting::Step),
        16 => (0..60u64).prop_map(Acting::Advance),
        1 => Just(Acting::Close),
        1 => Just(Acting::Kill),
    ];
    let deciding = prop_oneof![
        6 => (which(), any::<bool>()).prop_map(|(which, again)| Deciding::Resend(which, again)),
        1 => which().prop_map(Deciding::Decline),
        1 => which().prop_map(Deciding::Drop),
    ];
    prop_oneof![
        8 => (which(), sending).prop_map(|(who, op)| Op::Sender(who, op)),
        3 => acting.prop_map(Op::Engine),
        4 => deciding.prop_map(Op::Holder),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let room = prop_oneof![1_000..6_000usize, Just(1_000_000)];
    let stacks = vec(vec(kind(), 0..6), 1..4);
    (room, stacks, vec(op(), 1..120)).prop_map(|(room, stacks, ops)| Plan { room, stacks, ops })
}

/// One test at a time: panics of hooks are counted for the process.
static ALONE: Mutex<()> = Mutex::new(());

fn try_plans(name: &str, on_threads: bool, cases: u32) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut config = Config {
        source_file: Some(file!()),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    let (cases, figures) = (config.cases, Mutex::new(Figures::default()));
    let result = TestRunner::new(config).run(&plan(), |plan| {
        let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
        carry_out(&plan, on_threads, &mut figures).map_err(TestCaseError::fail)
    });
    if let Err(wrong) = result {
        panic!("{wrong}");
    }
    let figures = figures.into_inner().unwrap();
    println!("{name}: {cases} plans: {figures:?}");
    figures.everything_happened();
}

#[test]
fn in_every_order() {
    try_plans("in the plan's order", false, 2_000);
}

#[test]
fn on_threads() {
    try_plans("on threads", true, 500);
}
