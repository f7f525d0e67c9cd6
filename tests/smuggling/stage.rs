//! Weir with one thread, so that all share its upstream connections; an attacker, and victims behind him.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::attack::Attack;
use super::laws;
use super::streams::Stream;
use crate::support::{Answer, Connection, FrameConnection, Origin, Weir};

pub struct Stage {
    // Ended first.
    weir: Weir,
    origin: Origin,
    victim: Connection,
    victims: usize,
    pub faults: Vec<String>,
    pub refused: usize,
    pub passed: usize,
}

/// Longer than anything takes that is answered at all.
const PATIENCE: Duration = Duration::from_secs(5);

impl Stage {
    /// `lanes` as in the file.
    pub fn open(lanes: &str) -> Stage {
        let origin = Origin::start(|request| Answer::ok(&request.target));
        let file = format!("threads: 1\naccess-log: off\nlanes: {lanes}\n");
        let weir = Weir::start(&format!("{file}{}", Weir::forwarding_to(&[origin.address], "")));
        let victim = weir.connect();
        Stage { weir, origin, victim, victims: 0, faults: Vec::new(), refused: 0, passed: 0 }
    }

    /// What is wrong is kept.
    pub fn play(&mut self, attack: &Attack) {
        match send(self.weir.http, &attack.bytes) {
            Ok(answer) => self.judge_answers(&attack.name, &String::from_utf8_lossy(&answer)),
            Err(why) => self.fault(&attack.name, &why),
        }
        self.judge(&attack.name);
    }

    pub fn play_stream(&mut self, stream: &Stream) {
        let mut connection = FrameConnection::open(self.weir.http);
        // An error is a refusal, too.
        let _ = connection.write(&stream.frames());
        if !ends(&mut connection) {
            self.fault(&stream.name, "no end of the stream");
        }
        self.judge(&stream.name);
    }

    fn judge_answers(&mut self, name: &str, answers: &str) {
        if answers.contains("smuggled") && !answers.contains("/attack") {
            self.fault(name, &format!("the attacker is answered {answers:?}"));
        }
        // What he sent, and what stood behind it.
        if answers.matches("HTTP/1.1 ").count() > 2 {
            self.fault(name, &format!("there are three answers: {answers:?}"));
        }
    }

    /// The victims, and what has reached the origin.
    fn judge(&mut self, name: &str) {
        // The second one travels in the full lane, whatever the file says.
        for more in ["", "Cookie: a=1\r\nCookie: b=2\r\n"] {
            self.victims += 1;
            let target = format!("/victim-{}", self.victims);
            let asked = self.victim.try_write(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{more}\r\n"));
            match asked.and_then(|()| self.victim.try_read_response("GET")) {
                Ok(answer) if answer.status == 200 && answer.text() == target => {}
                Ok(answer) => self.fault(name, &format!("{target} is answered {} {:?}", answer.status, answer.text())),
                Err(error) => {
                    self.fault(name, &format!("{target} is not answered: {error}"));
                    self.victim = self.weir.connect();
                }
            }
        }
        let received = self.origin.take_received();
        let victims = [self.victims - 1, self.victims].map(|number| format!("/victim-{number}"));
        let is_meant = |target: &str| {
            let path = target.split(['?', '#']).next().unwrap_or_default();
            path == "/attack" || path == "/next" || victims.iter().any(|victim| victim == path)
        };
        let attacked = received.iter().any(|request| request.target.starts_with("/attack"));
        *(if attacked { &mut self.passed } else { &mut self.refused }) += 1;
        for wrong in received.iter().filter_map(|request| laws::broken(request, is_meant)) {
            self.fault(name, &wrong);
        }
    }

    fn fault(&mut self, name: &str, what: &str) {
        self.faults.push(format!("{name}\n    {what}"));
    }
}

/// All that comes back until the connection ends.
fn send(to: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut stream = TcpStream::connect(to).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    // Weir may have closed before all of it was sent.
    let _ = stream.write_all(bytes);
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(n) => answer.extend_from_slice(&piece[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(format!("the connection stays open behind {:?}", String::from_utf8_lossy(&answer)));
            }
            Err(_) => return Ok(answer),
        }
    }
}

/// Whether the first stream ends, or the connection.
fn ends(connection: &mut FrameConnection) -> bool {
    use crate::support::{DATA, END_STREAM, HEADERS, RST_STREAM};
    let begun = std::time::Instant::now();
    while let Some(frame) = connection.read() {
        let is_last = frame.kind == RST_STREAM || frame.flags & END_STREAM != 0;
        if frame.stream == 1 && [DATA, HEADERS, RST_STREAM].contains(&frame.kind) && is_last {
            return true;
        }
    }
    begun.elapsed() < PATIENCE
}
