//! Logs as services, containers and collectors write them, and how many failures each tells of.

use proptest::prelude::*;

use super::*;

fn read_text(log: &str) -> Vec<(TextKind, &'static str, u64)> {
    let mut reader = LogReader::default();
    log.split_inclusive('\n').for_each(|line| reader.line(line));
    reader.end().counts.iter().map(|(kind, library, reported)| (kind, library, reported.count)).collect()
}

fn read_file(name: &str) -> Vec<(TextKind, &'static str, u64)> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/logs").join(name);
    let report = read(&path, LogReport::default(), &mut |_| {}).unwrap_or_else(|error| panic!("{name}: {error}"));
    report.counts.iter().map(|(kind, library, reported)| (kind, library, reported.count)).collect()
}

use TextKind::{
    HeldLong, LeakSuspected, PgbouncerMaxClients, PgbouncerOther, PgbouncerQueryWait, PoolTimeout,
    ReturnedInTransaction,
};

#[test]
fn each_log_tells_of_as_many_failures_as_there_were() {
    let pool = |library, count| vec![(PoolTimeout, library, count)];
    for (name, expected) in [
        ("structlog.log", pool("SQLAlchemy", 4)),
        ("jsonlogger.log", pool("SQLAlchemy", 4)),
        ("loguru.log", pool("SQLAlchemy", 3)),
        ("two-in-a-row.log", pool("SQLAlchemy", 2)),
        ("plain.log", pool("asyncpg", 2)),
        ("compose-t.log", pool("asyncpg", 2)),
        ("kubectl.log", pool("asyncpg", 2)),
        ("cri.log", pool("asyncpg", 2)),
        ("journald.log", pool("asyncpg", 2)),
        ("docker-json-file.log", pool("asyncpg", 2)),
        ("spring.log", pool("HikariCP", 3)),
        ("caused-by.log", pool("HikariCP", 3)),
        ("sqlalchemy-message-and-traceback.log", pool("SQLAlchemy", 3)),
        ("exception-group.log", pool("SQLAlchemy", 2)),
        ("uvicorn-real.log", pool("SQLAlchemy", 1)),
        ("numbers-nginx.log", vec![]),
        ("numbers-pgbouncer.log", vec![]),
        ("numbers-postgres.log", vec![]),
        ("numbers-uvicorn.log", vec![]),
        ("all-came-back.log", vec![(HeldLong, "HikariCP", 3)]),
        ("one-is-gone.log", vec![(LeakSuspected, "HikariCP", 1), (HeldLong, "HikariCP", 2)]),
        ("sqlalchemy-leak.txt", vec![(LeakSuspected, "SQLAlchemy", 2)]),
        ("no-leak.txt", vec![(ReturnedInTransaction, "psycopg_pool", 1)]),
        ("pgbouncer-max-clients.log", vec![(PgbouncerMaxClients, "PgBouncer", 4)]),
        ("pgbouncer-login.log", vec![(PgbouncerOther, "PgBouncer", 2)]),
        ("pgbouncer-query-timeout.log", vec![(PgbouncerOther, "PgBouncer", 1)]),
        ("pgbouncer-transaction-timeout.log", vec![(PgbouncerOther, "PgBouncer", 2)]),
        ("pgbouncer-journald.log", vec![(PgbouncerQueryWait, "PgBouncer", 2)]),
        ("pgbouncer-heroku.log", vec![(PgbouncerQueryWait, "PgBouncer", 1)]),
        ("npgsql-json-console.log", pool("Npgsql", 2)),
        ("django-debug.html", pool("psycopg_pool", 1)),
        ("asyncpg-json.log", pool("asyncpg", 2)),
    ] {
        assert_eq!(read_file(name), expected, "{name}");
    }
}

