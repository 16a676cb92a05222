"""`--reload`: a worker is replaced when a file of the application changes.

A thread in the worker looks every half second at the files of all modules that are imported, at those
that an operator has named (`--reload-extra-file`), and, where the application cannot be loaded, at
those that its traceback names. It polls, because that works on every system and every file system;
for a thousand files it costs a few milliseconds of each second, while somebody is at work on them.

It begins before the application is loaded, so that a file which is saved meanwhile is not missed.
"""

import glob
import os
import sys
import time

from tidegate.signals import start_in_background

INTERVAL_SECONDS = 0.5


class Watcher:
    """A thread that reports, once, that a file has changed."""

    def __init__(self, patterns: list, report_change) -> None:
        """`report_change` is called in the watcher's thread with the path of the file."""
        self._patterns = [os.path.abspath(pattern) for pattern in patterns]
        self._report_change = report_change
        self._extra = set()
        self._files = {}
        self._packages = {}

    def start(self) -> None:
        """Begins to look."""
        start_in_background(self._watch, "tidegate-reload")

    def note_files(self) -> None:
        """Takes note of all files that are imported by now: what is saved from here on is a change."""
        self._look()

    def watch_files_of(self, error: BaseException) -> None:
        """Watches also the files that an exception names, and the working directory for new modules."""
        found = {os.path.join(os.getcwd(), "__init__.py")}
        pending, seen = [error], set()
        while pending:
            error = pending.pop()
            if error is None or id(error) in seen:
                continue
            seen.add(id(error))
            if isinstance(error, SyntaxError) and error.filename:
                found.add(os.path.abspath(error.filename))
            trace = error.__traceback__
            while trace is not None:
                found.add(trace.tb_frame.f_code.co_filename)
                trace = trace.tb_next
            pending += [error.__cause__, error.__context__]
        self._extra = found
        self.note_files()

    def _watch(self) -> None:
        while True:
            changed = self._look()
            if changed is not None:
                break
            time.sleep(INTERVAL_SECONDS)
        self._report_change(changed)

    def _look(self):
        """The path of a file that has changed since it was first seen, if there is one."""
        files = self._paths()
        for path in files:
            modified = _modified(path)
            if self._files.setdefault(path, modified) != modified:
                return path
        # A new file makes the directory of a package change, but so does the cache of the compiler.
        for directory in {os.path.dirname(path) for path in files if path.endswith("__init__.py")}:
            modified = _modified(directory)
            known, modules = self._packages.get(directory, (None, None))
            if modified == known:
                continue
            now = _modules_in(directory)
            if modules is not None and now != modules:
                return os.path.join(directory, min(now ^ modules))
            self._packages[directory] = (modified, now)
        return None

    def _paths(self) -> set:
        paths = set(self._extra)
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str):
                paths.add(path)
        for pattern in self._patterns:
            paths.update(glob.glob(pattern, recursive=True))
        # A file that is deleted is a change, too, also if nothing names it any more.
        paths.update(self._files)
        return paths


def _modified(path: str):
    """When a file was changed last; None where there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _modules_in(directory: str) -> frozenset:
    try:
        return frozenset(name for name in os.listdir(directory) if name.endswith(".py"))
    except OSError:
        return frozenset()
