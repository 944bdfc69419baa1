//! goose, kept on a short leash.
//!
//! goose starts the users by their weights, runs each in a task, and waits for them at the end. Its habits that would spoil a measuring
//! instrument are switched off here: printing, rounded metrics, controllers, a client for each user, its own signal
//! handler (ours is installed first, by `cli`, and goose then leaves it alone).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use goose::GooseAttack;
use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario, Transaction, TransactionFunction};
use tokio_util::sync::CancellationToken;

use super::plan::ClassWeight;
use super::user::{Shared, User};
use super::{Clock, SwarmError};

/// Sleep of a user whose load has ended, between two looks at whether goose wants it to end.
const AFTER_END: Duration = Duration::from_millis(20);

/// Interval of asking goose to stop: a kill switch thrown before `execute` has begun is forgotten.
const KILL_INTERVAL: Duration = Duration::from_millis(50);

/// goose starts users at this rate; each then waits for its turn in the load's profile.
const START_RATE: &str = "1000000";

pub(super) async fn run(
    shared: &Arc<Shared>,
    users: u32,
    classes: &[ClassWeight],
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), SwarmError> {
    let ended = stop.child_token();
    let attack = attack(shared, users, classes, clock, &ended).map_err(|error| SwarmError::Goose(Box::new(error)))?;
    let mut execution = Box::pin(attack.execute());
    tokio::select! {
        early = &mut execution => return early.map(drop).map_err(|error| SwarmError::Goose(Box::new(error))),
        () = tokio::time::sleep_until(clock.steady_to.into()) => ended.cancel(),
        () = ended.cancelled() => {}
    }
    loop {
        goose::trigger_killswitch("the load has ended");
        tokio::select! {
            executed = &mut execution => return executed.map(drop).map_err(|error| SwarmError::Goose(Box::new(error))),
            () = tokio::time::sleep(KILL_INTERVAL) => {}
        }
    }
}

fn attack(
    shared: &Arc<Shared>,
    users: u32,
    classes: &[ClassWeight],
    clock: Clock,
    ended: &CancellationToken,
) -> Result<GooseAttack, goose::GooseError> {
    let users = users.to_string();
    let options = ["--users", &users, "--increase-rate", START_RATE, "--host", "http://127.0.0.1"];
    let quiet = ["--no-metrics", "--no-print-metrics", "--no-error-summary", "--no-telnet", "-qq"];
    let arguments: Vec<&str> = options.into_iter().chain(quiet).collect();
    let configuration = GooseConfiguration::parse_args_default(&arguments)?;
    let mut attack = GooseAttack::initialize_with_config(configuration)?;
    // One client that no user uses: without this each would get one.
    attack = attack.set_client_builder_without_cookies(GooseClientBuilder::new().without_cookies())?;
    for (index, class) in classes.iter().enumerate() {
        let begin = Transaction::new(begin(shared, index)).set_on_start();
        let life = Transaction::new(live(shared, clock, ended));
        let scenario = Scenario::new(&class.name).set_weight(class.weight)?;
        attack = attack.register_scenario(scenario.register_transaction(begin).register_transaction(life));
    }
    Ok(attack)
}

/// Gives the user its number.
fn begin(shared: &Arc<Shared>, class: usize) -> TransactionFunction {
    let shared = Arc::clone(shared);
    Arc::new(move |goose_user: &mut GooseUser| {
        let index = shared.assigned.fetch_add(1, Ordering::Relaxed);
        goose_user.set_session_data(User::new(&shared, index, class));
        Box::pin(std::future::ready(Ok(())))
    })
}

/// The user's whole life, in one transaction: its future is made once and not for every request, and goose's own work
/// between two transactions is done once too.
fn live(shared: &Arc<Shared>, clock: Clock, ended: &CancellationToken) -> TransactionFunction {
    let (shared, ended) = (Arc::clone(shared), ended.clone());
    Arc::new(move |goose_user: &mut GooseUser| {
        let (shared, ended) = (Arc::clone(&shared), ended.clone());
        Box::pin(async move {
            if let Some(user) = goose_user.get_session_data_mut::<User>() {
                while ended.run_until_cancelled(rest(&shared, user.index, clock)).await.is_some() {
                    shared.active.fetch_add(1, Ordering::Relaxed);
                    while has_turn(&shared, user.index, clock) && !ended.is_cancelled() {
                        user.turn(&shared, clock, &ended).await;
                    }
                    shared.active.fetch_sub(1, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(AFTER_END).await;
            Ok(())
        })
    })
}

fn has_turn(shared: &Shared, user: u32, clock: Clock) -> bool {
    let now = clock.elapsed();
    shared.profile.next_turn(user, now).is_some_and(|turn| turn <= now)
}

/// Waits for the user's next turn; for ever when there is none.
async fn rest(shared: &Shared, user: u32, clock: Clock) {
    match shared.profile.next_turn(user, clock.elapsed()) {
        Some(turn) => tokio::time::sleep_until((clock.started + turn).into()).await,
        None => std::future::pending().await,
    }
}
