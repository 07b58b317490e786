//! Helpers outside of any wall that do what they are asked, as a session bus, an agent of keys or a
//! container daemon would: by a socket with a path, an abstract one, and on the host's loopback.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The helpers of one site. They end with the suite.
pub(crate) struct Deputies {
    /// The name of the abstract socket.
    pub(crate) name: String,
    /// The TCP port.
    pub(crate) port: u16,
    heard: Arc<Mutex<String>>,
}

impl Deputies {
    /// Starts them; they read files of `planted` by name. The socket with a path is `path`.
    pub(crate) fn start(planted: &Path, path: &Path, name: String) -> Self {
        let heard = Arc::new(Mutex::new(String::new()));
        let pathname = UnixListener::bind(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let abstract_one = UnixListener::bind_addr(&address).unwrap();
        let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        for listener in [pathname, abstract_one] {
            let (planted, heard) = (planted.to_owned(), heard.clone());
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                    serve(stream.try_clone().unwrap(), stream, &planted, &heard);
                }
            });
        }
        let (planted, shared) = (planted.to_owned(), heard.clone());
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                serve(stream.try_clone().unwrap(), stream, &planted, &shared);
            }
        });
        Self { name, port, heard }
    }

    /// Returns all that was said to them.
    pub(crate) fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }
}

fn serve(from: impl Read, mut to: impl Write, planted: &Path, heard: &Mutex<String>) {
    let mut line = String::new();
    if BufReader::new(from).read_line(&mut line).is_err() {
        return;
    }
    heard.lock().unwrap().push_str(&line);
    // By name alone: a deputy of the suite reads nothing else.
    let asked = PathBuf::from(line.trim_end());
    if let Some(name) = asked.file_name()
        && let Ok(text) = fs::read(planted.join(name))
    {
        let _ = to.write_all(&text);
    }
}
