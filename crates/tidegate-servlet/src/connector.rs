//! One connector of a Tomcat: a server, its queue, and the threads that come for its jobs.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tidegate::server::{BoundServer, ListenAddress, Server, ServerHandle};

use crate::ffi;
use crate::gateway::{Catalina, Hooks, Threads};
use crate::handoff::Queue;
use crate::settings::Settings;
use tidegate_jobs::{Census, Jobs};
use tidegate_status::{Facts, PoolState, StatusServer};

/// Requests that wait for a thread, above which no more are read. 1,024: it bounds the memory that they hold, and a pool that
/// is so far behind gains nothing from more.
const JOBS_MAX: usize = 1024;

/// The connectors of this process by their numbers, none of which is used twice. The place of one that was unbound is empty,
/// once the last job has been taken of its queue: threads find that by the number.
static CONNECTORS: RwLock<Vec<Option<Arc<Connector>>>> = RwLock::new(Vec::new());

/// A connector that is bound, serves, or has served.
pub(crate) struct Connector {
    pub queue: Arc<Queue>,
    pub port: u16,
    /// Tells the loop what to do, for which it holds a descriptor; none once it is unbound.
    handle: Mutex<Option<ServerHandle>>,
    threads: Threads,
    is_paused: Arc<AtomicBool>,
    /// The server and its gateway, before it runs; none afterwards.
    bound: Mutex<Option<Bound>>,
}

/// A server that is bound, its gateway, and the server that shows its status, which ends with it.
struct Bound {
    server: BoundServer,
    catalina: Catalina,
    status: Option<StatusServer>,
}

/// Binds a connector with these settings, and gives it its number.
///
/// # Errors
/// Returns the error of a setting, or of the system.
pub(crate) fn bind(lines: &str) -> io::Result<usize> {
    let settings =
        Settings::parse(lines).map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))?;
    let address: ListenAddress =
        settings.address.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let server = Server::new().listen(address).limits(settings.limits).info(settings.info);
    let mut server = server.bind()?;
    let port = server.addresses().iter().find_map(port_of).unwrap_or(0);
    let threads_max = match settings.threads {
        Threads::Loop => 0,
        Threads::Pool(threads) => threads,
    };
    let queue = Arc::new(Jobs::new(JOBS_MAX, threads_max));
    let catalina = Catalina {
        queue: queue.clone(),
        timeout: settings.timeout,
        threads: settings.threads,
        response_bytes_high: settings.response_bytes_high,
        collected_bytes_max: settings.collected_bytes_max,
    };
    let status = match settings.status {
        Some(address) => {
            Some(show_status(address, &mut server, settings.threads, settings.pool, queue.clone())?)
        }
        None => None,
    };
    let connector = Connector {
        queue,
        port,
        handle: Mutex::new(Some(server.handle())),
        threads: settings.threads,
        is_paused: Arc::default(),
        bound: Mutex::new(Some(Bound { server, catalina, status })),
    };
    let mut connectors = CONNECTORS.write().unwrap_or_else(PoisonError::into_inner);
    connectors.push(Some(Arc::new(connector)));
    Ok(connectors.len() - 1)
}

/// Shows a connector on an address of its own: its loop, and the threads that come for its jobs.
///
/// # Errors
/// Returns the error, with the address, when that cannot be bound.
fn show_status(
    address: ListenAddress,
    server: &mut BoundServer,
    threads: Threads,
    pool: &'static str,
    queue: Arc<Queue>,
) -> io::Result<StatusServer> {
    let addresses = server.addresses().iter().map(ListenAddress::to_string).collect::<Vec<_>>();
    let facts = Facts::new("servlets", addresses);
    let facts = match threads {
        // They are called on the thread of the loop, which is shown anyway.
        Threads::Loop => facts,
        Threads::Pool(_) => facts.pool(pool, move || {
            let Census { waiting, threads, idle_threads } = queue.census();
            PoolState { threads, busy: threads.saturating_sub(idle_threads), waiting }
        }),
    };
    let status = StatusServer::start(address, server.observer(), facts)?;
    log::info!("the status is shown on {}", status.address());
    Ok(status)
}

fn port_of(address: &ListenAddress) -> Option<u16> {
    match address {
        ListenAddress::Tcp(address) => Some(address.port()),
        _ => None,
    }
}

