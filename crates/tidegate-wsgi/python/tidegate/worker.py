"""One process that serves: alone, or as one of several under a supervisor.

    catch signals ──▶ load the application ──▶ Server ──▶ pool threads ──▶ run, until drained ──▶ end

With `--threads 1` the application is called by the event loop itself, on the main thread. With more
the event loop never holds an object of Python's: `Server.work` is the life of one thread that calls
the application, and as many of them are started here.

What signals mean:

=========  =============================  ====================================================
signal     alone                          under a supervisor (which then is the one to send it)
=========  =============================  ====================================================
SIGTERM    finish, and end; again: stop   finish, and end
SIGINT     the same                       nothing: Ctrl-C reaches the whole group, once is enough
SIGHUP     finish, and start again        finish, and leave who waits to be accepted to others
SIGUSR1    open the log files again       the same
=========  =============================  ====================================================

While the application is loaded there is nothing to finish, and the first three end the loading at once.

Handlers that an application installs itself while it is loaded are kept: for other signals as they
are; for these four they are called after ours, at once, and may say by SystemExit with which status
to end (not when: what is being served is finished). Until the rest of it is loaded they are called
alone; a supervisor then says it again. No signal is blocked in the pool threads: the
programs that an application starts from there would inherit that, and could not be terminated.
"""

import os
import signal
import sys
import time

from tidegate import _tidegate, exits
from tidegate.application import ApplicationError, load
from tidegate.console import announce, give_back, report, say, take_over, terminal_is_gone
from tidegate.signals import CAUGHT_SIGNALS, end_at_once_from_now_on, let_through, start_in_background

# How long a pool thread may take to notice that there is nothing left to do. One that takes longer is
# still inside the application, and is left there.
_THREADS_END_SECONDS = 1.0
# How long a reload waits for what is being served: somebody is sitting there.
_RELOAD_SECONDS = 1.0


class Leave(SystemExit):
    """Raised by a signal while the application is loaded: nothing is being served, so nothing is finished."""


class Supervision:
    """The tie between a worker and its supervisor: two pipes, of each of which the worker has one end."""

    def __init__(self, news: int, life: int) -> None:
        # One byte each: `r` when requests can be answered, `w` (from the server) when so many were answered that
        # another worker is to take over.
        self.news = news
        self.life = life

    def say_ready(self) -> None:
        """Tells the supervisor that requests can be answered."""
        try:
            os.write(self.news, b"r")
        except OSError:
            pass  # Then it is gone, which `wait_for_the_end` will see.

    def wait_for_the_end(self) -> None:
        """Returns when the supervisor is no more: it never writes, so there is only the end to read."""
        os.read(self.life, 1)


