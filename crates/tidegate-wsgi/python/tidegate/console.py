"""Writes stderr for the operator: the server's own sentences, and what the application prints and logs there.

Stderr may be closed, or a pipe that nobody reads any more: that is no reason to stop serving, nor to wait. So in a
process that serves, all of it goes to the native half, whose log has the same way, and a thread there writes it
(`take_over` to `give_back`). What has no room is counted, and said where it is missing.

A supervisor has no such thread, since it forks, and nor have the children that an application forks.
"""

import io
import os
import sys

from tidegate import _tidegate

STDERR = 2

# The socket of the log of the system, if what is said goes there.
_syslog = None

# The process whose stderr the native half writes.
_owner = None
_stderr_before = None


class _Stderr(io.RawIOBase):
    """Stderr, for whose reader nobody waits. A child of the application's writes by itself."""

    name = "<stderr>"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return STDERR

    def isatty(self) -> bool:
        return os.isatty(STDERR)

    def write(self, data) -> int:
        if os.getpid() != _owner:
            return os.write(STDERR, data)
        _tidegate.write_stderr(bytes(data))
        return len(data)


def take_over() -> None:
    """Lets nobody in this process wait for the reader of stderr."""
    global _owner, _stderr_before
    _owner = os.getpid()
    ours = sys.stderr
    # One that a program has put there, to look at or to keep what is said, stays.
    if ours is sys.__stderr__ and not isinstance(getattr(ours, "buffer", None), _Stderr):
        _stderr_before = ours
        ours.flush()
        sys.stderr = sys.__stderr__ = io.TextIOWrapper(
            _Stderr(), encoding=ours.encoding, errors="backslashreplace", line_buffering=True
        )


def finish() -> None:
    """Waits until everything was written, or for a second: to be called before the process ends."""
    if os.getpid() == _owner:
        _tidegate.finish_stderr()


def give_back() -> None:
    """Everybody writes for himself again."""
    global _owner, _stderr_before
    if _stderr_before is not None:
        sys.stderr.flush()
        sys.stderr = sys.__stderr__ = _stderr_before
        _stderr_before = None
    finish()
    _owner = None


def open_missing_streams() -> None:
    """Opens those of stdin, stdout and stderr that are closed, on the null device.

    The next files that are opened would get their numbers, sockets among them, and whatever is printed
    would be written there. To be called before anything is opened.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: those below are open by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            # So Python has found it at its start. Applications print, and log, nevertheless.
            setattr(sys, name, open(number, mode, errors="backslashreplace", closefd=False))


def say(sentence: str) -> None:
    """Says one sentence to the operator.

    Past `sys.stderr`, which must not be entered twice: signal handlers say things, too.
    """
    line = (sentence + "\n").encode("utf-8", "backslashreplace")
    if _syslog is not None and os.getpid() != _owner:
        _send_to_syslog(line)
        return
    if os.getpid() == _owner:
        _tidegate.write_stderr(line)
        return
    try:
        if _has_room():
            os.write(STDERR, line)
    except OSError:
        pass


def use_syslog(path) -> None:
    """Has what is said sent to the log of the system by this socket; None: to stderr."""
    global _syslog
    _syslog = path


def _send_to_syslog(line: bytes) -> None:
    """Sends one line, as notice of a daemon, if somebody takes it at once."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.setblocking(False)
        try:
            datagrams.sendto(b"<29>tidegate[%d]: %s" % (os.getpid(), line.rstrip()), _syslog)
        except OSError:
            pass


def _has_room() -> bool:
    """Whether stderr takes a line at once; a pipe that is full, and that nobody reads, does not."""
    import select

    poll = select.poll()
    poll.register(STDERR, select.POLLOUT)
    return bool(poll.poll(0))


def announce(settings, listeners: list) -> None:
    """Says where the application is served, as soon as it is."""
    for listener in listeners:
        say(f"tidegate serves {settings.application} on {listener.address} (Ctrl-C stops)")


def report(error: BaseException) -> None:
    """Shows what an application has raised: from where its own code begins, without our callers."""
    trace = error.__traceback__
    ours = os.path.dirname(__file__)
    while trace is not None and os.path.dirname(trace.tb_frame.f_code.co_filename) == ours:
        trace = trace.tb_next
    try:
        # Through the hook, since it may be the application's (a reporter of errors, say).
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.stderr.flush()
    except Exception:
        say(f"tidegate: {type(error).__name__}: {error}")


def stack_of(thread: int) -> str:
    """Where a thread is, from the application's own code on, as a traceback shows it."""
    import threading
    import traceback

    frame = sys._current_frames().get(thread)
    if frame is None:
        return "its thread is gone"
    stack = traceback.extract_stack(frame)
    return "".join(traceback.format_list([f for f in stack if f.filename != threading.__file__]))


# Stderr as it was at the start: a file may take its place.
_terminal = os.dup(STDERR) if os.isatty(STDERR) else None


def terminal_is_gone() -> bool:
    """Whether the terminal that we were started in has been closed since.

    It tells the two meanings of SIGHUP apart: an operator who wants the application loaded anew, and
    a window that was closed, after which nobody could press Ctrl-C any more.
    """
    return _terminal is not None and not os.isatty(_terminal)
