//! Speed of this machine, as far as a load cares: system calls on loopback sockets, which most of the work of a gateway,
//! a database and a load generator on one machine consists of.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Duration of one measurement; the best of [`TRIES`] counts, since others may have the cores in between.
const LASTS: Duration = Duration::from_millis(100);
const TRIES: usize = 5;

/// Messages a second through loopback on both cores of the machine on which [`USERS_PER_SPEED`] was measured.
const REFERENCE: f64 = 325_000.0;

/// Users of `issue-2318` that take 95 % of two such cores, whose requests are all answered without a queue: they make 2,600
/// requests a second.
const USERS_PER_SPEED: f64 = 4000.0;

/// Speed of this machine, all of its cores together, as a multiple of the reference; `None` when it cannot be measured.
pub fn relative_speed() -> Option<f64> {
    let rates = (0..TRIES).filter_map(|_| messages_per_second());
    rates.max_by(f64::total_cmp).map(|rate| rate / REFERENCE)
}

/// Users of the reference gateway's scenarios that a machine of this speed can carry: beyond them it is the limit itself.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
pub fn users(relative_speed: f64) -> u32 {
    let hundreds = (relative_speed * USERS_PER_SPEED / 100.0).round();
    (hundreds * 100.0) as u32
}

/// All cores at once, each with a connection to itself.
fn messages_per_second() -> Option<f64> {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let began = Instant::now();
    let threads: Vec<_> = (0..cores).map(|_| thread::spawn(messages)).collect();
    let counts: io::Result<Vec<u64>> =
        threads.into_iter().map(|it| it.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))).collect();
    Some(counts.ok()?.into_iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64())
}

/// Messages of one core.
fn messages() -> io::Result<u64> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut to = TcpStream::connect(listener.local_addr()?)?;
    let (mut from, _) = listener.accept()?;
    to.set_nodelay(true)?;
    let mut buffer = [0; 64];
    let (mut count, ends) = (0, Instant::now() + LASTS);
    while Instant::now() < ends {
        to.write_all(&buffer)?;
        from.read_exact(&mut buffer)?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_speed_and_twice_the_speed_carries_twice_the_users() {
        assert!(relative_speed().is_some_and(|speed| speed > 0.0));
        assert_eq!((users(1.0), users(2.0), users(0.42), users(0.0)), (4000, 8000, 1700, 0));
    }

    #[test]
    #[ignore = "prints a figure of this machine"]
    fn the_reference_is_printed() {
        println!("{:.0} messages a second", relative_speed().unwrap_or(0.0) * REFERENCE);
    }
}
