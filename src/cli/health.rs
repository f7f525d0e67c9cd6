//! `weir health`: one question to the admin listener, for containers without a shell.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::NO;

const PATIENCE: Duration = Duration::from_secs(2);

pub fn health(admin: SocketAddr) -> anyhow::Result<ExitCode> {
    match ask(admin) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(ExitCode::SUCCESS),
        Ok(answer) => {
            eprintln!("weir: not ready: {}", answer.split("\r\n\r\n").nth(1).unwrap_or_default().trim());
            Ok(ExitCode::from(NO))
        }
        Err(error) => {
            eprintln!("weir: cannot ask {admin}: {error}");
            Ok(ExitCode::from(NO))
        }
    }
}

fn ask(admin: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(64 << 10).read_to_string(&mut answer)?;
    Ok(answer)
}