/// What each library logs when it fails and when it does not; `made` says how it was made to.
#[test]
fn what_pools_and_poolers_log_is_counted_with_their_limits_and_nothing_else() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/logs/pools");
    let table = std::fs::read_to_string(folder.join("expected.tsv")).expect("a table");
    let mut wrong = Vec::new();
    for row in table.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [log, expected, _of, _made] = columns[..] else { panic!("{row}") };
        let report = read(&folder.join(log), LogReport::default(), &mut |_| {}).expect("a log");
        let one = |(kind, library, it): (TextKind, &str, &crate::texts::PatternCount)| {
            let kind = serde_json::to_value(kind).expect("a name");
            let mut words =
                vec![kind.as_str().unwrap_or_default().to_owned(), library.replace(' ', "_"), it.count.to_string()];
            words.extend(it.limits.size.map(|size| format!("size={size}")));
            words.extend(it.limits.overflow.map(|overflow| format!("overflow={overflow}")));
            words.extend(it.limits.timeout_s.map(|timeout_s| format!("timeout={timeout_s:.1}")));
            words.join(" ")
        };
        let mut found: Vec<String> = report.counts.iter().map(one).collect();
        let mut expected: Vec<String> = expected.split("; ").filter(|it| *it != "nothing").map(str::to_owned).collect();
        found.sort();
        expected.sort();
        if found != expected {
            wrong.push(format!("{log}: {found:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

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

#[test]
fn a_checkout_of_asyncpg_that_gave_up_is_one_whole_traceback() {
    assert_eq!(read_text(&ASYNCPG.repeat(3)), [(PoolTimeout, "asyncpg", 3)]);
}

#[test]
fn a_timeout_of_something_else_under_the_same_driver_is_none_of_the_pools() {
    for query in [ASYNCPG.replace("pool.py", "connection.py"), ASYNCPG.replace("in _acquire", "in fetchval")] {
        assert_eq!(read_text(&query), []);
    }
}

/// The one who counts, and what its logs are like.
fn framework(name: &str, number: usize) -> String {
    let (second, text) =
        (number % 60, "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00");
    let trace = format!(
        "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\nsqlalchemy.exc.TimeoutError: {text}\n"
    );
    let hikari = "Connection is not available, request timed out after 30000ms.";
    match name {
        "a trace alone" => trace,
        "a message and its trace" => format!("2026-11-20 10:15:{second:02},001 ERROR shop failed: {text}\n{trace}"),
        "a message alone" => format!("ERROR:root:{text}\n"),
        "a trace tied to another" => format!(
            "ERROR:    Exception in ASGI application\n{trace}\nThe above exception was the direct cause of the following exception:\n\n\
             Traceback (most recent call last):\n  File \"b.py\", line 2, in h\n    f()\nshop.Failed: {text}\n"
        ),
        "structlog" => serde_json::json!({"event": "failed", "exception": trace}).to_string() + "\n",
        "docker" => trace.lines().fold(String::new(), |all, line| {
            all + &serde_json::json!({"log": format!("{line}\n"), "stream": "stderr", "time": "2026-11-20T10:15:10Z"}).to_string() + "\n"
        }),
        "compose" => trace.lines().fold(String::new(), |all, line| all + "web-1  | " + line + "\n"),
        "node" => "POST /orders failed\nError: timeout exceeded when trying to connect\n    at Timeout._onTimeout (/app/node_modules/pg-pool/index.js:221:27)\n    at listOnTimeout (node:internal/timers:569:17)\n".to_owned(),
        "node, an error after the other" => "Error: timeout exceeded when trying to connect\n".to_owned(),
        "spring" => format!(
            "2026-11-20 10:15:{second:02}.123 ERROR 1 --- [exec-{number}] o.h.SqlExceptionHelper : {hikari}\n\
             2026-11-20 10:15:{second:02}.123 ERROR 1 --- [exec-{number}] o.a.c.dispatcherServlet : failed\n\n\
             java.sql.SQLTransientConnectionException: {hikari}\n\tat com.zaxxer.hikari.pool.HikariPool.get(HikariPool.java:1)\n"
        ),
        "java, a cause" => format!(
            "2026-11-20 10:15:{second:02},001 ERROR [shop] (exec-1) failed\norg.spring.CannotGetJdbcConnectionException: nested: {hikari}\n\
             \tat a.b(C.java:1)\nCaused by: java.sql.SQLTransientConnectionException: {hikari}\n\t... 12 more\n"
        ),
        "rails" => "ActiveRecord::ConnectionTimeoutError (could not obtain a connection from the pool within 5.000 seconds (waited 5.002 seconds); all pooled connections were in use):\n  app/controllers/orders_controller.rb:7:in 'show'\n".to_owned(),
        other => panic!("{other}"),
    }
}

#[test]
fn as_many_failures_as_a_framework_logs_are_counted() {
    for name in [
        "a trace alone",
        "a message and its trace",
        "a message alone",
        "a trace tied to another",
        "structlog",
        "docker",
        "compose",
        "node",
        "node, an error after the other",
        "spring",
        "java, a cause",
        "rails",
    ] {
        for failures in [1, 2, 17] {
            let log: String = (0..failures).map(|number| framework(name, number)).collect();
            let counts: Vec<u64> = read_text(&log).iter().map(|it| it.2).collect();
            assert_eq!(counts, [failures as u64], "{name}:\n{log}");
            let between: String = (0..failures)
                .map(|number| framework(name, number) + "2026-11-20 10:16:00,001 INFO shop fine\n")
                .collect();
            let counts: Vec<u64> = read_text(&between).iter().map(|it| it.2).collect();
            assert_eq!(counts, [failures as u64], "{name}, with lines between:\n{between}");
        }
    }
}

#[test]
fn lines_of_two_containers_that_alternate_are_put_together_apart() {
    let trace = framework("a trace alone", 0);
    let both = trace.lines().fold(String::new(), |all, line| format!("{all}web-1  | {line}\nweb-2  | {line}\n"));
    assert_eq!(read_text(&both), [(PoolTimeout, "SQLAlchemy", 2)]);
}

#[test]
fn a_level_in_front_is_no_container_and_no_host() {
    let trace = framework("a trace alone", 0);
    let text = "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00";
    for head in ["ERROR | failed: ", "2026-11-20T10:15:01Z ERROR shop: failed: ", "WARNING    | "] {
        assert_eq!(read_text(&format!("{head}{text}\n{trace}").repeat(2)), [(PoolTimeout, "SQLAlchemy", 2)], "{head}");
    }
    let foreman = trace.lines().fold(String::new(), |all, line| format!("{all}10:15:10 web.1  | {line}\n"));
    assert_eq!(read_text(&foreman), [(PoolTimeout, "SQLAlchemy", 1)]);
}

#[test]
fn parts_of_a_line_are_one_line() {
    let log = "2026-11-20T10:15:10.1Z stderr P QueuePool limit of size 5 overflow 10 \n\
               2026-11-20T10:15:10.2Z stderr F reached, connection timed out, timeout 30.00\n";
    assert_eq!(read_text(log), [(PoolTimeout, "SQLAlchemy", 1)]);
}

#[test]
fn a_log_without_an_end_takes_no_memory() {
    let mut reader = LogReader::default();
    reader.line("Traceback (most recent call last):");
    for number in 0..20_000 {
        reader.line(&format!("  {}", "ü".repeat(100)));
        reader.line(&format!("container-{number}  |   {}", "ü".repeat(100)));
    }
    assert!(reader.streams.len() <= STREAMS);
    let kept: usize = reader.streams.iter().map(|(_, it)| it.bytes()).sum();
    assert!(kept < 4 << 20, "{kept}");
}

/// Lines of services that work, in which words and numbers of errors stand.
#[test]
fn words_that_somebody_else_has_said_are_no_failure() {
    for line in [
        "INFO:     127.0.0.1:44840 - \"GET /products/P2024 HTTP/1.1\" 200 OK",
        "127.0.0.1 - - [30/Nov/2026:12:28:50 +0000] \"GET /products/P2037 HTTP/1.1\" 200 25 \"-\" \"curl/7.88.1\"",
        "GET /products/P2024 200 1.526 ms - 25",
        "{\"time\":\"2026-11-30T12:28:50.381Z\",\"method\":\"GET\",\"url\":\"/products/P2024\",\"status\":200}",
        "2026-11-30 12:29:25.052 UTC [3571] app@shop DETAIL:  parameters: $1 = 'P2037'",
        "2026-11-30 12:29:25.052 UTC [3571] app@shop LOG:  statement: SELECT id FROM towns WHERE code = '53300';",
        "2026-11-30 12:29:25.052 UTC [3571] app@shop LOG:  statement: SELECT setting FROM pg_settings WHERE name = 'query_wait_timeout'",
        "2026-11-30 12:29:25.052 UTC [3571] app@shop LOG:  execute f: DO $$ BEGIN EXCEPTION WHEN SQLSTATE '55P03' THEN NULL; END $$",
        "2026-11-30 12:29:25.052 UTC [3571] app@shop STATEMENT:  SELECT 'QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00'",
        "(0.002) SELECT \"towns\".\"id\" FROM \"towns\" WHERE \"towns\".\"code\" = '53300'; args=('53300',); alias=default",
        "2026-11-30 12:26:39,673 INFO sqlalchemy.engine.Engine [generated in 0.00011s] {'code': '53300'}",
        "{\"code\": \"53300\", \"name\": \"town 3300\", \"event\": \"town read\", \"level\": \"info\"}",
        "{\"level\":30,\"town\":{\"code\":\"57014\"},\"msg\":\"town read\"}",
        "{\"q\": \"connection pool exhausted\", \"event\": \"search\", \"level\": \"info\"}",
        "2026-11-24 23:37:59.517 UTC [7] DEBUG parse_ini_file: 'query_wait_timeout' = '120'",
        "2026-11-24 23:37:59.517 UTC [7] DEBUG parse_ini_file: 'client_idle_timeout' = '0' ok:1",
        "2026-11-30 12:27:31,355 INFO shop [MainThread] search q='ERROR: 57014' limit=30484",
        "2026-11-30 12:27:31,355 INFO shop [MainThread] search q='idle transaction timeout' limit=30484",
        "MeanSquaredError: 57014 after 10 epochs",
        "INFO setting idle transaction timeout to 60s",
        "{'postal-code': '53300'}",
        "- name: query_wait_timeout",
        "[INFO] P2024: pump pressure ok",
        "2026-11-30 12:27:31,355 INFO shop [MainThread] search q='Connection leak detection triggered for x'",
    ] {
        assert_eq!(read_text(line), [], "{line}");
    }
}

#[test]
fn a_row_of_a_csvlog_goes_on_to_the_end_of_its_text() {
    let row = |severity: &str, message: &str| {
        format!(
            "2026-11-30 12:29:25.052 UTC,\"app\",\"shop\",7,\"10.0.0.7:41000\",6a,1,\"x\",,3/4,0,{severity},\"{message}\",,,,,,,,,\"\"\n"
        )
    };
    let statement =
        "statement: CREATE FUNCTION f() AS $$\nBEGIN\nEXCEPTION\nWHEN SQLSTATE '55P03' THEN \"\"a\"\";\nEND $$";
    assert_eq!(read_text(&row("LOG,00000", statement)), []);
    let failed = row("ERROR,57014", "canceling statement\ndue to statement timeout");
    let log = [row("LOG,00000", statement), failed.clone(), row("LOG,00000", "statement: SELECT 1"), failed].concat();
    assert_eq!(read_text(&log), [(TextKind::StatementTimeout, "PostgreSQL", 2)]);
    let cut = "2026-11-30 12:29:25.052 UTC,\"app\",\"shop\",7,\"x\",6a,1,\"x\",,3/4,0,LOG,00000,\"statement: SELECT\n";
    assert_eq!(read_text(&[cut, &log].concat()), [(TextKind::StatementTimeout, "PostgreSQL", 2)], "a row that was cut");
}

#[test]
fn failures_have_their_earliest_and_latest_time_and_their_first_place() {
    let text = "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00";
    let log = format!("INFO fine\n2026-11-30 12:29:25,001 ERROR a: {text}\n2026-11-30 12:27:47,001 ERROR a: {text}\n");
    let mut reader = LogReader::of("app.log".to_owned(), LogReport::default());
    log.lines().for_each(|line| reader.line(line));
    let mut second = LogReader::of("other.log".to_owned(), reader.end());
    second.line(&format!("2026-11-30 12:28:00,001 ERROR a: {text}"));
    let report = second.end();
    let (first, last) = &report.times[&(PoolTimeout, "SQLAlchemy")];
    assert_eq!((first.text.as_str(), last.text.as_str()), ("2026-11-30 12:27:47", "2026-11-30 12:29:25"));
    assert_eq!(report.places[&(PoolTimeout, "SQLAlchemy")], LogPlace { log: "app.log".to_owned(), line: 2 });
    assert_eq!(report.lines, 4);
}

#[test]
fn a_leak_that_its_pool_reports_as_information_counts() {
    let line = "2026-11-30 12:00:00,000 INFO  [io.agroal.pool] (agroal-11) Datasource '<default>': Connection leak of io.agroal.pool.wrapper.ConnectionWrapper@4f2a1c3e";
    assert_eq!(read_text(line), [(LeakSuspected, "Agroal", 1)]);
}

#[test]
fn an_error_that_is_logged_as_information_counts_with_its_trace() {
    let trace = framework("a trace alone", 0);
    assert_eq!(
        read_text(&format!("2026-11-20 10:15:01,001 INFO shop failed\n{trace}")),
        [(PoolTimeout, "SQLAlchemy", 1)]
    );
    let event = serde_json::json!({"level": "info", "event": "failed", "exception": trace}).to_string();
    assert_eq!(read_text(&event), [(PoolTimeout, "SQLAlchemy", 1)]);
}

proptest! {
    /// Wherever a number stands in a log of services that work, it is no SQLSTATE.
    #[test]
    fn numbers_of_ports_pids_and_sizes_name_no_error(number in 32_768_u32..61_000, place in 0..12_usize) {
        for number in [number, 53_300, 57_014] {
            let line = [
                format!("INFO:     172.18.0.1:{number} - \"GET /orders/1 HTTP/1.1\" 200 OK"),
                format!("10.0.0.7 - - [20/Nov/2026:10:15:01 +0000] \"GET /a HTTP/1.1\" 200 {number} \"-\" \"curl\" 0.041"),
                format!("2026-11-20 10:15:01.100 UTC [{number}] app@shop LOG:  duration: {number}.1 ms  statement: SELECT {number}"),
                format!("2026-11-20 10:15:01.100 UTC [7] LOG C-0x55d0: shop/app@10.0.0.7:{number} login attempt"),
                format!("{{\"pid\":{number},\"code\":{number},\"msg\":\"took {number} ms\"}}"),
                format!("level=info code={number} status={number} bytes={number}"),
                format!("GET /items/{number}?code={number} 200 {number} - {number} ms"),
                format!("worker {number} exited with code {number}"),
                format!("{{\"remote\":\"10.0.0.1:{number}\",\"id\":\"{number}\"}}"),
                format!("Error: ENOENT {number}: no such file (errno: {number})"),
                format!("<11>1 2026-11-20T10:15:01Z host app {number} - - took {number}"),
                format!("ERROR {number} requests failed, [{number}] in all"),
            ];
            prop_assert_eq!(read_text(&line[place]), vec![], "{}", line[place]);
        }
    }

    #[test]
    fn no_lines_make_it_panic(lines in proptest::collection::vec(any::<String>(), 0..20)) {
        let mut reader = LogReader::default();
        for line in &lines {
            reader.line(line);
        }
        drop(reader.end());
    }
}

#[test]
fn compressed_logs_are_read_and_what_is_no_log_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("our own folder");
        path
    };
    let counts = |path: &std::path::Path| {
        read(path, LogReport::default(), &mut |_| {})
            .map(|it| it.counts.iter().map(|it| it.2.count).sum::<u64>())
            .map_err(|it| it.to_string())
    };
    let text = framework("a message and its trace", 1).repeat(40);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).expect("memory");
    let gzip = gzip.finish().expect("memory");
    assert_eq!(counts(&write("a.log.gz", &gzip)), Ok(40));
    let zstd = ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    assert_eq!(counts(&write("a.log.zst", &zstd)), Ok(40));
    // Rotated files that were put one behind the other.
    assert_eq!(counts(&write("two.gz", &[gzip.clone(), gzip.clone()].concat())), Ok(80));
    let refused = |bytes: &[u8]| counts(&write("b", bytes)).expect_err("it is no log");
    assert!(refused(&[]).contains("it is empty"));
    assert!(refused(&[0; 500]).contains("expected text"));
    assert!(refused(&gzip[..gzip.len() / 2]).contains("cannot read"));
    assert!(counts(&folder.path().join("none")).expect_err("no file").contains("cannot read"));
}
