//! What nobody should do to a server's sockets: the gateway answers whoever behaves, all the same.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::Signal;
use rbac_bench::testbed::limits::raise_descriptor_limit;
use serde_json::Value;

use crate::program::{HANG, Place, SMALL};

const IDLE_CONNECTIONS: u32 = 10_000;

#[test]
fn ten_thousand_idle_connections_slow_readers_and_garbage_stop_nobody_else() {
    // It reckons two for each user of a run; here each connection has one end in each process.
    raise_descriptor_limit(IDLE_CONNECTIONS * 6 / 10).expect("file descriptors for ten thousand connections");
    let place = Place::new();
    let mut run = place.start(&["gateway", SMALL, "--json"]);
    let mut line = String::new();
    BufReader::new(run.child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let serving: Value = serde_json::from_str(&line).expect("JSON");
    let url = serving["url"].as_str().expect("an URL");
    let address = url.trim_start_matches("http://").to_owned();
    let token = serving["user_token"].as_str().expect("a token");
    let connect = || {
        let stream = TcpStream::connect(&address).expect("a connection");
        stream.set_read_timeout(Some(HANG)).expect("a timeout");
        stream
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tools = || {
        runtime.block_on(async {
            let client = reqwest::Client::builder().timeout(HANG).build().expect("a client");
            let answer = client.get(format!("{url}/tools")).bearer_auth(token).send().await.expect("an answer");
            answer.status().as_u16()
        })
    };

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
    assert_eq!(tools(), 200, "beside fifty that have said half of it");

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
    run.signal(Signal::SIGINT);
    assert_eq!(run.wait(), Some(0));
    place.assert_nothing_is_left(HANG);
}
