//! The pool's rules on fakes: a connection is a number that counts how many of its kind are alive.

use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Waker};
use std::thread;

use futures_util::FutureExt;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Longest time for a condition to come about.
const DEADLINE: Duration = Duration::from_secs(10);

const THREE_PLUS_TWO: QueueLimits = QueueLimits {
    size: 3,
    max_overflow: Some(2),
    timeout: Duration::from_secs(1),
    order: HandOutOrder::Fifo,
    recycle: None,
};

const ONE: QueueLimits = QueueLimits { size: 1, max_overflow: Some(0), ..THREE_PLUS_TWO };

struct Fake {
    id: usize,
    alive: Arc<AtomicUsize>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A pool of fakes and who makes them.
#[derive(Clone)]
struct Bench {
    pool: Arc<QueuePool<Fake>>,
    gauges: Arc<PoolGauges>,
    made: Arc<AtomicUsize>,
    alive: Arc<AtomicUsize>,
}

/// The gauges at one moment.
#[derive(Debug, PartialEq, Eq)]
struct PoolCounts {
    checked_out: u64,
    checked_in: u64,
    overflow: u64,
    waiters: u64,
    timeouts: u64,
}

impl Bench {
    fn new(limits: QueueLimits) -> Self {
        let gauges = Arc::<PoolGauges>::default();
        let pool = Arc::new(QueuePool::new(limits, Arc::clone(&gauges)));
        Self { pool, gauges, made: Arc::default(), alive: Arc::default() }
    }

    fn seen(&self) -> PoolCounts {
        let load = |gauge: &std::sync::atomic::AtomicU64| gauge.load(Ordering::Relaxed);
        PoolCounts {
            checked_out: load(&self.gauges.checked_out),
            checked_in: load(&self.gauges.checked_in),
            overflow: load(&self.gauges.overflow),
            waiters: load(&self.gauges.waiters),
            timeouts: load(&self.gauges.timeouts),
        }
    }

    /// Makes the connection of a lease that has none, as a session does.
    fn connect(&self, lease: &mut Lease<Fake>) -> usize {
        if lease.connection().is_none() {
            self.alive.fetch_add(1, Ordering::Relaxed);
            let id = self.made.fetch_add(1, Ordering::Relaxed);
            lease.fill(Fake { id, alive: Arc::clone(&self.alive) });
        }
        lease.connection().unwrap().id
    }

    /// A connected lease, from a pool that has one to give.
    fn take(&self) -> Lease<Fake> {
        let mut lease = self.pool.checkout(Checkout::Blocking).now_or_never().unwrap().unwrap();
        self.connect(&mut lease);
        lease
    }

    fn take_many(&self, count: usize) -> Vec<Lease<Fake>> {
        (0..count).map(|_| self.take()).collect()
    }

    fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// A checkout that has taken its place in the queue.
    fn queue(&self) -> Waiting {
        let pool = Arc::clone(&self.pool);
        let mut waiting: Waiting = Box::pin(async move { pool.checkout(Checkout::Async).await });
        assert!(poll(&mut waiting).is_none(), "nothing is free");
        waiting
    }

    fn wait_for_waiters(&self, count: u64) {
        let deadline = Instant::now() + DEADLINE;
        while self.seen().waiters != count {
            assert!(Instant::now() < deadline, "{count} waiters expected, seen {:?}", self.seen());
            thread::yield_now();
        }
    }
}

/// A checkout under way.
type Waiting = Pin<Box<dyn Future<Output = Result<Lease<Fake>, PoolTimeout>> + Send>>;

fn poll(waiting: &mut Waiting) -> Option<Result<Lease<Fake>, PoolTimeout>> {
    match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(served) => Some(served),
        Poll::Pending => None,
    }
}

fn id(lease: &mut Lease<Fake>) -> usize {
    lease.connection().unwrap().id
}

fn ids(leases: &mut [Lease<Fake>]) -> Vec<usize> {
    leases.iter_mut().map(id).collect()
}

