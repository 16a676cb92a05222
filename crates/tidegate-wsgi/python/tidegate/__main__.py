"""The command `tidegate`, and `python -m tidegate`.

    command line ──▶ done: --help, `tidegate static …`, an error         (native)
                 └─▶ settings ──▶ bind ──▶ load ──▶ announce, serve alone            (worker.py)
                                      └──▶ keep workers, announce when one is ready  (supervisor.py)

Exit status: 0 after a shutdown, 1 for an error of the system, 2 for a wrong command line, 3 for an
application that cannot be loaded.
"""

import os
import sys

from tidegate import _tidegate, exits
from tidegate.console import open_missing_streams, say, use_syslog
from tidegate.restart import Origin, with_inherited_sockets

EXIT_FAILED = 1


def main() -> int:
    """Runs the command that this process was started with."""
    return run(sys.argv)


def run(arguments: list, application=None) -> int:
    """Runs a command, with an application that is loaded already if there is one."""
    open_missing_streams()
    settings = _tidegate.command_line(with_inherited_sockets(arguments))
    if isinstance(settings, int):
        return settings
    origin = Origin()
    pid_file = None
    try:
        settings.prepare_process()
        use_syslog(settings.syslog)
        os.environ.update(settings.env)
        # First of all, so that every path on the command line begins in the same directory.
        origin.enter(settings.chdir)
        if settings.check_config:
            return _check(settings, application)
        listeners = settings.bind()
        status_listeners = _bind_status(settings)
        if settings.pid is not None:
            from tidegate.pidfile import PidFile

            pid_file = PidFile(settings.pid)
            pid_file.write()
        settings.become_user()
    except OSError as error:
        say(f"tidegate: {error}")
        return EXIT_FAILED
    try:
        return _serve(settings, listeners, status_listeners, origin, application)
    finally:
        if pid_file is not None:
            pid_file.remove()


def _check(settings, application) -> int:
    """Finds out whether it could be served, and serves nothing."""
    from tidegate.application import load_or_report

    if application is None and load_or_report(settings) is None:
        return exits.NOT_LOADED
    settings.check_folders()
    say("tidegate: nothing is wrong with options, application and folders")
    return exits.SHUT_DOWN


def _bind_status(settings) -> dict:
    """Where workers show their status, by their place. A process that serves alone binds it for itself."""
    if settings.workers is None and not settings.reload:
        return {}
    bound = {number: settings.bind_status(number) for number in range(settings.workers or 1)}
    return {number: listener for number, listener in bound.items() if listener is not None}


def _serve(settings, listeners: list, status_listeners: dict, origin: Origin, application) -> int:
    """Serves until shut down, or starts the program again where that was asked for."""
    if settings.workers is None and not settings.reload:
        from tidegate.worker import Worker

        process = Worker(settings, listeners, origin)
    else:
        from tidegate.supervisor import Supervisor

        process = Supervisor(settings, listeners, origin, status_listeners)
    status = process.run(application)
    if process.wants_restart:
        try:
            origin.restart(listeners)
        except OSError as error:
            say(f"tidegate: cannot start again: {error}")
            return EXIT_FAILED
    return status


if __name__ == "__main__":
    sys.exit(main())
