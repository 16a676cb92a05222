"""Which signals an operator sends to a server, and threads that leave them to the main one."""

import os
import signal

from tidegate import console

CAUGHT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def hold() -> None:
    """Keeps the signals waiting."""
    signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT_SIGNALS)


def let_through() -> None:
    """Delivers the signals, also those that have waited."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT_SIGNALS)


def end_at_once_from_now_on(status: int) -> None:
    """For when there is nothing left to finish: also a process that was to start again ends, with this status."""

    def end(_number, _frame):
        console.finish()
        os._exit(status)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def start_in_background(work, name: str) -> None:
    """A thread of the server's own, which no signal is delivered to.

    Handlers run on the main thread, but a signal that another thread is given does not wake it.
    """
    from threading import Thread

    hold()
    try:
        Thread(target=work, name=name, daemon=True).start()
    finally:
        let_through()