/// Finds a connector by its number.
pub(crate) fn find(number: usize) -> Option<Arc<Connector>> {
    CONNECTORS.read().unwrap_or_else(PoisonError::into_inner).get(number).cloned().flatten()
}

/// Gives back the sockets of a connector that has never run, and what woke the loop of one that has. The jobs that wait in its
/// queue are still done: only then does nobody find it any more.
pub(crate) fn unbind(connector: &Arc<Connector>) {
    let bound = connector.take_bound();
    if bound.is_some() {
        // No loop will do it.
        connector.queue.close();
    }
    drop(bound);
    let handle = connector.lock_handle().take();
    drop(handle);
    forget_if_done(connector);
}

/// Forgets a connector that was unbound, and whose queue has no job and gets none any more.
pub(crate) fn forget_if_done(connector: &Connector) {
    let is_done =
        connector.lock_handle().is_none() && connector.queue.is_closed() && connector.queue.is_idle();
    if is_done {
        let mut connectors = CONNECTORS.write().unwrap_or_else(PoisonError::into_inner);
        let of_it = |place: &&mut Option<Arc<Connector>>| {
            place.as_ref().is_some_and(|other| ptr::eq(&raw const **other, connector))
        };
        let forgotten = connectors.iter_mut().find(of_it).and_then(Option::take);
        drop(connectors);
        drop(forgotten);
    }
}

/// Closes a queue when it is dropped, after a panic, too: threads that waited for ever would keep the process.
struct Closing<'a>(&'a Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Connector {
    /// Serves until it has drained, or is stopped: the life of the loop's thread.
    ///
    /// # Errors
    /// Returns the error when waiting for events fails, or when it has run before.
    pub fn run(&self) -> io::Result<()> {
        let bound = self.take_bound().ok_or_else(|| io::Error::other("the connector runs, or has run"))?;
        // The status is shown until the loop has ended; then its address is free for a start anew.
        let Bound { server, catalina, status: _status } = bound;
        let hooks = Hooks {
            queue: self.queue.clone(),
            threads: self.threads,
            is_paused: self.is_paused.clone(),
            collected: Vec::new(),
        };
        let closing = Closing(&self.queue);
        let ran = server.run_with_hooks(catalina, hooks);
        drop(closing);
        if self.threads == Threads::Loop {
            // A task that was accepted is done, as threads of a pool would do it.
            ffi::work();
        }
        // It may have been unbound while a servlet held its thread.
        forget_if_done(self);
        ran
    }

    fn take_bound(&self) -> Option<Bound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn lock_handle(&self) -> MutexGuard<'_, Option<ServerHandle>> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the loop something, unless the connector is unbound.
    fn tell(&self, tell: impl FnOnce(&ServerHandle)) {
        if let Some(handle) = &*self.lock_handle() {
            tell(handle);
        }
    }

    /// Lets clients wait, unread, or not any more.
    pub fn pause(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Relaxed);
        self.tell(ServerHandle::wake);
    }

    /// Accepts no more, and ends once what is in flight has been answered.
    pub fn drain(&self) {
        self.is_paused.store(false, Ordering::Relaxed);
        self.tell(ServerHandle::drain);
    }

    /// Ends at once.
    pub fn stop(&self) {
        self.tell(ServerHandle::stop);
    }

    /// Has the loop do the tasks of Java's, where it calls servlets.
    pub fn wake(&self) {
        if self.threads == Threads::Loop {
            self.tell(ServerHandle::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{self, Taking};
    use crate::handoff::Job;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn connector_is_found_until_the_last_job_of_its_queue_is_taken() {
        let number = bind("address=127.0.0.1:0\nthreads=1").unwrap();
        let connector = find(number).unwrap();
        connector.queue.push_now(Job::Task);
        unbind(&connector);
        assert!(calls::take(&find(number).expect("a job waits"), Taking::Wait).is_ok());
        assert!(calls::take(&connector, Taking::Wait).is_err());
        assert!(find(number).is_none());
    }

    #[test]
    fn queue_is_closed_when_the_loop_panics() {
        let queue = Queue::new(1, 1);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let _closing = Closing(&queue);
            panic!("the loop has a bug");
        }));
        assert!(ran.is_err() && queue.is_closed());
    }
}
