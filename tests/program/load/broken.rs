//! Services that are broken, or mean it: each is counted under its own name, in bounded memory, and the run ends on time.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::write;
use crate::program::{HANG, Place, record};
use crate::service::database_url;

/// Each kind of mischief, as its path, and the beginning of the text under which it is to be counted.
const MISCHIEF: [(&str, &str); 13] = [
    ("/closes", "connection broken: connection closed before message completed"),
    ("/silent", "no answer within 1s (client timeout)"),
    ("/drips", "no answer within 1s (client timeout)"),
    ("/endless", "no answer within 1s (client timeout)"),
    ("/announces-and-waits", "no answer within 1s (client timeout)"),
    ("/announces-and-closes", "connection broken: end of file before message length reached"),
    ("/chunks", "connection broken: Invalid chunk size line"),
    ("/headers", "connection broken: message head is too large"),
    ("/no-http", "connection broken: invalid HTTP version parsed"),
    ("/bytes", "HTTP 500: \u{fffd}\u{fffd}"),
    ("/bomb", "the answer is not JSON"),
    ("/loop", "HTTP 302: "),
    ("/busy", "HTTP 429, Retry-After 7: slow down"),
];

/// Ten megabytes of nothing, packed.
fn bomb() -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut packed, &vec![b' '; 10 << 20]).unwrap();
    packed.finish().unwrap()
}

async fn forever(stream: &mut TcpStream, piece: &[u8], pause: Duration) -> std::io::Result<()> {
    loop {
        stream.write_all(piece).await?;
        tokio::time::sleep(pause).await;
    }
}

/// Answers one request as its path asks for.
async fn mischief(mut stream: TcpStream, asked: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut head = BufReader::new(&mut stream).lines();
    let first = head.next_line().await?.unwrap_or_default();
    while head.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    drop(head);
    asked.fetch_add(1, Ordering::Relaxed);
    let path = first.split(' ').nth(1).unwrap_or_default();
    let whole = |head: &str, body: &[u8]| [head.as_bytes(), b"connection: close\r\n\r\n", body].concat();
    let answer = match path {
        "/closes" => return Ok(()),
        "/silent" => return std::future::pending().await,
        "/drips" => return forever(&mut stream, b"H", Duration::from_secs(1)).await,
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
            return forever(&mut stream, &chunk, Duration::from_millis(1)).await;
        }
        "/announces-and-waits" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\nx").await?;
            return std::future::pending().await;
        }
        "/announces-and-closes" => whole("HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n", &vec![b'x'; 0x10000]),
        "/chunks" => whole("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n", b"zz\r\nhello\r\n0\r\n\r\n"),
        "/headers" => {
            let many: Vec<String> = (0..1000).map(|number| format!("x-{number}: y")).collect();
            whole(&format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{}\r\n", many.join("\r\n")), b"")
        }
        "/no-http" => b"220 mail.example.org ESMTP\r\n".to_vec(),
        "/bytes" => whole("HTTP/1.1 500 Oh\r\ncontent-length: 2\r\nx-odd: ÿ\r\n", b"\xff\xfe"),
        "/bomb" => {
            let body = bomb();
            whole(&format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n", body.len()), &body)
        }
        "/loop" => whole("HTTP/1.1 302 Found\r\nlocation: /loop\r\ncontent-length: 0\r\n", b""),
        "/busy" => whole("HTTP/1.1 429 Enough\r\nretry-after: 7\r\ncontent-length: 9\r\n", b"slow down"),
        other => panic!("{other}"),
    };
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

async fn serve_mischief(asked: &Arc<AtomicU64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::clone(asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that has had enough ends it.
            let asked = Arc::clone(&asked);
            tokio::spawn(async move { mischief(stream, asked).await.unwrap_or_default() });
        }
    });
    url
}

/// Runs the scenario; gives its variant, the most memory that the program had, in megabytes, and how long it took.
fn run(url: &str, database: &str, load: &str, routes: &str) -> (Value, u64, Duration) {
    let place = Place::new();
    let scenario = write(&place, url, load, routes);
    let began = Instant::now();
    let mut program = place.program();
    program.env("SHOP_DATABASE", database).args(["run", &scenario]);
    let mut program = Place::started(program);
    let status = format!("/proc/{}/status", program.child.id());
    let mut peak_kb = 0;
    while program.child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kb = line.and_then(|it| it.trim().trim_end_matches(" kB").parse().ok());
        peak_kb = peak_kb.max(kb.unwrap_or(0));
        assert!(began.elapsed() < HANG, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = began.elapsed();
    assert_eq!(program.wait(), Some(0));
    (record(&place.run_folder())["variants"]["service"].clone(), peak_kb / 1024, took)
}

fn routes() -> String {
    let judged = |path: &str| if path == "/bomb" { "must_have = \"/id\"\n" } else { "" };
    let route = |path: &str| format!("[[route]]\nroute = \"GET {path}\"\n{}", judged(path));
    MISCHIEF.iter().map(|(path, _)| route(path)).collect::<Vec<_>>().concat()
}

async fn all_kinds(load: &'static str) {
    let asked = Arc::new(AtomicU64::new(0));
    let (url, database) = (serve_mischief(&asked).await, database_url().await);
    let ran = tokio::task::spawn_blocking(move || run(&url, &database, load, &routes())).await;
    let (variant, peak_mb, took) = ran.unwrap();
    for (path, _) in MISCHIEF {
        let route = format!("GET {path}");
        let routes = variant["routes"].as_array().unwrap();
        let of = routes.iter().find(|it| it["route"] == route).unwrap_or_else(|| panic!("{route}: {routes:#?}"));
        assert!(of["requests"].as_u64() > Some(0) && of["requests"] == of["failures"], "{of:#}");
    }
    let errors: Vec<&str> =
        variant["errors"].as_array().unwrap().iter().map(|it| it["text"].as_str().unwrap()).collect();
    for (path, text) in MISCHIEF {
        assert!(errors.iter().any(|it| it.starts_with(text)), "{path}: no {text:?} among {errors:#?}");
    }
    for error in &errors {
        assert!(MISCHIEF.iter().any(|(_, text)| error.starts_with(text)), "{error:?} is nobody's: {errors:#?}");
    }
    let bomb = errors.iter().find(|it| it.starts_with("the answer is not JSON")).unwrap();
    assert!(bomb.contains("Content-Encoding `gzip`"), "{bomb}");
    // Nobody follows a redirect, and nobody asks twice.
    let (requests, cut_off) = (&variant["summary"]["requests"], &variant["summary"]["requests_cut_off"]);
    let sent = requests.as_u64().unwrap() + cut_off.as_u64().unwrap();
    assert!(asked.load(Ordering::Relaxed) <= sent + 40, "{} asked, {sent} sent", asked.load(Ordering::Relaxed));
    assert!(peak_mb > 0 && peak_mb < 400, "{peak_mb} MB");
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_load_on_a_broken_service_counts_each_kind_under_its_name() {
    all_kinds(
        "users = 26\nclient_timeout = \"1s\"\nramp_up = \"0s\"\nduration = \"5s\"\nthink_time = [\"20ms\", \"60ms\"]",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_load_on_a_broken_service_counts_each_kind_under_its_name() {
    all_kinds("arrival_rate = 60\nclient_timeout = \"1s\"\nramp_up = \"0s\"\nduration = \"5s\"").await;
}
