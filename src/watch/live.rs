//! The loop: samples, polls and keys come in, one owner folds them into the model, records and shows them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::model::WatchModel;
pub use super::plan::{Display, ExitReason, WatchError, WatchPlan};
use super::plan::{Happenings, WatchEvent};
use super::recording::WatchRecorder;
use super::ui::UserAction;
use crate::monitor::sessions::Looker;
use crate::monitor::{HealthProbe, Monitor, MonitorResult, Sink, Watch};
use crate::record::{Outcome, Sample};
use crate::scenario::Health;

/// Length of the queue; later samples are dropped, and counted.
const QUEUE: usize = 16_384;

/// The counts' cheaper sister is asked for twice as often, but not more often than this.
const SHORTEST_PULSE: Duration = Duration::from_millis(50);

/// Watches until it is asked to end, the time is over, or `stop`.
///
/// `keys` starts what reads the terminal.
///
/// # Errors
/// [`WatchError`]; a record that was begun says why it ended.
pub async fn watch(
    plan: WatchPlan,
    display: &mut dyn Display,
    read_keys: bool,
    stop: &CancellationToken,
) -> Result<(ExitReason, Option<PathBuf>), WatchError> {
    // A host that does not answer must not outlast the order to stop.
    let Some(poller) = stop.run_until_cancelled(Looker::connect(&plan.database, &plan.whose)).await else {
        return Ok((ExitReason::Stopped, None));
    };
    let poller = poller?;
    let server = poller.server().clone();
    let epoch = Instant::now();
    let (send, mut happenings) = channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let sink = Arc::new(Inlet { send: send.clone(), dropped: Arc::clone(&dropped) });
    let keys = read_keys.then(|| super::screen::Keys::read(send.clone())).transpose()?;
    let recorder = match &plan.record {
        Some(folder) => Some(WatchRecorder::begin(folder, &plan, &server).await?),
        None => None,
    };
    let monitor = Monitor::start(monitored(&plan, epoch), sink).await;
    let ending = CancellationToken::new();
    let mut owner = WatchLoop { model: WatchModel::new(plan.target.clone(), server), recorder, epoch };
    let watched = match monitor {
        Err(error) => Err(error.into()),
        Ok(monitor) => {
            let polls = send.clone();
            let poll = move |at, seen| drop(polls.try_send((at, WatchEvent::Seen(seen))));
            let polling = tokio::spawn(poller.run(plan.database.clone(), plan.interval, poll, ending.clone()));
            let ended = owner.run(&mut happenings, display, plan.duration, stop).await;
            ending.cancel();
            drop(polling.await);
            monitor.stop().await.map_err(WatchError::from).and_then(|monitored| Ok((ended?, monitored)))
        }
    };
    let kept = owner.keep_the_rest(&mut happenings);
    drop(happenings);
    drop(keys);
    let watched = watched.and_then(|watched| kept.map(|()| watched));
    owner.close(watched, plan.duration.is_some(), dropped.load(Ordering::Relaxed)).await
}

fn monitored(plan: &WatchPlan, epoch: Instant) -> Watch {
    Watch {
        database: plan.database.clone(),
        interval: plan.counts_interval,
        pulse: (plan.counts_interval / 2).max(SHORTEST_PULSE),
        whose: plan.whose.clone(),
        epoch,
        replicas: Vec::new(),
        gauges: plan.metrics.clone(),
        gauge_names: plan.gauge_names.clone(),
        health: Health::default(),
        probe: HealthProbe::default(),
        pgbouncer: None,
    }
}

/// Entry of the monitor's samples.
struct Inlet {
    send: Happenings,
    dropped: Arc<AtomicU64>,
}

