//! SQLAlchemy's `QueuePool`, by its own rules.
//!
//! A pool starts empty and connects lazily. It keeps up to `size` idle connections and lets `max_overflow` more
//! exist under load; when all are out, a checkout waits its turn and fails after `timeout` with SQLAlchemy's text.
//! A connection that comes back goes to the first waiter; without one it is kept, or closed when `size` are idle.
//!
//! The pool counts *slots*. A slot outlives the connection in it: when that breaks, the slot goes back empty and
//! the next one to take it connects anew, as SQLAlchemy's connection records do.
//!
//! Differences: SQLAlchemy's `overflow()` starts at −size; the gauge here is never negative. And a slot is
//! handed to the waiter that has waited longest, where SQLAlchemy lets a newcomer win the race now and then.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use super::PoolGauges;
use crate::settings::Checkout;

/// The limits of a pool, by SQLAlchemy's names.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    pub size: usize,
    /// Connections beyond `size`; `None` is SQLAlchemy's −1, no limit.
    pub max_overflow: Option<usize>,
    /// Timeout of a checkout.
    pub timeout: Duration,
    /// Which idle connection is taken first.
    pub order: HandOutOrder,
    /// A connection older than this is replaced when it is next taken.
    pub recycle: Option<Duration>,
}

/// Which idle connection is taken first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HandOutOrder {
    /// The one that has been idle longest: SQLAlchemy's default.
    #[default]
    Fifo,
    /// The one used last: `use_lifo`.
    Lifo,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "QueuePool limit of size {size} overflow {overflow} reached, connection timed out, timeout {:.2} \
     (Background on this error at: https://sqlalche.me/e/20/3o7r)",
    timeout.as_secs_f64()
)]
pub struct PoolTimeout {
    /// The pool's `size`.
    pub size: usize,
    /// Connections beyond `size` at that moment.
    pub overflow: usize,
    /// Timeout of the checkout.
    pub timeout: Duration,
}

/// A pool of connections `C`.
pub struct QueuePool<C> {
    limits: QueueLimits,
    state: Mutex<PoolState<C>>,
    gauges: Arc<PoolGauges>,
}

struct PoolState<C> {
    /// Slots that nobody has, longest idle first; at most `size`.
    idle: VecDeque<Slot<C>>,
    /// Slots that exist, idle or out.
    slots: usize,
    /// Waiters for a slot, first come first served.
    waiters: VecDeque<oneshot::Sender<Slot<C>>>,
    /// A connection made before this is not used again: a younger one was found dead.
    valid_since: Option<Instant>,
}

/// The right to one connection, with the connection if there is one.
struct Slot<C> {
    connection: Option<(C, Instant)>,
    history: ConnectionHistory,
}

/// History of a slot: whether it has ever had a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ConnectionHistory {
    /// Never: if connecting fails, the slot is forgotten.
    New,
    /// It has: the slot stays, though the connection may go.
    Used,
}

impl<C> Slot<C> {
    const fn new() -> Self {
        Self { connection: None, history: ConnectionHistory::New }
    }
}

/// Result of one attempt to check out.
enum Admission<C> {
    Slot(Slot<C>),
    Wait(oneshot::Receiver<Slot<C>>),
}

