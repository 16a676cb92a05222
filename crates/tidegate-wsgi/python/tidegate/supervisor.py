"""The process that keeps workers alive (`--workers N`, `--reload`).

    bind ──▶ fork ──▶ worker ──▶ worker ──▶ …      each loads the application and accepts from the
               ▲                                   listening sockets that all of them share
               └── a signal, a death, a worker that is ready, a deadline

It serves nothing itself and sleeps until something happens: one `poll` on a pipe into which signals
write their number, and one pipe for each worker that is not ready yet. What is to be done is
computed from what there is (`_settle`), after each event, and not kept as a plan.

A worker is *starting* until its application is loaded, *ready* until it is told to finish, and
*retiring* until it has ended. Workers have a *generation*: SIGHUP begins a new one. A worker of the
new generation is started beside the old ones; when it is ready one of the old retires, and so on.
While none of a generation has been ready, only one of it is started: an application that cannot be
loaded says so once. Then the old ones are kept, and where there are none yet everything ends.

A worker that dies is replaced at once. Only one that has died before it served, or soon after, is likely to do so
again: then its place stays empty for a while, and for longer each time. The other places do not wait for it.

=================  ============================================================================
SIGTERM, SIGINT    workers finish what they are serving; again: they are killed
SIGHUP             workers are replaced, one by one
SIGUSR1            workers open their log files again
SIGTTIN, SIGTTOU   one worker more, one fewer
=================  ============================================================================

With `--preload` the application is loaded here, before the workers are forked. Then SIGHUP has to
start the supervisor itself again; its sockets stay open meanwhile, but there is nobody to go on
serving if the application cannot be loaded any more.
"""

import gc
import os
import select
import signal
import sys
import time

from tidegate import exits
from tidegate.application import load_or_report
from tidegate.console import announce, say, terminal_is_gone
from tidegate.signals import CAUGHT_SIGNALS, end_at_once_from_now_on, let_through
from tidegate.worker import Leave, Supervision, Worker

# A worker finishes by itself within --graceful-timeout; so much later it is killed.
_GRACE_SECONDS = 2.0
# The place of a worker that dies early stays empty for a pause that doubles each time, until one has served for as
# long as this.
_PAUSE_SECONDS = 0.1
_PAUSE_SECONDS_MAX = 5.0
_SERVED_SECONDS = 1.0
# The generation of a worker that has served its requests: older than any.
_WORN = -1


class _Place:
    """A place for a worker, and from when on it may be taken."""

    def __init__(self) -> None:
        self.not_before = 0.0
        self._pause = _PAUSE_SECONDS

    def has_served(self) -> None:
        """The worker in it was well."""
        self.not_before = 0.0
        self._pause = _PAUSE_SECONDS

    def has_failed(self) -> None:
        """Nobody has come to serve in it: it stays empty for a while."""
        self.not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _PAUSE_SECONDS_MAX)


class _Fellow:
    """A worker, as its supervisor knows it."""

    def __init__(self, pid: int, number: int, place: _Place, generation: int, news: int) -> None:
        self.pid = pid
        # Among those of its generation, from 0.
        self.number = number
        self.place = place
        self.generation = generation
        # Where it says that it is ready, and that it is worn; closed, and None, when it says no more.
        self.news_pipe = news
        self.started = time.monotonic()
        # Since when it is ready.
        self.ready_since = None
        # When it is killed, once it was told to finish.
        self.deadline = None
        self.is_killed = False

    @property
    def is_ready(self) -> bool:
        return self.ready_since is not None

    @property
    def has_proven_itself(self) -> bool:
        """Whether it has served for long enough to be no failure."""
        return self.is_ready and time.monotonic() - self.ready_since >= _SERVED_SECONDS

    @property
    def is_retiring(self) -> bool:
        return self.deadline is not None

    def send(self, number: int) -> None:
        # It is our child and has not been waited for, so the number is still its own.
        os.kill(self.pid, number)


