//! A TCP proxy that does to a connection what networks do: cut it, delay it, hang, refuse.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// What happens to connections through the proxy, until another fault is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fault {
    /// Everything passes.
    #[default]
    None,
    /// New connections are closed at once.
    Refuse,
    /// Nothing passes, and nothing is closed.
    Hang,
    /// Everything passes later, each part by this much.
    Delay(Duration),
    /// The connection is cut after this many further bytes of answers.
    CutAfterAnswered(u64),
    /// The connection is cut where the client sends these bytes; the server does not see them.
    CutBefore(Vec<u8>),
    /// These bytes of the client reach the server, and then the connection is cut, so that no answer returns.
    CutAfter(Vec<u8>),
    /// The same, after the client has sent these bytes so many times before.
    CutAfterSeveral(Vec<u8>, u32),
}

#[derive(Debug, Default)]
struct State {
    fault: Fault,
    /// How often a fault was set.
    turn: u32,
    /// How often a cutting fault has struck. It strikes once and is gone.
    cuts: u32,
    /// How often somebody connected, refused or not.
    connections: u32,
    live: Vec<TcpStream>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A proxy on loopback in front of one server.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy in front of the server at this port of 127.0.0.1.
    #[must_use]
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the proxy needs a port");
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                connect(client, server, &accepting);
            }
        });
        Self { port, shared }
    }

    /// Where the proxy listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What happens from now on.
    pub fn set(&self, fault: Fault) {
        let mut state = self.shared.lock();
        state.fault = fault;
        state.turn += 1;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Everything passes again. Connections that were cut stay so.
    pub fn heal(&self) {
        self.set(Fault::None);
    }

    /// Cuts all connections now.
    pub fn cut(&self) {
        for stream in self.shared.lock().live.drain(..) {
            close(&stream);
        }
    }

    /// How often somebody connected, whatever became of it.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.shared.lock().connections
    }

    /// How often a cutting fault has struck.
    #[must_use]
    pub fn cuts(&self) -> u32 {
        self.shared.lock().cuts
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The fault, as soon as it lets anything pass, and how many were set until it was.
    fn fault(&self) -> (u32, Fault) {
        let mut state = self.lock();
        while state.fault == Fault::Hang {
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        (state.turn, state.fault.clone())
    }

    fn struck(&self) {
        let mut state = self.lock();
        state.cuts += 1;
        state.fault = Fault::None;
    }
}

fn close(stream: &TcpStream) {
    // It may be closed already.
    drop(stream.shutdown(Shutdown::Both));
}

fn connect(client: TcpStream, server: u16, shared: &Arc<Shared>) {
    let fault = {
        let mut state = shared.lock();
        state.connections += 1;
        state.fault.clone()
    };
    if fault == Fault::Refuse {
        close(&client);
        return;
    }
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else {
        close(&client);
        return;
    };
    let (Ok(from_client), Ok(from_server), Ok(live)) = (client.try_clone(), server.try_clone(), client.try_clone())
    else {
        return;
    };
    // The server learns of a cut by its own end; the client's is enough to start it.
    shared.lock().live.push(live);
    let asking = shared.clone();
    let answering = shared.clone();
    let (to_server, to_client) = (server, client);
    std::thread::spawn(move || ask(from_client, to_server, &asking));
    std::thread::spawn(move || answer(from_server, to_client, &answering));
}

/// Carries what the client asks.
fn ask(mut client: TcpStream, mut server: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    // Bytes looked for may arrive in two parts.
    let (mut tail, mut turn): (Vec<u8>, u32) = (Vec::new(), 0);
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let part = &buffer[..length];
        let (now, fault) = shared.fault();
        if turn != now {
            // What was sent before a fault was set is none of its business.
            tail.clear();
            turn = now;
        }
        if let Fault::CutBefore(sought) | Fault::CutAfter(sought) | Fault::CutAfterSeveral(sought, _) = &fault {
            tail.extend_from_slice(part);
            if !tail.windows(sought.len()).any(|window| window == sought) {
                tail.drain(..tail.len().saturating_sub(sought.len()));
            } else if let Fault::CutAfterSeveral(sought, before @ 1..) = &fault {
                shared.lock().fault = Fault::CutAfterSeveral(sought.clone(), before - 1);
                tail.clear();
            } else {
                shared.struck();
                if !matches!(fault, Fault::CutBefore(_)) {
                    // First the client's end, so that no answer can reach it.
                    close(&client);
                    drop(server.write_all(part));
                    drop(server.shutdown(Shutdown::Write));
                    return;
                }
                break;
            }
        }
        if let Fault::Delay(pause) = fault {
            std::thread::sleep(pause);
        }
        if server.write_all(part).is_err() {
            break;
        }
    }
    close(&client);
    close(&server);
}

/// Carries what the server answers.
fn answer(mut server: TcpStream, mut client: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        let mut part = &buffer[..length];
        let (_, fault) = shared.fault();
        match fault {
            Fault::Delay(pause) => std::thread::sleep(pause),
            Fault::CutAfterAnswered(left) if left <= length as u64 => {
                part = &buffer[..usize::try_from(left).unwrap_or(0)];
                drop(client.write_all(part));
                shared.struck();
                break;
            }
            Fault::CutAfterAnswered(left) => shared.lock().fault = Fault::CutAfterAnswered(left - length as u64),
            _ => {}
        }
        if client.write_all(part).is_err() {
            break;
        }
    }
    close(&client);
    close(&server);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that repeats what it hears, and says what it heard at the end.
    fn echo() -> (u16, std::sync::mpsc::Receiver<Vec<u8>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut all = Vec::new();
                let mut buffer = [0; 1024];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    all.extend_from_slice(&buffer[..length]);
                    drop(stream.write_all(&buffer[..length]));
                }
                drop(heard.send(all));
            }
        });
        (port, receiver)
    }

    fn client(proxy: &Proxy) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap()
    }

    #[test]
    fn cuts_before_or_after_the_bytes_named() {
        for (fault, expected) in [
            (Fault::CutBefore(b"COMMIT".to_vec()), b"BEGIN".to_vec()),
            (Fault::CutAfter(b"COMMIT".to_vec()), b"BEGINCOMMIT".to_vec()),
        ] {
            let (port, heard) = echo();
            let proxy = Proxy::start(port);
            proxy.set(fault);
            let mut stream = client(&proxy);
            let mut echoed = [0; 5];
            stream.write_all(b"BEGIN").unwrap();
            stream.read_exact(&mut echoed).unwrap();
            stream.write_all(b"COMMIT").unwrap();
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest));
            assert!(rest.is_empty());
            assert_eq!(heard.recv().unwrap(), expected);
            assert_eq!(proxy.cuts(), 1);
        }
    }

    #[test]
    fn hangs_until_it_heals_and_cuts_after_so_many_bytes() {
        let (port, _heard) = echo();
        let proxy = Proxy::start(port);
        proxy.set(Fault::Hang);
        let mut stream = client(&proxy);
        stream.write_all(b"hello").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut echoed = [0; 5];
        assert!(stream.read(&mut echoed).is_err());
        proxy.heal();
        stream.set_read_timeout(None).unwrap();
        stream.read_exact(&mut echoed).unwrap();
        assert_eq!(&echoed, b"hello");
        proxy.set(Fault::CutAfterAnswered(2));
        stream.write_all(b"again").unwrap();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
        assert_eq!(rest, b"ag");
        let before = proxy.connections();
        proxy.set(Fault::Refuse);
        assert!(!matches!(client(&proxy).read(&mut echoed), Ok(1..)));
        assert_eq!(proxy.connections(), before + 1);
    }
}