#[test]
fn a_pool_starts_empty_and_its_gauges_follow_every_step() {
    let bench = Bench::new(THREE_PLUS_TWO);
    let seen =
        |checked_out, checked_in, overflow| PoolCounts { checked_out, checked_in, overflow, waiters: 0, timeouts: 0 };
    assert_eq!(bench.seen(), seen(0, 0, 0));
    assert_eq!(bench.gauges.max.load(Ordering::Relaxed), 5);

    let mut leases = Vec::new();
    for (taken, overflow) in [(1, 0), (2, 0), (3, 0), (4, 1), (5, 2)] {
        leases.push(bench.take());
        assert_eq!(bench.seen(), seen(taken, 0, overflow));
    }
    for (taken, kept, overflow) in [(4, 1, 2), (3, 2, 2), (2, 3, 2), (1, 3, 1), (0, 3, 0)] {
        leases.remove(0);
        assert_eq!(bench.seen(), seen(taken, kept, overflow));
    }
}

#[test]
fn an_idle_connection_is_taken_before_a_new_one_is_made() {
    let bench = Bench::new(THREE_PLUS_TWO);
    drop(bench.take());
    assert_eq!(id(&mut bench.take()), 0);
    assert_eq!(bench.made.load(Ordering::Relaxed), 1);
}

#[test]
fn the_longest_idle_connection_is_taken_first_by_default() {
    for (order, expected) in [(HandOutOrder::Fifo, [1, 2, 0]), (HandOutOrder::Lifo, [0, 2, 1])] {
        let bench = Bench::new(QueueLimits { order, ..THREE_PLUS_TWO });
        let mut leases = bench.take_many(3);
        leases.rotate_left(1);
        // Returned as 1, 2, 0.
        leases.drain(..).for_each(drop);
        assert_eq!(ids(&mut bench.take_many(3)), expected, "{order:?}");
    }
}

#[test]
fn of_five_out_of_three_plus_two_the_first_three_returned_are_kept() {
    let bench = Bench::new(THREE_PLUS_TWO);
    let mut leases = bench.take_many(5);
    leases.reverse();
    leases.drain(..).for_each(drop);
    assert_eq!(bench.alive(), 3);
    assert_eq!(ids(&mut bench.take_many(3)), [4, 3, 2]);
}

#[test]
fn of_three_out_of_one_plus_two_one_stays() {
    let bench = Bench::new(QueueLimits { size: 1, ..THREE_PLUS_TWO });
    bench.take_many(3).drain(..).for_each(drop);
    assert_eq!((bench.alive(), bench.seen().overflow), (1, 0));
}

#[test]
fn a_pool_without_an_overflow_limit_never_waits() {
    let bench = Bench::new(QueueLimits { max_overflow: None, ..THREE_PLUS_TWO });
    let leases = bench.take_many(1000);
    assert_eq!((bench.seen().checked_out, bench.seen().overflow), (1000, 997));
    drop(leases);
    assert_eq!((bench.alive(), bench.seen().checked_in), (3, 3));
}