class Worker:
    """One process that serves."""

    def __init__(
        self, settings, listeners: list, origin, supervision=None, number=0, status_listener=None
    ) -> None:
        self.settings = settings
        self.listeners = listeners
        self.origin = origin
        self.supervision = supervision
        # Among the workers, from 1, and where it shows its status.
        self.number = number
        self.status_listener = status_listener
        self.server = None
        self.wants_restart = False
        self.status = exits.SHUT_DOWN
        # Whether its application lives in the supervisor, which then has to start again for another one.
        self._is_preloaded = False
        self._is_draining = False
        self._is_leaving = False
        self._watcher = None
        self._handlers_before = {}
        self._handlers_of_application = {}

    def catch_signals(self, handlers_before=None) -> None:
        """Lets a signal no longer end the process by itself.

        Called by `run`; by a supervisor earlier, right after the fork, with the handlers that there
        were before its own.
        """
        if handlers_before is None:
            handlers_before = {number: signal.getsignal(number) for number in CAUGHT_SIGNALS}
        self._handlers_before = handlers_before
        for number in CAUGHT_SIGNALS:
            signal.signal(number, self._hear_while_loading)
        sys.unraisablehook = _without_leave(sys.unraisablehook)
        # They were held back if this process has been started again.
        let_through()

    def run(self, application=None) -> int:
        """Serves until there is an end to it, and says with which status to exit."""
        take_over()
        self._is_preloaded = application is not None
        try:
            return self._run(application)
        finally:
            give_back()

    def _run(self, application) -> int:
        try:
            # What has waited while the process was started again is delivered here.
            if not self._handlers_before:
                self.catch_signals()
            server = self._prepare(application)
            if server is None:
                return self.status
            threads = self._start_threads(server)
            self._catch_signals_for_good()
            if self._is_leaving:
                # What was raised was lost where Python cannot pass an exception on, in a finalizer say.
                raise Leave
        except Leave:
            self._end_at_once_from_now_on()
            return exits.SHUT_DOWN
        if self.supervision is not None:
            self.supervision.say_ready()
        else:
            announce(self.settings, self.listeners)
        try:
            server.run()
        except OSError as error:
            say(f"tidegate: {error}")
            self.status = exits.FAILED
        return self._end(threads)

    def _prepare(self, application):
        """Loads the application and makes the server. None, and a status, if that cannot be."""
        if self.settings.reload:
            from tidegate.reload import Watcher

            self._watcher = Watcher(self.settings.reload_extra_files, self._reload)
            self._watcher.start()
        if self.supervision is not None:
            start_in_background(self._follow_supervisor, "tidegate-supervisor")
        try:
            if application is None:
                self.origin.enter(self.settings.chdir)
                application = load(self.settings.application, self.settings.pythonpath)
        except Leave:
            raise
        except BaseException as error:
            if self._is_leaving:
                # Some callers make another exception of it.
                raise Leave from None
            self._refuse(error)
            return None
        if self._watcher is not None:
            self._watcher.note_files()
        several = self.settings.workers is not None and self.settings.workers > 1
        try:
            self.server = _tidegate.Server(
                self.settings,
                self.listeners,
                application,
                multiprocess=several,
                supervisor=None if self.supervision is None else self.supervision.news,
                status=self.status_listener,
                worker=self.number,
            )
        except OSError as error:
            say(f"tidegate: {error}")
            self.status = exits.FAILED
        return self.server

    def _refuse(self, error: BaseException) -> None:
        """Says why the application cannot be loaded. With `--reload`, waits for it to be mended."""
        if isinstance(error, ApplicationError):
            say(f"tidegate: {error}")
        else:
            report(error)
            say(f"tidegate: the application {self.settings.application} cannot be loaded (see above)")
        self.status = exits.NOT_LOADED
        if self._watcher is not None:
            self._watcher.watch_files_of(error)
            say("tidegate waits for a file to change")
            while True:
                # Until `_reload` ends the process, or a signal does. Not in one piece: what is
                # delivered to a thread of the application's would not end it.
                time.sleep(1)

    def _start_threads(self, server) -> list:
        """The pool: threads that call the application until the server closes it."""
        if self.settings.threads == 1:
            return []
        from threading import Thread

        # Daemons, because an application that never returns must not keep the process from ending.
        names = (f"tidegate-{number}" for number in range(1, self.settings.threads + 1))
        threads = [Thread(target=server.work, name=name, daemon=True) for name in names]
        for thread in threads:
            thread.start()
        return threads

    def _catch_signals_for_good(self) -> None:
        """Puts our handlers in place, and keeps those that the application has installed."""
        ours = {
            signal.SIGINT: self._hear_interrupt,
            signal.SIGTERM: self._hear_shutdown,
            signal.SIGHUP: self._hear_hangup,
            signal.SIGUSR1: self._hear_reopen,
        }
        for number, handler in ours.items():
            theirs = signal.getsignal(number)
            if theirs == self._hear_while_loading:
                theirs = self._handlers_before[number]
            if callable(theirs) and theirs is not signal.default_int_handler:
                self._handlers_of_application[number] = theirs
            signal.signal(number, self._with_theirs(handler))

    def _with_theirs(self, ours):
        """A handler that calls ours, and then the application's own."""

        def handle(number, frame):
            ours()
            theirs = self._handlers_of_application.get(number)
            if theirs is None:
                return
            try:
                theirs(number, frame)
            except SystemExit as leave:
                # It wants to end, which it will when what is being served is finished.
                self.status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
                self._drain()
            except Exception as error:
                report(error)

        return handle

    def _hear_while_loading(self, number, _frame) -> None:
        """Gives the loading up: once, since another signal may come while that is being done."""
        was_leaving = self._is_leaving
        self._note_while_loading(number)
        if self._is_leaving and not was_leaving:
            raise Leave

    def _note_while_loading(self, number) -> None:
        is_alone = self.supervision is None
        if number == signal.SIGHUP and is_alone and not terminal_is_gone():
            # Whoever is to end does not start again.
            self.wants_restart = self.wants_restart or not self._is_leaving
        elif number in (signal.SIGTERM, signal.SIGHUP) or (number == signal.SIGINT and is_alone):
            self.wants_restart = False
        else:
            return
        self._is_leaving = True

    def _hear_interrupt(self) -> None:
        if self.supervision is None:
            self._hear_shutdown()

    def _hear_shutdown(self) -> None:
        is_first = not self._is_draining or self.wants_restart
        self.wants_restart = False
        if self.supervision is not None:
            self._drain()
        elif is_first:
            # Said last: whoever answers it with another signal interrupts this handler.
            self._drain()
            say("tidegate finishes what it is serving (Ctrl-C again stops at once)")
        else:
            say("tidegate stops")
            self.server.stop()

    def _hear_hangup(self) -> None:
        if self._is_draining:
            return
        if self.supervision is not None:
            # Who waits to be accepted is served by other workers; by none until a supervisor has started again.
            self._drain(hand_over=True, restart=self._is_preloaded)
        elif terminal_is_gone():
            self._hear_shutdown()
        else:
            self.wants_restart = True
            self._drain(restart=True)
            say("tidegate finishes what it is serving, and starts again")

    def _hear_reopen(self) -> None:
        self.server.reopen_logs()

    def _drain(self, **how) -> None:
        self._is_draining = True
        self.server.drain(**how)

    def _follow_supervisor(self) -> None:
        """Serves nobody new when the supervisor is gone: there would be no one to end this process."""
        self.supervision.wait_for_the_end()
        say(f"tidegate: the supervisor is gone, worker {os.getpid()} finishes what it is serving")
        if self.server is None:
            exits.flush()
            os._exit(exits.SHUT_DOWN)
        self._drain()

    def _reload(self, path: str) -> None:
        """A file has changed: ends this process, so that another one loads the application."""
        say(f"tidegate loads the application again: {path} has changed")
        if self.server is None:
            exits.flush()
            os._exit(exits.CHANGED)
        self.status = exits.CHANGED
        self._drain(restart=True)
        time.sleep(_RELOAD_SECONDS)
        self.server.stop()

    def _end_at_once_from_now_on(self) -> None:
        """Alone, a signal to end is no longer one to finish, and not one to start again first."""
        if self.supervision is None:
            end_at_once_from_now_on(self.status)

    def _end(self, threads: list) -> int:
        """After the last answer."""
        self._end_at_once_from_now_on()
        if self.server.outcome == "max_requests" and not self._is_draining:
            self.wants_restart = True
        deadline = time.monotonic() + _THREADS_END_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if not self.wants_restart and any(thread.is_alive() for thread in threads):
            exits.leave(self.status, wait_for_threads=False)
        return self.status


def _without_leave(hook):
    """A `sys.unraisablehook` that does not show a Leave that was lost: `run` finds out, and leaves."""

    def handle(unraisable):
        if unraisable.exc_type is not Leave:
            hook(unraisable)

    return handle
