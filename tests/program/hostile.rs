//! Hostile use of a server's sockets: the gateway answers everybody else, all the same.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rbac_bench::testbed::limits::raise_descriptor_limit;
use serde_json::Value;

use crate::program::{HANG, Place, SMALL, Started};

const IDLE_CONNECTIONS: u32 = 10_000;

/// A gateway that serves, and somebody who behaves.
struct Serving {
    place: Place,
    run: Started,
    url: String,
    /// Host and port.
    address: String,
    token: String,
    runtime: tokio::runtime::Runtime,
}

impl Serving {
    fn start(settings: &[&str]) -> Self {
        let place = Place::new();
        let mut arguments = vec!["gateway", SMALL, "--json"];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        let mut run = place.start(&arguments);
        let mut line = String::new();
        BufReader::new(run.child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let serving: Value = serde_json::from_str(&line).expect("JSON");
        let text = |key: &str| serving[key].as_str().expect("text").to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let url = text("url");
        let address = url.trim_start_matches("http://").to_owned();
        Self { place, run, url, address, token: text("user_token"), runtime }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_read_timeout(Some(HANG)).expect("a timeout");
        stream
    }

    /// The status of a list that somebody asks for who behaves.
    fn tools(&self) -> u16 {
        self.runtime.block_on(async {
            let client = reqwest::Client::builder().timeout(HANG).build().expect("a client");
            let asked = client.get(format!("{}/tools", self.url)).bearer_auth(&self.token);
            asked.send().await.expect("an answer").status().as_u16()
        })
    }

    fn stop(self) {
        self.run.signal(Signal::SIGINT);
        assert_eq!(self.run.wait(), Some(0));
        self.place.assert_nothing_is_left(HANG);
    }
}

#[test]
fn idle_connections_slow_readers_and_garbage_stop_nobody_else() {
    // It reckons two for each user of a run; here each connection has one end in each process.
    raise_descriptor_limit(IDLE_CONNECTIONS * 6 / 10).expect("file descriptors for ten thousand connections");
    let serving = Serving::start(&[]);
    let (address, token) = (&serving.address, &serving.token);
    let (connect, tools) = (|| serving.connect(), || serving.tools());

    let idle: Vec<TcpStream> = (0..IDLE_CONNECTIONS).map(|_| connect()).collect();
    assert_eq!(tools(), 200, "beside {IDLE_CONNECTIONS} idle connections");

    // Each asks for a list a hundred times over and reads nothing.
    let ask = format!("GET /tools HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n").repeat(100);
    let readers: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = connect();
            stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
            // A server that waits for its reader does not read either.
            drop(stream.write_all(ask.as_bytes()));
            stream
        })
        .collect();
    assert_eq!(tools(), 200, "beside fifty that ask and do not read");

    // Half a request, and then nothing.
    let halves: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = connect();
            stream.write_all(b"POST /rpc HTTP/1.1\r\nContent-Length: 100\r\nHost: x\r\n\r\n{").expect("written");
            stream
        })
        .collect();
    assert_eq!(tools(), 200, "beside fifty that have printed half of it");

    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", &[0; 4096]]
    {
        let mut stream = connect();
        stream.write_all(garbage).expect("written");
        let mut answer = Vec::new();
        // Closed by the server, with or without a word; a reset is a close too.
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let mut long = connect();
    let head = format!("GET /tools HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    drop(long.write_all(head.as_bytes()));
    let mut answer = String::new();
    drop(long.read_to_string(&mut answer));
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");

    drop((idle, readers, halves));
    assert_eq!(tools(), 200, "after all of it");
    serving.stop();
}

/// Timeout of a request's head below, and duration of the slow tool.
const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
const SLOW_TOOL: Duration = Duration::from_secs(3);

/// Waits until the other end has closed the connection, saying a letter now and then; gives what it reported.
fn closed_by_the_server(stream: &mut TcpStream, letters: &[u8]) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let (deadline, mut printed, mut chunk) = (Instant::now() + HANG, Vec::new(), [0; 4096]);
    let mut letters = letters.iter();
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return printed,
            Ok(count) => printed.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let letter = letters.next().map_or(&[][..], std::slice::from_ref);
                // A close that crosses the letter is found by the next read.
                drop(stream.write_all(letter));
            }
            // What was stated after the close is answered with a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset && !letters.as_slice().is_empty() => {
                return printed;
            }
            Err(error) => panic!("not closed in an orderly way: {error}"),
        }
        assert!(Instant::now() < deadline, "never closed; it printed {}", String::from_utf8_lossy(&printed));
    }
}

#[test]
fn unfinished_heads_and_silent_connections_are_closed_in_time() {
    let (timeout, slow) = (format!("{}s", HEADER_TIMEOUT.as_secs()), format!("{}s", SLOW_TOOL.as_secs()));
    let settings = [
        format!("gateway.header_timeout={timeout}"),
        format!("backend.delays.slow-search.min={slow}"),
        format!("backend.delays.slow-search.max={slow}"),
    ];
    let serving = Serving::start(&settings.each_ref().map(String::as_str));
    let began = Instant::now();
    let half = b"GET /tools HTTP/1.1\r\nHost: x\r\nX-Half: ";
    let mut halves: Vec<TcpStream> = (0..20).map(|_| serving.connect()).collect();
    for stream in &mut halves {
        stream.write_all(half).expect("written");
    }
    let mut dripping = serving.connect();
    dripping.write_all(half).expect("written");
    let mut silent = serving.connect();
    let mut once = serving.connect();
    once.write_all(format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", serving.address).as_bytes()).expect("written");
    assert_eq!(serving.tools(), 200, "beside those who do not end");

    // A call that takes longer than the head may is nobody's fault.
    let call =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow-search","arguments":{"query":"x"}}}"#;
    let mut calling = serving.connect();
    let (address, token, length) = (&serving.address, &serving.token, call.len());
    let head = format!("POST /rpc HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n");
    let head = format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    calling.write_all(format!("{head}{call}").as_bytes()).expect("written");

    assert_eq!(closed_by_the_server(&mut dripping, &[b'x'; 1000]), b"");
    assert!(began.elapsed() >= HEADER_TIMEOUT, "closed after {:?}", began.elapsed());
    for stream in halves.iter_mut().chain([&mut silent]) {
        assert_eq!(closed_by_the_server(stream, b""), b"");
    }
    let answered = closed_by_the_server(&mut once, b"");
    assert!(answered.starts_with(b"HTTP/1.1 200 OK\r\n"), "kept, and closed when nothing more was asked: {answered:?}");
    let answered = String::from_utf8(closed_by_the_server(&mut calling, b"")).expect("text");
    assert!(answered.starts_with("HTTP/1.1 200 OK\r\n") && answered.contains("\"content\""), "{answered}");
    assert_eq!(serving.tools(), 200, "after all of it");
    serving.stop();
}
