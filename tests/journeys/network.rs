//! Connections that break, again and again: what arrived is kept, and the rest is asked for
//! (REL-029, REL-033, REL-036).

use crate::fixture::{Dice, large};
use crate::sandbox::{World, content, long, text};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A proxy that cuts connections after so many bytes, and counts what came through.
struct Proxy {
    url: String,
    passed: Arc<AtomicU64>,
    cuts: Arc<Mutex<Vec<usize>>>,
    stop: Arc<AtomicBool>,
    port: u16,
}

impl Proxy {
    fn to(url: &str) -> Proxy {
        let target = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (passed, cuts, stop): (Arc<AtomicU64>, Arc<Mutex<Vec<usize>>>, Arc<AtomicBool>) =
            Default::default();
        let (counted, planned, stopped) = (passed.clone(), cuts.clone(), stop.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopped.load(Relaxed) {
                    return;
                }
                let Ok(server) = TcpStream::connect(&target) else { continue };
                let limit = planned.lock().unwrap().pop();
                let counted = counted.clone();
                std::thread::spawn(move || pass(client, server, limit, &counted));
            }
        });
        Proxy { url: format!("http://127.0.0.1:{port}/"), passed, cuts, stop, port }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Passes bytes both ways until `limit` of them came from the server.
fn pass(client: TcpStream, server: TcpStream, limit: Option<usize>, counted: &AtomicU64) {
    let [mut client_in, mut server_out] = [client.try_clone().unwrap(), server.try_clone().unwrap()];
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut client_in, &mut server_out);
        let _ = server_out.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (&server, &client);
    let (mut left, mut buffer) = (limit.unwrap_or(usize::MAX), [0; 4096]);
    while left > 0 {
        let want = buffer.len().min(left);
        let Ok(n @ 1..) = from.read(&mut buffer[..want]) else { break };
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
        counted.fetch_add(n as u64, Relaxed);
        left -= n;
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

/// REL-029: a fetch over a connection that is cut at random bytes ends with the right content, and
/// reads no frame again that arrived whole.
#[test]
fn a_connection_that_is_cut_again_and_again_costs_little_more() {
    let world = World::new();
    let ada = world.author("ada");
    large(&world.path("large"), "1.0.0");
    ada.publish(&world.path("large"));
    let served = ada.serve(&ada.repo(), &["--no-iroh"]);
    let proxy = Proxy::to(&served.url);

    let eve = world.user("eve").clone_of(&proxy.url, "clean");
    let before = proxy.passed.load(Relaxed);
    eve.ok(["add", "large", "-y"]);
    let clean = proxy.passed.load(Relaxed) - before;

    let bob = world.user("bob").clone_of(&proxy.url, "work");
    let mut dice = Dice(29);
    let cuts = if long() { 100 } else { 30 };
    let part = 2 * clean as usize / cuts;
    let planned: Vec<usize> = (0..cuts).map(|_| 1 + dice.below(part)).collect();
    // What a cut loses is the frame that was on its way: at most 1 MiB, at most what came since.
    let lost: u64 = planned.iter().map(|limit| (*limit as u64).min(1 << 20)).sum();
    *proxy.cuts.lock().unwrap() = planned;
    let before = proxy.passed.load(Relaxed);
    let mut tries = 0;
    loop {
        tries += 1;
        let run = bob.run(["add", "large", "--json"]);
        if run.code == Some(0) {
            break;
        }
        assert!(tries <= cuts + 1, "{run:?}");
        let failure = run.failure();
        assert!(["E-NET", "E-NOTFOUND", "E-FORMAT"].contains(&failure.code.as_str()), "{failure:?}");
        assert!(bob.installed().is_empty());
        bob.store_is_whole();
    }
    let read = proxy.passed.load(Relaxed) - before;
    let heads = 16_000 * (cuts as u64 + tries as u64); // summaries, statements and lists are read anew
    println!("{tries} tries, {read} bytes for {clean}");
    assert!(read <= clean + clean / 10 + lost + heads, "{read} bytes for {clean}, {tries} tries");
    assert_eq!(content(&bob.loaded("large")), content(&world.path("large")));
    bob.store_is_whole();
}

/// REL-036: without a network the answer comes soon, and says what to do.
#[test]
fn nobody_there_is_told_soon() {
    let world = World::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let bob = world.user("bob");
    let begun = Instant::now();
    let failure = bob.no(["clone", &format!("http://127.0.0.1:{port}/"), "work"], "E-NET");
    assert!(failure.message.contains("127.0.0.1"), "{failure:?}");
    assert!(begun.elapsed().as_secs() < 60);
    assert!(!world.path("work").exists());
}

/// REL-033: a dead first source does not keep the second from serving.
#[test]
fn a_dead_source_is_passed_over() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let served = ada.serve(&repo, &["--no-iroh"]);
    let bob = world.user("bob").clone_of(&served.url, "work");
    drop(served);
    let wanted = std::fs::read_to_string(bob.here("pkg.cfg.toml")).unwrap();
    let sources = format!("[environment]\nsources = [\"{}\"]", text(&repo));
    std::fs::write(bob.here("pkg.cfg.toml"), wanted.replace("[environment]", &sources)).unwrap();
    bob.ok(["add", "hello", "-y"]);
    assert_eq!(content(&bob.loaded("hello")), content(&world.path("hello")));
}