class Supervisor:
    """Keeps as many workers alive as are wanted."""

    def __init__(self, settings, listeners: list, origin, status_listeners: dict) -> None:
        self.settings = settings
        self.listeners = listeners
        # Where workers show their status, by their number. A worker and its successor have the same one for a while.
        self._status_listeners = status_listeners
        self.origin = origin
        self.wants_restart = False
        self._application = None
        self._wanted = settings.workers or 1
        self._workers = {}
        self._generation = 0
        # Whether a worker of this generation has been ready; whether one ever has.
        self._is_proven = False
        self._has_served = False
        self._is_ending = False
        self._status = exits.SHUT_DOWN
        # Places whose workers have died, to be taken first.
        self._empty_places = []
        self._handlers_before = {}
        # Workers hold the reading end of `life`, and read its end when this process is gone.
        self._life, self._life_of_ours = os.pipe()
        self._signals, self._signals_in = os.pipe()
        os.set_blocking(self._signals, False)
        os.set_blocking(self._signals_in, False)

    def run(self, application=None) -> int:
        """Supervises until told to end. Returns in this process only: a worker ends where it is."""
        self._application = application
        # With --reload each worker loads the application for itself, or a change would need us.
        if application is None and self.settings.preload and not self.settings.reload:
            if not self._preload():
                return exits.NOT_LOADED
        self._catch_signals()
        while True:
            self._settle()
            if self._is_ending and not self._workers:
                end_at_once_from_now_on(self._status)
                # One that came before may say that nothing is to be started again.
                self._hear_signals()
                return self._status
            self._wait()

    def _preload(self) -> bool:
        self._application = load_or_report(self.settings)
        if self._application is None:
            return False
        # What is here now stays: a collection in a worker would only copy shared pages.
        gc.collect()
        gc.freeze()
        return True

    # Events.

    def _catch_signals(self) -> None:
        """Makes each signal a byte in a pipe: its number."""
        self._handlers_before = {number: signal.getsignal(number) for number in CAUGHT_SIGNALS}
        signal.set_wakeup_fd(self._signals_in, warn_on_full_buffer=False)
        for number in (*CAUGHT_SIGNALS, signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, _leave_it_to_the_pipe)
        let_through()

    def _wait(self) -> None:
        """Sleeps until something has happened, and takes notice of it."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        speaking = {w.news_pipe: w for w in self._workers.values() if w.news_pipe is not None}
        for pipe in speaking:
            poll.register(pipe, select.POLLIN)
        for descriptor, _event in poll.poll(self._milliseconds_to_sleep()):
            if descriptor in speaking:
                worker = speaking[descriptor]
                was_ready = worker.is_ready
                self._hear_news(worker)
                if worker.is_ready and not was_ready and worker.is_retiring:
                    # A handler that its application had installed by then has kept the signal from it.
                    self._tell_to_finish(worker)
        self._hear_signals()

    def _hear_signals(self) -> None:
        for number in _read_all(self._signals):
            self._hear(number)

    def _milliseconds_to_sleep(self):
        """Until the next deadline; None, for ever, where there is none."""
        moments = [w.deadline for w in self._workers.values() if w.is_retiring and not w.is_killed]
        if not self._is_ending:
            moments += [place.not_before for place in self._places_to_fill()]
        return max(0.0, min(moments) - time.monotonic()) * 1000 + 1 if moments else None

    def _hear(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._end()
        elif number == signal.SIGHUP and terminal_is_gone():
            self._end()
        elif number == signal.SIGHUP:
            self._replace_workers()
        elif number == signal.SIGUSR1:
            self.settings.reopen_log()
            for worker in self._workers.values():
                worker.send(signal.SIGUSR1)
        elif number == signal.SIGTTIN:
            self._wanted += 1
        elif number == signal.SIGTTOU:
            self._wanted = max(1, self._wanted - 1)

    def _hear_news(self, worker: _Fellow) -> None:
        news = _read_all(worker.news_pipe)
        if not news:
            # It has ended; SIGCHLD will say how.
            os.close(worker.news_pipe)
            worker.news_pipe = None
        if b"r" in news:
            self._hear_of_readiness(worker)
        if b"w" in news:
            # It serves on until another one is ready, as a worker with old code does.
            worker.generation = _WORN

    def _hear_of_readiness(self, worker: _Fellow) -> None:
        worker.ready_since = time.monotonic()
        if not self._has_served:
            announce(self.settings, self.listeners)
        self._has_served = True
        if worker.generation == self._generation:
            self._is_proven = True

    def _end(self) -> None:
        if self._is_ending and not self.wants_restart:
            say("tidegate stops")
            for worker in self._workers.values():
                worker.send(signal.SIGKILL)
            return
        say("tidegate finishes what it is serving (Ctrl-C again stops at once)")
        was_to_restart = self.wants_restart
        self.wants_restart = False
        self._finish_all()
        if was_to_restart:
            self._serve_who_waits()

    def _serve_who_waits(self) -> None:
        """Starts a last worker for those who wait to be accepted.

        All workers leave them to a successor of this process, and now there will be none.
        """
        workers_before = set(self._workers)
        self._start(_Place())
        for pid in set(self._workers) - workers_before:
            # It is told so when it is ready: before it has accepted anybody, it would leave at once.
            self._workers[pid].deadline = self._deadline()

    def _finish_all(self) -> None:
        self._is_ending = True
        for worker in self._workers.values():
            self._retire(worker)

    def _replace_workers(self) -> None:
        if self._is_ending:
            return
        if self._application is not None:
            # It lives in this process, so this process has to be a new one.
            say("tidegate finishes what it is serving, and starts again")
            self.wants_restart = True
            self._finish_all()
            return
        say("tidegate replaces its workers")
        self._begin_generation()

    def _begin_generation(self) -> None:
        self._generation += 1
        self._is_proven = False
        self._empty_places.clear()
        for worker in self._workers.values():
            if not worker.is_ready:
                self._retire(worker)

    # What follows from the state.

    def _settle(self) -> None:
        """Does what is to be done now: kills, starts and retires workers."""
        now = time.monotonic()
        for worker in self._workers.values():
            if worker.is_retiring and not worker.is_killed and now >= worker.deadline:
                say(f"tidegate: worker {worker.pid} has not finished in time and is killed")
                worker.is_killed = True
                worker.send(signal.SIGKILL)
        if self._is_ending:
            return
        # In this order: an old one that has a successor needs no second one.
        ready = [worker for worker in self._at_work() if worker.is_ready]
        ready.sort(key=lambda worker: (worker.generation, worker.started))
        for worker in ready[: max(0, len(ready) - self._wanted)]:
            self._retire(worker)
        for place in self._places_to_fill():
            if now >= place.not_before:
                self._start(place)

    def _at_work(self) -> list:
        return [worker for worker in self._workers.values() if not worker.is_retiring]

    def _places_to_fill(self) -> list:
        """Where workers are to be started, now or when their place may be taken."""
        number = self._to_start()
        places = sorted(self._empty_places, key=lambda place: place.not_before)[:number]
        return places + [_Place() for _ in range(number - len(places))]

    def _to_start(self) -> int:
        """How many workers are to be started."""
        at_work = self._at_work()
        is_starting = any(not worker.is_ready for worker in at_work)
        is_old = any(worker.generation != self._generation for worker in at_work)
        number = max(0, self._wanted - len(at_work))
        if is_starting:
            return number if self._is_proven else 0
        if is_old:
            number = max(number, 1)
        return number if self._is_proven else min(number, 1)

    def _retire(self, worker: _Fellow) -> None:
        if not worker.is_retiring:
            worker.deadline = self._deadline()
            self._tell_to_finish(worker)

    def _deadline(self) -> float:
        """For a worker that is to finish now."""
        return time.monotonic() + self.settings.graceful_timeout + _GRACE_SECONDS

    def _tell_to_finish(self, worker: _Fellow) -> None:
        # Whoever waits to be accepted is for the others, as long as there are others.
        worker.send(signal.SIGTERM if self._is_ending and not self.wants_restart else signal.SIGHUP)

    def _start(self, place: _Place) -> None:
        if place in self._empty_places:
            self._empty_places.remove(place)
        try:
            news, news_of_worker = os.pipe()
            # A child of the application may hold the other end, so its end says nothing.
            os.set_blocking(news, False)
        except OSError as error:
            self._leave_empty(place, f"a worker cannot be started: {error.strerror}")
            return
        number = self._free_number()
        status_listener = self._status_listener(number)
        # A signal that the worker got before it has handlers of its own would go to our pipe.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                os.close(news)
                self._be_worker(Supervision(news_of_worker, self._life), mask, number, status_listener)
            self._workers[pid] = _Fellow(pid, number, place, self._generation, news)
        except OSError as error:
            os.close(news)
            self._leave_empty(place, f"a worker cannot be started: {error.strerror}")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(news_of_worker)

    def _free_number(self) -> int:
        """The least number that no worker of this generation has."""
        taken = {w.number for w in self._at_work() if w.generation == self._generation}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def _status_listener(self, number: int):
        """Where this worker shows its status; None if it does not."""
        if self._status_listeners and number not in self._status_listeners:
            # There are more workers than there were at first (SIGTTIN).
            try:
                self._status_listeners[number] = self.settings.bind_status(number)
            except OSError as error:
                say(f"tidegate: worker {number + 1} shows no status: {error}")
        return self._status_listeners.get(number)

    def _be_worker(self, supervision: Supervision, mask, place_number: int, status_listener) -> None:
        """The whole life of the forked process."""
        status = exits.FAILED
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU):
                signal.signal(number, signal.SIG_DFL)
            for worker in self._workers.values():
                if worker.news_pipe is not None:
                    os.close(worker.news_pipe)
            for descriptor in (self._life_of_ours, self._signals, self._signals_in):
                os.close(descriptor)
            worker = Worker(
                self.settings, self.listeners, self.origin, supervision, place_number + 1, status_listener
            )
            worker.catch_signals(self._handlers_before)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            status = worker.run(self._application)
        except Leave:
            # Told to finish before it had begun.
            status = exits.SHUT_DOWN
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            exits.leave(status)

    # The end of workers.

    def _reap(self) -> None:
        """Waits for all that have ended; also for orphans, if this is process 1 of a container."""
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            if worker is not None:
                if worker.news_pipe is not None:
                    # It may have been ready, and ended, since we looked.
                    self._hear_news(worker)
                if worker.news_pipe is not None:
                    os.close(worker.news_pipe)
                self._bury(worker, os.waitstatus_to_exitcode(wait_status))

    def _bury(self, worker: _Fellow, status: int) -> None:
        """Decides what follows from the end of a worker."""
        if self._is_ending or worker.is_retiring:
            return
        if status == exits.CHANGED:
            if self._application is not None:
                self._replace_workers()
            elif worker.generation == self._generation:
                self._begin_generation()
            return
        if not self._has_served:
            # Not a worker that fails, but an application, or a system.
            if status not in (exits.FAILED, exits.NOT_LOADED):
                say(f"tidegate: worker {worker.pid} {_how(status)} before it was ready")
            self._status = exits.NOT_LOADED if status == exits.NOT_LOADED else exits.FAILED
            self._finish_all()
            return
        if not worker.is_ready and not self._is_proven and self._at_work():
            self._leave_empty(worker.place, "the new worker fails; the old ones go on serving")
            for old in self._at_work():
                old.generation = _WORN if old.generation == _WORN else self._generation
            return
        reason = f"worker {worker.pid} {_how(status)}; another one takes its place"
        if worker.has_proven_itself:
            worker.place.has_served()
            self._empty_places.append(worker.place)
            say(f"tidegate: {reason}")
        else:
            self._leave_empty(worker.place, reason)

    def _leave_empty(self, place: _Place, reason: str) -> None:
        """Says why a worker is to be started, and lets a while pass before."""
        say(f"tidegate: {reason}")
        place.has_failed()
        self._empty_places.append(place)


def _leave_it_to_the_pipe(_number, _frame) -> None:
    """A handler has to be there, or the signal would do what signals do."""


def _read_all(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except BlockingIOError:
        return b""


def _how(status: int) -> str:
    """`was killed by SIGKILL`, `ended with status 1`."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
