//! A solution of exercise 1: threads, and no more than there are places.

#[path = "../../http.rs"]
mod http;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

/// Serves at most `places_max` clients at a time. The others wait in the listen queue, where they cost no thread.
pub fn serve(listener: TcpListener, places_max: usize) -> io::Result<()> {
    // A channel of tokens: whoever has one has a place.
    let (give_back, take) = mpsc::channel();
    (0..places_max).for_each(|_| give_back.send(()).unwrap());
    while let Ok(()) = take.recv() {
        let (stream, _) = listener.accept()?;
        let give_back = give_back.clone();
        thread::spawn(move || {
            let _ = converse(stream);
            give_back.send(())
        });
    }
    Ok(())
}

fn converse(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    while !http::has_ended(&request) {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&chunk[..count]),
        }
    }
    stream.write_all(&http::Answer::to(&request).whole())
}
