"""What the operator reads on stderr: the server's own sentences.

Stderr may be closed, or a pipe that nobody reads any more: that is no reason to stop serving, so no
failure to write is ever looked at. The native half writes its log to the same place.
"""

import os
import sys

STDERR = 2


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
    try:
        os.write(STDERR, (sentence + "\n").encode("utf-8", "backslashreplace"))
    except OSError:
        pass


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


_STARTED_IN_A_TERMINAL = os.isatty(STDERR)


def terminal_is_gone() -> bool:
    """Whether the terminal that we were started in has been closed since.

    It tells the two meanings of SIGHUP apart: an operator who wants the application loaded anew, and
    a window that was closed, after which nobody could press Ctrl-C any more.
    """
    return _STARTED_IN_A_TERMINAL and not os.isatty(STDERR)
