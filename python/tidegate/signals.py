"""Which signals an operator sends to a server, and threads that leave them to the main one."""

import signal

CAUGHT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def hold() -> None:
    """Keeps the signals waiting."""
    signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT_SIGNALS)


def let_through() -> None:
    """Delivers the signals, also those that have waited."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT_SIGNALS)


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
