//! Real nginx origins.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::http1::Request;
use super::ports::free_address;
use super::process::{Process, Signal};
use super::wait::eventually;

/// One nginx with one server. Its folder is served under `/files/`.
pub struct Nginx {
    // Before the folder: the process must have ended when it is removed.
    process: Process,
    folder: TempDir,
    pub address: SocketAddr,
}

impl Nginx {
    /// Starts one with these directives inside its `server` block.
    #[track_caller]
    pub fn start(server: &str) -> Nginx {
        Self::start_at(free_address(), server)
    }

    #[track_caller]
    pub fn start_at(address: SocketAddr, server: &str) -> Nginx {
        Self::start_whole(address, "", server)
    }

    /// As [`Nginx::start`], with more directives before the server.
    #[track_caller]
    pub fn start_with(http: &str, server: &str) -> Nginx {
        Self::start_whole(free_address(), http, server)
    }

    /// With further servers; in their text `LISTEN` stands for the address that they share.
    #[track_caller]
    pub fn start_with_servers(http: &str, servers: &str) -> Nginx {
        let address = free_address();
        Self::start_whole(address, &format!("{http}{}", servers.replace("LISTEN", &address.to_string())), "")
    }

    /// One that carries on connections and datagrams instead, by these directives of its stream module. It is ready when the
    /// first address that it listens on lets somebody in.
    #[track_caller]
    pub fn start_stream(stream: &str) -> Nginx {
        let folder = tempfile::tempdir().expect("a folder for nginx");
        let file = folder.path().join("nginx.conf");
        let listened = stream.split("listen ").skip(1).filter_map(|rest| {
            let mut words = rest.split([' ', ';']);
            let address = words.next()?.parse().ok()?;
            (words.next() != Some("udp")).then_some(address)
        });
        let address: SocketAddr = listened.into_iter().next().expect("an address of connections");
        let global = global(folder.path());
        let module = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;";
        let text = format!("{module} {global} events {{ worker_connections 1024; }} stream {{ {stream} }}");
        std::fs::write(&file, text).expect("the file can be written");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(folder.path()).args(["-e", "stderr"]);
        let process = Process::start(command, &folder.path().join("nginx.log"));
        let mut nginx = Nginx { process, folder, address };
        eventually("nginx lets somebody in", || {
            if let Some(status) = nginx.process.exit_status() {
                panic!("nginx ended with {status}: {}", nginx.process.log());
            }
            std::net::TcpStream::connect(address).ok()
        });
        nginx
    }

    #[track_caller]
    fn start_whole(address: SocketAddr, http: &str, server: &str) -> Nginx {
        let folder = tempfile::tempdir().expect("a folder for nginx");
        std::fs::create_dir(folder.path().join("files")).expect("a folder");
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration(folder.path(), address, http, server)).expect("the file can be written");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(folder.path()).args(["-e", "stderr"]);
        let process = Process::start(command, &folder.path().join("nginx.log"));
        let mut nginx = Nginx { process, folder, address };
        eventually("nginx answers", || {
            if let Some(status) = nginx.process.exit_status() {
                panic!("nginx ended with {status}: {}", nginx.process.log());
            }
            Request::try_get(address, "/").ok()
        });
        nginx
    }

    /// One for all tests of a binary: `/` says what was asked for, `/empty` is 204, `/files/` serves [`Nginx::write_file`]s.
    pub fn shared() -> &'static Nginx {
        static SHARED: OnceLock<Nginx> = OnceLock::new();
        SHARED.get_or_init(|| {
            Nginx::start(
                "location / { default_type text/plain; return 200 'nginx $request_uri'; }
                 location /empty { return 204; }",
            )
        })
    }

    /// A file of `size` bytes without a pattern that repeats at any power of two.
    pub fn write_file(&self, name: &str, size: usize) -> Vec<u8> {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        std::fs::write(self.folder.path().join("files").join(name), &bytes).expect("the file can be written");
        bytes
    }

    /// A file of zeros that takes no space.
    pub fn write_sparse_file(&self, name: &str, size: u64) {
        let path = self.folder.path().join("files").join(name);
        std::fs::File::create(path).and_then(|file| file.set_len(size)).expect("the file can be written");
    }

    /// Its connections stay open, its port too; nothing is answered. It ends all the same when dropped.
    pub fn pause(&self) {
        self.process.signal(Signal::Pause);
    }

    pub fn resume(&self) {
        self.process.signal(Signal::Resume);
    }

    /// Ends at once, in the middle of whatever it does.
    pub fn kill(&self) {
        self.process.signal(Signal::Kill);
    }
}

/// What stands before everything else.
fn global(folder: &Path) -> String {
    let folder = folder.display();
    // Started by root, the worker would drop to another user, who cannot read the test's folder.
    // SAFETY: plain system call without arguments.
    let user = if unsafe { libc::geteuid() } == 0 { "user root;" } else { "" };
    // One process alone: a signal that stops or kills it does so to all of it.
    format!("{user} daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr warn;")
}

fn configuration(folder: &Path, address: SocketAddr, http: &str, server: &str) -> String {
    let (global, folder) = (global(folder), folder.display());
    format!(
        "{global}
        events {{ worker_connections 4096; }}
        http {{
          access_log off; keepalive_requests 1000000; sendfile on;
          client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
          uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
          {http}
          server {{
            listen {address} backlog=1024 default_server;
            location /files/ {{ root {folder}; }}
            {server}
          }}
        }}"
    )
}