#[test]
fn a_slot_whose_connection_could_not_be_made_does_not_count() {
    let bench = Bench::new(ONE);
    let lease = bench.pool.checkout(Checkout::Blocking).now_or_never().unwrap().unwrap();
    assert_eq!(bench.seen().checked_out, 1, "counted before it is tried");
    drop(lease);
    assert_eq!((bench.seen().checked_out, bench.seen().checked_in), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_slot_whose_connection_could_not_be_made_goes_to_the_next_waiter() {
    let bench = Bench::new(ONE);
    let failing = bench.pool.checkout(Checkout::Blocking).now_or_never().unwrap().unwrap();
    let (mut first, mut second) = (bench.queue(), bench.queue());
    drop(failing);
    let mut served = poll(&mut first).expect("it need not wait for the timeout").unwrap();
    assert!(served.connection().is_none());
    // It fails too: again the count is not stuck, and the next one has its turn.
    drop(served);
    let mut served = poll(&mut second).expect("it need not wait for the timeout").unwrap();
    bench.connect(&mut served);
    drop(served);
    assert_eq!((bench.seen().checked_in, bench.alive()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slot_outlives_the_connection_in_it() {
    let throw_away: [fn(&mut Lease<Fake>); 2] = [Lease::discard, Lease::invalidate];
    for throw_away in throw_away {
        let bench = Bench::new(ONE);
        let mut lease = bench.take();
        let mut waiting = bench.queue();
        throw_away(&mut lease);
        assert_eq!(bench.alive(), 0);
        drop(lease);
        let mut served = poll(&mut waiting).expect("the slot was handed over").unwrap();
        assert_eq!(bench.connect(&mut served), 1);
        served.discard();
        drop(served);
        assert_eq!((bench.seen().checked_in, bench.seen().checked_out), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_beyond_the_size_goes_straight_to_a_waiter() {
    let bench = Bench::new(QueueLimits { size: 1, max_overflow: Some(1), ..THREE_PLUS_TWO });
    let mut leases = bench.take_many(2);
    let mut waiting = bench.queue();
    assert_eq!(bench.seen().waiters, 1);
    leases.pop();
    let mut served = poll(&mut waiting).unwrap().unwrap();
    assert_eq!((id(&mut served), bench.alive()), (1, 2));
    assert_eq!(bench.seen(), PoolCounts { checked_out: 2, checked_in: 0, overflow: 1, waiters: 0, timeouts: 0 });
}

#[tokio::test(start_paused = true)]
async fn an_async_checkout_that_waits_in_vain_says_what_sqlalchemy_says() {
    let bench = Bench::new(THREE_PLUS_TWO);
    let leases = bench.take_many(5);
    let started = tokio::time::Instant::now();
    let error = bench.pool.checkout(Checkout::Async).await.err().unwrap();
    let waited = started.elapsed();
    assert!((1000..=1001).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(
        error.to_string(),
        "QueuePool limit of size 3 overflow 2 reached, connection timed out, timeout 1.00 \
         (Background on this error at: https://sqlalche.me/e/20/3o7r)"
    );
    assert_eq!(bench.seen(), PoolCounts { checked_out: 5, checked_in: 0, overflow: 2, waiters: 0, timeouts: 1 });
    drop(leases);
    assert_eq!(bench.alive(), 3);
}

#[test]
fn a_blocking_checkout_that_waits_in_vain_says_what_sqlalchemy_says() {
    let timeout = Duration::from_millis(50);
    let bench = Bench::new(QueueLimits { timeout, ..ONE });
    let _lease = bench.take();
    let started = Instant::now();
    let error = bench.pool.checkout(Checkout::Blocking).now_or_never().expect("it blocks").err().unwrap();
    assert!(started.elapsed() >= timeout, "{:?}", started.elapsed());
    assert_eq!(
        error.to_string(),
        "QueuePool limit of size 1 overflow 0 reached, connection timed out, timeout 0.05 \
         (Background on this error at: https://sqlalche.me/e/20/3o7r)"
    );
    assert_eq!(bench.seen(), PoolCounts { checked_out: 1, checked_in: 0, overflow: 0, waiters: 0, timeouts: 1 });
    assert!(bench.gauges.waits.sum() >= Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn waiting_tasks_are_served_in_the_order_in_which_they_came() {
    let bench = Bench::new(ONE);
    let lease = bench.take();
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6 {
        let (bench, served) = (bench.clone(), Arc::clone(&served));
        tasks.spawn(async move {
            let _lease = bench.pool.checkout(Checkout::Async).await.unwrap();
            served.lock().unwrap().push(number);
        });
    }
    tokio::task::yield_now().await;
    assert_eq!(bench.seen().waiters, 6);
    drop(lease);
    tasks.join_all().await;
    assert_eq!(*served.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn waiting_threads_are_served_in_the_order_in_which_they_came() {
    let bench = Bench::new(QueueLimits { timeout: DEADLINE, ..ONE });
    let lease = bench.take();
    let served = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..6 {
            let (bench, served) = (&bench, &served);
            scope.spawn(move || {
                let _lease = bench.pool.checkout(Checkout::Blocking).now_or_never().unwrap().unwrap();
                served.lock().unwrap().push(number);
            });
            bench.wait_for_waiters(number + 1);
        }
        drop(lease);
    });
    assert_eq!(served.into_inner().unwrap(), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_leaves_the_queue() {
    let bench = Bench::new(ONE);
    let lease = bench.take();
    let (first, mut second) = (bench.queue(), bench.queue());
    assert_eq!(bench.seen().waiters, 2);
    drop(first);
    assert_eq!(bench.seen().waiters, 1);
    drop(lease);
    assert!(poll(&mut second).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_slot_on_its_way_to_a_dropped_wait_goes_to_the_next() {
    let bench = Bench::new(ONE);
    let lease = bench.take();
    let (first, mut second) = (bench.queue(), bench.queue());
    drop(lease);
    drop(first);
    assert_eq!(id(&mut poll(&mut second).unwrap().unwrap()), 0);
    drop(second);
    assert_eq!(bench.seen(), PoolCounts { checked_out: 0, checked_in: 1, overflow: 0, waiters: 0, timeouts: 0 });
}

#[test]
fn a_detected_disconnect_invalidates_older_connections_only() {
    let bench = Bench::new(THREE_PLUS_TWO);
    let mut leases = bench.take_many(2);
    leases[1].invalidate();
    let younger = bench.connect(&mut leases[1]);
    let oldest = leases.remove(0);
    assert_eq!(bench.alive(), 2, "what somebody uses is left to them");
    drop(oldest);
    drop(leases);
    assert_eq!(bench.connect(&mut bench.take()), 3, "connection 0 was as old as the dead one");
    assert_eq!(id(&mut bench.take()), younger);
    assert_eq!(bench.alive(), 2);
}

#[test]
fn a_late_disconnect_report_leaves_younger_connections_alone() {
    let bench = Bench::new(THREE_PLUS_TWO);
    let mut leases = bench.take_many(2);
    leases[0].invalidate();
    bench.connect(&mut leases[0]);
    leases[1].invalidate();
    leases.drain(..).for_each(drop);
    assert_eq!(id(&mut bench.take()), 2);
}

#[test]
fn a_connection_is_replaced_at_the_first_checkout_after_its_age() {
    let recycle = Duration::from_millis(30);
    let bench = Bench::new(QueueLimits { recycle: Some(recycle), ..ONE });
    let before = Instant::now();
    drop(bench.take());
    loop {
        let asked = Instant::now();
        let id = id(&mut bench.take());
        if id == 1 {
            assert!(before.elapsed() >= recycle, "replaced after {:?}", before.elapsed());
            break;
        }
        assert!(asked - before < DEADLINE, "it was never replaced");
        thread::yield_now();
    }
    assert_eq!(bench.alive(), 1);
}

/// Threads that take, give back, lose patience and drop their waits, as fast as they can.
#[test]
fn no_race_between_threads_loses_or_doubles_a_slot() {
    let bench = Bench::new(QueueLimits {
        size: 2,
        max_overflow: Some(1),
        timeout: Duration::from_micros(300),
        ..THREE_PLUS_TWO
    });
    let out = AtomicUsize::new(0);
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..8_u64 {
            let (bench, out, served) = (&bench, &out, &served);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                for round in 0..150_u64 {
                    let checkout = if number % 2 == 0 { Checkout::Blocking } else { Checkout::Async };
                    let patience = Duration::from_micros((number * 7 + round) % 4 * 200);
                    let taken =
                        runtime.block_on(async { tokio::time::timeout(patience, bench.pool.checkout(checkout)).await });
                    let Ok(Ok(mut lease)) = taken else { continue };
                    let now_out = out.fetch_add(1, Ordering::SeqCst) + 1;
                    assert!(now_out <= 3, "{now_out} out of 2 + 1");
                    if round % 5 > 0 {
                        bench.connect(&mut lease);
                    }
                    if round % 7 == 0 {
                        lease.discard();
                    }
                    // Work, so that the others have to wait.
                    thread::sleep(Duration::from_micros(100));
                    served.fetch_add(1, Ordering::Relaxed);
                    out.fetch_sub(1, Ordering::SeqCst);
                    drop(lease);
                }
            });
        }
    });
    let seen = bench.seen();
    assert_eq!((seen.checked_out, seen.waiters, seen.overflow), (0, 0, 0), "{seen:?}");
    assert!(seen.checked_in <= 2 && bench.alive() as u64 <= seen.checked_in, "{seen:?}, {} alive", bench.alive());
    assert!(served.load(Ordering::Relaxed) > 100 && seen.timeouts > 0, "the race took place: {served:?}, {seen:?}");
    assert_eq!(bench.take_many(3).len(), 3, "all slots can be had");
}

/// One thing that happens to a pool.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody asks, and gets a lease or waits.
    Checkout,
    /// Those who wait look whether they were served.
    Look,
    /// A holder makes the connection if there is none.
    Connect(Index),
    /// A holder is done, or could not connect.
    Return(Index),
    Discard(Index),
    Invalidate(Index),
    GiveUp(Index),
    /// Time passes until all waits are over.
    TimeOut,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Checkout),
        3 => Just(Step::Look),
        6 => any::<Index>().prop_map(Step::Connect),
        4 => any::<Index>().prop_map(Step::Return),
        1 => any::<Index>().prop_map(Step::Discard),
        1 => any::<Index>().prop_map(Step::Invalidate),
        2 => any::<Index>().prop_map(Step::GiveUp),
        1 => Just(Step::TimeOut),
    ];
    prop::collection::vec(step, 1..80)
}

/// Model of the pool, kept by plain counting.
struct PoolModel {
    size: usize,
    capacity: usize,
    idle: usize,
    slots: usize,
    /// Waiters, first come first; with the history of the slot that was handed over.
    queue: Vec<Option<ConnectionHistory>>,
    timeouts: usize,
}

impl PoolModel {
    /// The history of the slot that a checkout gets, or `None` if it has to queue.
    fn checkout(&mut self) -> Option<ConnectionHistory> {
        if self.idle > 0 {
            self.idle -= 1;
            Some(ConnectionHistory::Used)
        } else if self.slots < self.capacity {
            self.slots += 1;
            Some(ConnectionHistory::New)
        } else {
            self.queue.push(None);
            None
        }
    }

    fn give_back(&mut self, history: ConnectionHistory) {
        if let Some(waiter) = self.queue.iter_mut().find(|waiter| waiter.is_none()) {
            *waiter = Some(history);
        } else if history == ConnectionHistory::New || self.idle == self.size {
            self.slots -= 1;
        } else {
            self.idle += 1;
        }
    }

    fn handed_over(&self) -> usize {
        self.queue.iter().flatten().count()
    }
}

/// The pool and its model side by side.
struct Twin {
    bench: Bench,
    model: PoolModel,
    held: Vec<(Lease<Fake>, ConnectionHistory)>,
    waiting: Vec<Waiting>,
}

impl Twin {
    fn new(size: usize, max_overflow: usize) -> Self {
        let bench = Bench::new(QueueLimits { size, max_overflow: Some(max_overflow), ..THREE_PLUS_TWO });
        let capacity = size + max_overflow;
        let model = PoolModel { size, capacity, idle: 0, slots: 0, queue: Vec::new(), timeouts: 0 };
        Self { bench, model, held: Vec::new(), waiting: Vec::new() }
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Checkout => self.checkout(),
            Step::Look => self.look(),
            Step::Connect(index) => self.with_holder(*index, Self::connect),
            Step::Return(index) => self.with_holder(*index, Self::give_back),
            Step::Discard(index) => self.with_holder(*index, |twin, holder| twin.held[holder].0.discard()),
            Step::Invalidate(index) => self.with_holder(*index, |twin, holder| twin.held[holder].0.invalidate()),
            Step::GiveUp(index) => self.give_up(*index),
            Step::TimeOut => {
                tokio::time::advance(THREE_PLUS_TWO.timeout + Duration::from_millis(1)).await;
                self.time_out();
            }
        }
        self.check();
    }

    fn with_holder(&mut self, index: Index, act: impl FnOnce(&mut Self, usize)) {
        if !self.held.is_empty() {
            act(self, index.index(self.held.len()));
        }
    }

    fn checkout(&mut self) {
        let pool = Arc::clone(&self.bench.pool);
        let mut waiting: Waiting = Box::pin(async move { pool.checkout(Checkout::Async).await });
        match (self.model.checkout(), poll(&mut waiting)) {
            (Some(history), Some(served)) => self.held.push((served.unwrap(), history)),
            (None, None) => self.waiting.push(waiting),
            (expected, served) => panic!("served: {}, expected: {}", served.is_some(), expected.is_some()),
        }
    }

    fn look(&mut self) {
        let mut index = 0;
        while index < self.waiting.len() {
            match (self.model.queue[index], poll(&mut self.waiting[index])) {
                (Some(history), Some(served)) => {
                    self.model.queue.remove(index);
                    drop(self.waiting.remove(index));
                    self.held.push((served.unwrap(), history));
                }
                (None, None) => index += 1,
                (expected, served) => panic!("served: {}, expected: {}", served.is_some(), expected.is_some()),
            }
        }
    }

    fn connect(&mut self, holder: usize) {
        let (lease, history) = &mut self.held[holder];
        self.bench.connect(lease);
        *history = ConnectionHistory::Used;
    }

    fn give_back(&mut self, holder: usize) {
        let (lease, history) = self.held.remove(holder);
        drop(lease);
        self.model.give_back(history);
    }

    fn give_up(&mut self, index: Index) {
        if !self.waiting.is_empty() {
            let index = index.index(self.waiting.len());
            drop(self.waiting.remove(index));
            if let Some(history) = self.model.queue.remove(index) {
                self.model.give_back(history);
            }
        }
    }

    fn time_out(&mut self) {
        for (mut waiting, handed_over) in self.waiting.drain(..).zip(self.model.queue.drain(..)) {
            match (handed_over, poll(&mut waiting).expect("the wait is over")) {
                (Some(history), Ok(lease)) => self.held.push((lease, history)),
                (None, Err(_)) => self.model.timeouts += 1,
                (expected, served) => panic!("served: {}, expected: {}", served.is_ok(), expected.is_some()),
            }
        }
    }

    fn check(&mut self) {
        let PoolModel { size, capacity, idle, slots, timeouts, .. } = self.model;
        let handed_over = self.model.handed_over();
        assert!(slots <= capacity && idle <= size);
        assert_eq!(slots, idle + self.held.len() + handed_over, "no slot is lost, none is there twice");
        let expected = PoolCounts {
            checked_out: (slots - idle) as u64,
            checked_in: idle as u64,
            overflow: slots.saturating_sub(size) as u64,
            waiters: (self.model.queue.len() - handed_over) as u64,
            timeouts: timeouts as u64,
        };
        assert_eq!(self.bench.seen(), expected);
        assert!(self.bench.alive() <= slots, "{} connections in {slots} slots", self.bench.alive());
        let connections = self.held.iter_mut().filter_map(|(lease, _)| lease.connection());
        let mut ids: Vec<usize> = connections.map(|connection| connection.id).collect();
        let connected = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), connected, "no connection has two holders");
    }

    /// Everybody finishes.
    fn end(mut self) {
        self.look();
        self.waiting.clear();
        self.model.queue.clear();
        for holder in 0..self.held.len() {
            self.connect(holder);
        }
        self.check();
        let expected = self.model.slots.min(self.model.size);
        while !self.held.is_empty() {
            self.give_back(0);
        }
        self.check();
        assert_eq!(self.model.idle, expected, "of those that exist, up to `size` are kept");
        let Self { bench, .. } = self;
        drop(bench.pool);
        assert_eq!(bench.alive.load(Ordering::Relaxed), 0, "no connection outlives the pool");
    }
}

proptest! {
    #[test]
    fn whatever_happens_in_whatever_order_slots_are_neither_lost_nor_doubled(
        size in 1_usize..4,
        max_overflow in 0_usize..3,
        steps in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut twin = Twin::new(size, max_overflow);
            for step in &steps {
                twin.take(step).await;
            }
            twin.end();
        });
    }
}