impl<C> QueuePool<C> {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: QueueLimits, gauges: Arc<PoolGauges>) -> Self {
        let capacity = limits.max_overflow.map_or(u64::MAX, |overflow| (limits.size + overflow) as u64);
        gauges.max.store(capacity, Ordering::Relaxed);
        let state = PoolState { idle: VecDeque::new(), slots: 0, waiters: VecDeque::new(), valid_since: None };
        Self { limits, state: Mutex::new(state), gauges }
    }

    /// Takes a slot, waiting up to the timeout. With [`Checkout::Blocking`] the wait blocks this thread.
    ///
    /// # Errors
    /// [`PoolTimeout`] when none became free.
    ///
    /// # Cancel safety
    /// A wait that is dropped gives up its turn; a slot that was already on its way goes to the next in line.
    pub async fn checkout(self: &Arc<Self>, checkout: Checkout) -> Result<Lease<C>, PoolTimeout> {
        let receiver = match self.admit() {
            Admission::Slot(slot) => {
                self.gauges.waits.record(Duration::ZERO);
                return Ok(self.lease(slot));
            }
            Admission::Wait(receiver) => receiver,
        };
        let mut turn = PoolTurn { pool: Arc::clone(self), receiver };
        let started = Instant::now();
        let served = match checkout {
            Checkout::Blocking => block_until(&mut turn.receiver, started + self.limits.timeout),
            Checkout::Async => tokio::time::timeout(self.limits.timeout, &mut turn.receiver).await.ok(),
        };
        self.gauges.waits.record(started.elapsed());
        match served {
            Some(Ok(slot)) => Ok(self.lease(slot)),
            // A slot handed over in the instant of the timeout is taken all the same.
            _ => match turn.take_late() {
                Some(slot) => Ok(self.lease(slot)),
                None => Err(self.timed_out()),
            },
        }
    }

    /// Takes an idle slot, else makes one, else queues: never waits.
    fn admit(&self) -> Admission<C> {
        let mut state = self.lock();
        let idle = match self.limits.order {
            HandOutOrder::Fifo => state.idle.pop_front(),
            HandOutOrder::Lifo => state.idle.pop_back(),
        };
        let admission = if let Some(slot) = idle {
            Admission::Slot(slot)
        } else if self.limits.max_overflow.is_none_or(|overflow| state.slots < self.limits.size + overflow) {
            state.slots += 1;
            Admission::Slot(Slot::new())
        } else {
            let (hand_over, receiver) = oneshot::channel();
            state.waiters.push_back(hand_over);
            Admission::Wait(receiver)
        };
        self.publish(&state);
        admission
    }

    fn lease(self: &Arc<Self>, mut slot: Slot<C>) -> Lease<C> {
        let valid_since = self.lock().valid_since;
        slot.connection = slot.connection.filter(|(_, made)| {
            valid_since.is_none_or(|since| *made >= since)
                && self.limits.recycle.is_none_or(|age| made.elapsed() <= age)
        });
        Lease { pool: Arc::clone(self), slot: Some(slot) }
    }

    fn timed_out(&self) -> PoolTimeout {
        let state = self.lock();
        self.gauges.timeouts.fetch_add(1, Ordering::Relaxed);
        PoolTimeout {
            size: self.limits.size,
            overflow: state.slots.saturating_sub(self.limits.size),
            timeout: self.limits.timeout,
        }
    }

    /// Takes waiters that have given up out of the queue, so that the gauge counts the living.
    fn forget_absent_waiters(&self) {
        let mut state = self.lock();
        state.waiters.retain(|waiter| !waiter.is_canceled());
        self.publish(&state);
    }

    /// Gives a slot to the first waiter, else keeps it, else closes it. One that never had a connection is not kept:
    /// the count went up before the connection was tried; it failed, so the count goes down again.
    fn give_back(&self, mut slot: Slot<C>) {
        let mut state = self.lock();
        while let Some(waiter) = state.waiters.pop_front() {
            match waiter.send(slot) {
                Ok(()) => return self.publish(&state),
                Err(unclaimed) => slot = unclaimed,
            }
        }
        let surplus = if slot.history == ConnectionHistory::New || state.idle.len() >= self.limits.size {
            state.slots -= 1;
            Some(slot)
        } else {
            state.idle.push_back(slot);
            None
        };
        self.publish(&state);
        drop(state);
        // Closed outside the lock: it is a write to a socket.
        drop(surplus);
    }

    fn publish(&self, state: &PoolState<C>) {
        let gauges = &self.gauges;
        let idle = state.idle.len();
        gauges.checked_in.store(idle as u64, Ordering::Relaxed);
        gauges.checked_out.store((state.slots - idle) as u64, Ordering::Relaxed);
        gauges.overflow.store(state.slots.saturating_sub(self.limits.size) as u64, Ordering::Relaxed);
        gauges.waiters.store(state.waiters.len() as u64, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, PoolState<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot that somebody has. Dropping it gives it back.
pub struct Lease<C> {
    pool: Arc<QueuePool<C>>,
    /// `None` only while it is being dropped.
    slot: Option<Slot<C>>,
}

impl<C> Lease<C> {
    /// The connection, or `None` when the holder must make one: the slot is new, or what was in it is gone.
    pub fn connection(&mut self) -> Option<&mut C> {
        self.slot.as_mut()?.connection.as_mut().map(|(connection, _)| connection)
    }

    /// Puts a connection that was just made into the slot.
    pub fn fill(&mut self, connection: C) {
        if let Some(slot) = self.slot.as_mut() {
            slot.connection = Some((connection, Instant::now()));
            slot.history = ConnectionHistory::Used;
        }
    }

    /// Throws the connection away; the slot stays.
    pub fn discard(&mut self) {
        if let Some(slot) = self.slot.as_mut() {
            slot.connection = None;
        }
    }

    /// Throws the connection away because the server has closed it, and with it, when they are next taken, all
    /// that are as old: what killed one has probably killed the rest.
    pub fn invalidate(&mut self) {
        let Some((_, made)) = self.slot.as_mut().and_then(|slot| slot.connection.take()) else { return };
        let mut state = self.pool.lock();
        if state.valid_since.is_none_or(|since| made >= since) {
            state.valid_since = Some(Instant::now());
        }
    }
}

impl<C> Drop for Lease<C> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.pool.give_back(slot);
        }
    }
}

/// A place in the queue.
struct PoolTurn<C> {
    pool: Arc<QueuePool<C>>,
    receiver: oneshot::Receiver<Slot<C>>,
}

impl<C> PoolTurn<C> {
    fn take_late(&mut self) -> Option<Slot<C>> {
        self.receiver.close();
        self.receiver.try_recv().ok().flatten()
    }
}

impl<C> Drop for PoolTurn<C> {
    fn drop(&mut self) {
        match self.take_late() {
            Some(slot) => self.pool.give_back(slot),
            None => self.pool.forget_absent_waiters(),
        }
    }
}

/// Polls `future` on this thread until it is ready or `deadline` has passed, sleeping between.
fn block_until<F: Future + Unpin>(future: &mut F, deadline: Instant) -> Option<F::Output> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
        let left = deadline.checked_duration_since(Instant::now())?;
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
