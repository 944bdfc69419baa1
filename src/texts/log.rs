//! Texts in a log: a line each, but for Python's tracebacks, whose last line says what and whose lines before say where.

use super::{LONGEST, PatternCounts};

/// First line of a traceback.
const TRACEBACK: &str = "Traceback (most recent call last):";

/// Counts the texts of a log as it is read. Of a traceback only its last [`LONGEST`] bytes are kept.
#[derive(Debug, Default)]
pub struct LogReader {
    tally: PatternCounts,
    /// The traceback that goes on.
    traceback: Option<String>,
    /// Prefix of each of its lines, such as a container's name.
    prefix: String,
}

impl LogReader {
    /// Counts on from what other logs reported.
    #[must_use]
    pub fn after(tally: PatternCounts) -> Self {
        Self { tally, ..Self::default() }
    }

    /// Takes the next line, with its end or without.
    pub fn line(&mut self, line: &str) {
        let line = line.trim_end_matches(['\n', '\r']);
        if let Some((prefix, _)) = line.split_once(TRACEBACK) {
            // One that was cut short by another has no last line.
            self.traceback = Some(String::new());
            prefix.clone_into(&mut self.prefix);
            return;
        }
        let Some(traceback) = &mut self.traceback else { return self.tally.add(line, 1) };
        let line = line.strip_prefix(&self.prefix).unwrap_or(line);
        traceback.push_str(line);
        traceback.push('\n');
        if traceback.len() > LONGEST {
            let excess = traceback.len() - LONGEST;
            let from = (excess..=traceback.len()).find(|at| traceback.is_char_boundary(*at)).unwrap_or(excess);
            traceback.drain(..from);
        }
        // Frames are indented; the exception that ends them is not.
        if !line.starts_with([' ', '\t']) && !line.is_empty() {
            let whole = self.traceback.take().unwrap_or_default();
            self.tally.add(&whole, 1);
        }
    }

    /// Counts of the patterns.
    #[must_use]
    pub fn end(self) -> PatternCounts {
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::TextKind;

    /// As asyncpg 0.32 and Python 3.11 log a checkout that gave up; folders shortened.
    const ASYNCPG: &str = r#"2026-11-25 03:11:57,761 ERROR root GET /orders failed
Traceback (most recent call last):
  File "/app/site-packages/asyncpg/_asyncio_compat.py", line 72, in wait_for
    return await fut
           ^^^^^^^^^
  File "/app/site-packages/asyncpg/pool.py", line 996, in _acquire_impl
    ch = await self._queue.get()  # type: PoolConnectionHolder
         ^^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/asyncio/queues.py", line 158, in get
    await getter
asyncio.exceptions.CancelledError

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/orders.py", line 7, in main
    async with pool.acquire(timeout=0.3) as c:
  File "/app/site-packages/asyncpg/pool.py", line 1182, in __aenter__
    self.connection = await self.pool._acquire(self.timeout)
                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/app/site-packages/asyncpg/pool.py", line 1016, in _acquire
    return await compat.wait_for(
           ^^^^^^^^^^^^^^^^^^^^^^
  File "/app/site-packages/asyncpg/_asyncio_compat.py", line 71, in wait_for
    async with timeout_ctx(timeout):
  File "/usr/lib/python3.11/asyncio/timeouts.py", line 115, in __aexit__
    raise TimeoutError from exc_val
TimeoutError
2026-11-25 03:11:58,002 INFO root a line that says nothing
"#;

    fn read(log: &str) -> Vec<(TextKind, &'static str, u64)> {
        let mut reader = LogReader::default();
        log.split_inclusive('\n').for_each(|line| reader.line(line));
        reader.end().iter().map(|(kind, library, reported)| (kind, library, reported.count)).collect()
    }

    #[test]
    fn a_checkout_of_asyncpg_that_gave_up_is_one_whole_traceback() {
        assert_eq!(read(&ASYNCPG.repeat(3)), [(TextKind::PoolTimeout, "asyncpg", 3)]);
    }

    #[test]
    fn a_traceback_behind_the_name_of_its_container_is_read_all_the_same() {
        let named = ASYNCPG.lines().map(|line| format!("web-1  | {line}")).collect::<Vec<_>>().join("\n");
        assert_eq!(read(&named), [(TextKind::PoolTimeout, "asyncpg", 1)]);
    }

    #[test]
    fn a_timeout_of_something_else_under_the_same_driver_is_none_of_the_pools() {
        for query in [ASYNCPG.replace("pool.py", "connection.py"), ASYNCPG.replace("in _acquire", "in fetchval")] {
            assert_eq!(read(&query), []);
        }
    }

    #[test]
    fn a_traceback_that_names_its_error_in_its_last_line_is_counted_once() {
        let log = "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\n\
                   sqlalchemy.exc.TimeoutError: QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00\n\
                   next line\n";
        assert_eq!(read(log), [(TextKind::PoolTimeout, "SQLAlchemy", 1)]);
    }

    #[test]
    fn a_traceback_without_end_takes_no_memory() {
        let mut reader = LogReader::default();
        reader.line(TRACEBACK);
        for _ in 0..10_000 {
            reader.line(&format!("  {}", "ü".repeat(100)));
        }
        assert!(reader.traceback.is_some_and(|it| it.len() <= LONGEST));
    }
}
