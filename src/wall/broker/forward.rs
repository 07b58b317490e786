//! The inside half: what connects to a port of the sandbox's loopback is carried to the broker's
//! socket. It decides nothing.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::pump::{Plan, pump};
use super::slots::Slots;
use super::socket::answer;

/// How many connections are carried at once; the next waits until one ends. More than the broker
/// takes by default, so that its answer to one too many is heard.
const MOST: usize = 160;
const STACK: usize = 128 * 1024;
/// Longer than the broker takes to reach a server, or to say that it can't.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longer than the broker's times, so that it is the broker who ends a connection.
const IDLE: Duration = Duration::from_secs(3600);

/// Carries each connection that `listener` accepts to the unix socket at `socket`, both ways,
/// until the process ends. Where nobody listens there, a connection is answered with 502.
///
/// # Errors
/// `listener` can't accept any more.
pub fn forward(listener: &TcpListener, socket: &Path) -> io::Result<Infallible> {
    serve(listener, socket, None)
}

/// Carries each connection to the server that has the same port on the machine's loopback, as far as the
/// broker lets it, like [`forward`].
///
/// # Errors
/// `listener` can't accept any more.
pub fn open_door(listener: &TcpListener, socket: &Path) -> io::Result<Infallible> {
    let port = listener.local_addr()?.port();
    serve(listener, socket, Some(port))
}

fn serve(listener: &TcpListener, socket: &Path, door: Option<u16>) -> io::Result<Infallible> {
    const PAUSE: Duration = Duration::from_millis(50);
    let slots = Slots::new(MOST);
    loop {
        slots.wait_for_room();
        let client = match listener.accept() {
            Ok((client, _)) => client,
            // What the listener itself is the reason of.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => return Err(e),
            // One connection that ended early, or no descriptor left.
            Err(_) => {
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        let slot = slots.take();
        let socket = socket.to_owned();
        // Where there is no thread, the client is dropped, and sees its connection end.
        let _ = std::thread::Builder::new().name("forward".to_owned()).stack_size(STACK).spawn(
            move || {
                // A client that is gone needs no answer.
                let _ = carry(&client, &socket, door);
                drop((client, slot));
            },
        );
    }
}

/// Returns the variables by which programs of the sandbox find the forwarder at `port`; what they
/// say to each other on the loopback does not go through it.
pub fn proxy_variables(port: u16) -> [(&'static str, String); 7] {
    let proxy = format!("http://127.0.0.1:{port}");
    let inside = "localhost,127.0.0.1,::1".to_owned();
    [
        ("HTTP_PROXY", proxy.clone()),
        ("HTTPS_PROXY", proxy.clone()),
        ("NO_PROXY", inside.clone()),
        // Some programs read these alone.
        ("http_proxy", proxy.clone()),
        ("https_proxy", proxy),
        ("no_proxy", inside),
        // Node asks for its consent.
        ("NODE_USE_ENV_PROXY", "1".to_owned()),
    ]
}

/// Asks the broker for the server at a port of the machine's loopback. Returns what it gave behind its
/// consent; none where it does not consent, with its answer.
fn ask(broker: &mut UnixStream, port: u16) -> io::Result<Result<Vec<u8>, Vec<u8>>> {
    /// The longest answer.
    const MOST: usize = 16 * 1024;
    let name = format!("127.0.0.1:{port}");
    broker.set_read_timeout(Some(PATIENCE))?;
    write!(broker, "CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n")?;
    let mut answer = Vec::new();
    loop {
        let mut part = [0; 1024];
        let count = broker.read(&mut part)?;
        answer.extend_from_slice(&part[..count]);
        let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        match head {
            Some(end) if answer.starts_with(b"HTTP/1.1 200") => {
                return Ok(Ok(answer.split_off(end + 4)));
            }
            _ if count > 0 && answer.len() < MOST => {}
            _ => return Ok(Err(answer)),
        }
    }
}

fn carry(client: &TcpStream, socket: &Path, door: Option<u16>) -> io::Result<()> {
    client.set_nonblocking(true)?;
    client.set_nodelay(true)?;
    match UnixStream::connect(socket) {
        Ok(mut broker) => {
            let mut to_client = Vec::new();
            if let Some(port) = door {
                match ask(&mut broker, port)? {
                    Ok(rest) => to_client = rest,
                    Err(answer) => {
                        client.set_nonblocking(false)?;
                        return (&*client).write_all(&answer);
                    }
                }
            }
            broker.set_nonblocking(true)?;
            let plan = Plan {
                to_server: Vec::new(),
                to_client,
                request: None,
                idle: IDLE,
                half: IDLE,
                until_answered: false,
            };
            pump(client, &broker, plan, None);
        }
        Err(e) => answer(client, 502, &format!("the factory's broker does not answer: {e}"), None),
    }
    Ok(())
}