impl Sink for Inlet {
    fn take(&self, at: Instant, sample: Sample) {
        if self.send.try_send((at, WatchEvent::Sample(sample))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// True if the output has no reader any more: a terminal that has hung up, or a pipe that was closed.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe || error.raw_os_error() == Some(nix::errno::Errno::EIO as i32)
}

/// Owner of the model and the record.
struct WatchLoop {
    model: WatchModel,
    recorder: Option<WatchRecorder>,
    epoch: Instant,
}

impl WatchLoop {
    async fn run(
        &mut self,
        happenings: &mut Receiver<(Instant, WatchEvent)>,
        display: &mut dyn Display,
        duration: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<ExitReason, WatchError> {
        let mut ticks = tokio::time::interval(display.interval());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let over = async {
            match duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            let happened = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(ExitReason::Stopped),
                () = &mut over => return Ok(ExitReason::Elapsed),
                _ = ticks.tick() => None,
                happened = happenings.recv() => happened,
            };
            if matches!(happened, Some((_, WatchEvent::TerminalGone))) {
                return Ok(ExitReason::ReaderGone);
            }
            let asked = match happened {
                None => self.tick(display),
                Some((at, happened)) => self.take(at, happened, display),
            };
            match asked {
                Ok(UserAction::Quit) => return Ok(ExitReason::Asked),
                Ok(UserAction::Nothing) => {}
                Err(WatchError::Show(error)) if is_gone(&error) => return Ok(ExitReason::ReaderGone),
                Err(error) => return Err(error),
            }
        }
    }

    fn tick(&mut self, display: &mut dyn Display) -> Result<UserAction, WatchError> {
        self.model.advance(self.epoch.elapsed().as_secs_f64());
        if let Some(recorder) = &mut self.recorder {
            recorder.flush()?;
            self.model.recording = Some(recorder.shown());
        }
        display.show(&self.model)?;
        Ok(UserAction::Nothing)
    }

    fn take(&mut self, at: Instant, happened: WatchEvent, display: &mut dyn Display) -> Result<UserAction, WatchError> {
        let at_s = at.saturating_duration_since(self.epoch).as_secs_f64();
        match happened {
            WatchEvent::Sample(sample) => {
                self.model.take(at_s, &sample);
                if let Some(recorder) = &mut self.recorder {
                    recorder.append(at_s, sample)?;
                }
            }
            WatchEvent::Seen(seen) => self.model.see(at_s, seen),
            WatchEvent::Terminal(event) => return Ok(display.take(&event, &self.model)?),
            WatchEvent::TerminalGone => {}
        }
        Ok(UserAction::Nothing)
    }

    /// Keeps samples that came while the monitor was being stopped.
    fn keep_the_rest(&mut self, happenings: &mut Receiver<(Instant, WatchEvent)>) -> Result<(), WatchError> {
        while let Ok((at, happened)) = happenings.try_recv() {
            if let (WatchEvent::Sample(sample), Some(recorder)) = (happened, &mut self.recorder) {
                recorder.append(at.saturating_duration_since(self.epoch).as_secs_f64(), sample)?;
            }
        }
        Ok(())
    }

    async fn close(
        self,
        watched: Result<(ExitReason, MonitorResult), WatchError>,
        timed: bool,
        dropped: u64,
    ) -> Result<(ExitReason, Option<PathBuf>), WatchError> {
        let Some(recorder) = self.recorder else { return watched.map(|(ended, _)| (ended, None)) };
        let outcome = match &watched {
            // Without a time to end at, a signal is as good an end as a key.
            Ok((ExitReason::Stopped | ExitReason::ReaderGone, _)) if timed => Outcome::Interrupted,
            Ok(_) => Outcome::Finished,
            Err(error) => Outcome::Failed { error: error.to_string() },
        };
        let monitored = watched.as_ref().ok().map(|(_, monitored)| *monitored);
        let ended_s = self.epoch.elapsed().as_secs_f64();
        let folder = recorder.finish(outcome, ended_s, monitored, dropped).await;
        let (ended, _) = watched?;
        Ok((ended, Some(folder?)))
    }
}
