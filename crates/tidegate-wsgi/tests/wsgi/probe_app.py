"""The application of the probe: what a WSGI server must bear and provide (PEP 3333).

Each function below is one application; the first part of the path chooses it, and the query is
its argument. What it sees and cannot answer with (close() was called, an exception came back) it
notes in a file, which `tests/wsgi/probe.rs` reads. To let the client decide when it goes on, it
waits for a file that the client makes: that works in every server, however it runs applications.
"""

import io
import json
import os
import random
import signal
import sys
import time
from urllib.parse import unquote

FOLDER = os.environ["PROBE_FOLDER"]
PATIENCE = 20
TEXT = [("Content-Type", "text/plain")]
APPLICATIONS = {}

# Kept beyond a request by the applications that try whether this is harmless.
kept = {}


def app(function):
    APPLICATIONS[function.__name__.strip("_")] = function
    return function


def application(environ, start_response):
    parts = environ["PATH_INFO"].split("/")
    name = parts[1] if len(parts) > 1 else "environ"
    if name not in APPLICATIONS:
        start_response("404 Not Found", TEXT)
        return [b"no such application"]
    return APPLICATIONS[name](environ, start_response)


def note(environ, text):
    """For the client, which knows its request by the query."""
    with open(os.path.join(FOLDER, environ["QUERY_STRING"] + ".notes"), "a") as file:
        file.write(text + "\n")


def wait(environ):
    """Until the client lets us go on."""
    gate = os.path.join(FOLDER, environ["QUERY_STRING"] + ".gate")
    start = time.monotonic()
    while not os.path.exists(gate):
        if time.monotonic() - start > PATIENCE:
            raise RuntimeError("the gate stays closed")
        time.sleep(0.002)


class Closing:
    """Blocks of an iterator, and how often close() was called."""

    def __init__(self, environ, blocks):
        self.environ = environ
        self.blocks = iter(blocks)
        self.is_closed = False

    def __iter__(self):
        return self

    def __next__(self):
        if self.is_closed:
            note(self.environ, "iterated after close")
        return next(self.blocks)

    def close(self):
        self.is_closed = True
        note(self.environ, "closed")


# What the application sees.


@app
def hello(environ, start_response):
    """Asked after each check: as plain as can be."""
    start_response("200 OK", TEXT + [("Content-Length", "5")])
    return [b"hello"]


@app
def environ(environ, start_response):
    """The whole environ, each value with its type."""
    body = environ["wsgi.input"].read()
    described = {
        "type": type(environ) is dict,
        "keys": all(type(key) is str for key in environ),
        "types": {key: type(value).__name__ for key, value in environ.items()},
        "values": {key: value for key, value in environ.items() if isinstance(value, (str, bool, int))},
        "version": environ["wsgi.version"] == (1, 0),
        "body": body.decode("latin-1"),
    }
    start_response("200 OK", TEXT)
    return [json.dumps(described).encode()]


@app
def interned(environ, start_response):
    """Which names of fields the interpreter may keep for ever."""
    names = [name for name in environ if name.startswith("HTTP_")]
    kept = [name for name in names if sys.intern("".join(list(name))) is name]
    start_response("200 OK", TEXT)
    return [" ".join(kept).encode()]


@app
def mutate(environ, start_response):
    environ.clear()
    environ["REQUEST_METHOD"] = environ["HTTP_X_LEFT_BEHIND"] = "mutated"
    environ["wsgi.url_scheme"] = environ["SCRIPT_NAME"] = "mutated"
    start_response("200 OK", TEXT)
    return [b"mutated"]


@app
def errors(environ, start_response):
    stream = environ["wsgi.errors"]
    stream.write("errors: plain \u20ac\n")
    stream.write("errors: lone \udcff\n")
    stream.writelines(["errors: first of lines\n", "errors: second of lines\n"])
    print("errors: printed", file=stream)
    stream.flush()
    start_response("200 OK", TEXT)
    return [b"written"]


# wsgi.input


@app
def input(environ, start_response):
    """The results of the reads in the query, one after the other."""
    stream = environ["wsgi.input"]
    results = []
    for step in unquote(environ["QUERY_STRING"]).split(";"):
        if step == "list":
            result = list(stream)
        elif step == "next":
            result = next(iter(stream), None)
        else:
            result = eval("stream." + step, {"stream": stream})
        results.append(result)
    text = json.dumps(results, default=lambda value: value.decode("latin-1"))
    start_response("200 OK", TEXT)
    return [text.encode()]


@app
def input_mix(environ, start_response):
    """Reads at random, and compares with a file in memory that has the same content."""
    name = environ["QUERY_STRING"]
    with open(os.path.join(FOLDER, name + ".body"), "rb") as file:
        expected = io.BytesIO(file.read())
    stream = environ["wsgi.input"]
    chance = random.Random(name)
    outcome = "same"
    for turn in range(400):
        method = chance.choice(["read", "read", "readline", "readline", "readlines", "__next__"])
        size = chance.choice([0, 1, 7, 100, 5000, 70000] + ([-1, None] if turn > 300 else []))
        if method == "__next__":
            call = lambda stream: next(iter(stream), None)
        else:
            call = lambda stream: getattr(stream, method)(*([size] if size or turn > 300 else []))
        if method == "readlines" and not size:
            continue
        found, wanted = call(stream), call(expected)
        if found != wanted:
            outcome = "%s(%r) in turn %d: %.40r, not %.40r" % (method, size, turn, found, wanted)
            break
    start_response("200 OK", TEXT)
    return [outcome.encode()]


@app
def input_count(environ, start_response):
    """How much there is, read in pieces of 64 KiB."""
    count = 0
    while True:
        piece = environ["wsgi.input"].read(65536)
        if not piece:
            break
        count += len(piece)
    start_response("200 OK", TEXT)
    return [str(count).encode()]


@app
def input_read(environ, start_response):
    """How much there is, read at once."""
    count = len(environ["wsgi.input"].read())
    start_response("200 OK", TEXT)
    return [str(count).encode()]


@app
def input_echo(environ, start_response):
    """The content in one piece, or in blocks of the size in the query."""
    stream, size = environ["wsgi.input"], environ["QUERY_STRING"]
    start_response("200 OK", TEXT)
    return iter(lambda: stream.read(int(size)), b"") if size else [stream.read()]


@app
def input_kept(environ, start_response):
    kept["input"] = environ["wsgi.input"]
    start_response("200 OK", TEXT)
    return [b"kept"]


@app
def input_late(environ, start_response):
    """Reads a request that is over: its own content, nothing, or an exception."""
    found = b""
    for read in [lambda: kept["input"].readline(), lambda: b"".join(kept["input"]), lambda: kept["input"].read()]:
        try:
            found += read()
        except Exception:
            pass
    start_response("200 OK", TEXT)
    return [b"nothing" if not found else b"own" if not found.strip(b"old") else b"other"]


# start_response


class Text(str):
    pass


class Pair(tuple):
    pass


class Pairs(list):
    pass


@app
def start(environ, start_response):
    """Calls start_response with what the query says, and tells whether that raised. Then it starts
    an ordinary response, which must work after a refusal."""
    call = "start_response(" + unquote(environ["QUERY_STRING"]) + ")"
    try:
        eval(call, {"start_response": start_response, "Text": Text, "Pair": Pair, "Pairs": Pairs})
    except Exception as error:
        start_response("200 OK", TEXT)
        return [b"raised"]
    return [b"accepted"]


@app
def start_twice(environ, start_response):
    start_response("200 OK", TEXT)
    try:
        start_response("201 Created", TEXT)
    except Exception:
        return [b"raised"]
    return [b"accepted"]


@app
def start_twice_with_none(environ, start_response):
    start_response("200 OK", TEXT)
    try:
        start_response("201 Created", TEXT, None)
    except Exception:
        return [b"raised"]
    return [b"accepted"]


def fail():
    raise ValueError("what the application is replacing")


@app
def replace(environ, start_response):
    start_response("200 OK", TEXT + [("X-First", "1"), ("Content-Length", "1000")])
    try:
        fail()
    except ValueError:
        start_response("503 Replaced", [("X-Second", "2")], sys.exc_info())
    return [b"replaced"]


@app
def replace_by_keyword(environ, start_response):
    start_response("200 OK", TEXT + [("X-First", "1"), ("Content-Length", "1000")])
    try:
        fail()
    except ValueError:
        start_response("503 Replaced", [("X-Second", "2")], exc_info=sys.exc_info())
    return [b"replaced"]


@app
def replace_lazily(environ, start_response):
    """Only empty blocks have come: the head is not sent yet."""
    start_response("200 OK", TEXT + [("X-First", "1")])
    yield b""
    try:
        fail()
    except ValueError:
        start_response("503 Replaced", [("X-Second", "2")], sys.exc_info())
    yield b"replaced"


@app
def start_with_exc_info(environ, start_response):
    try:
        fail()
    except ValueError:
        start_response("503 At Once", TEXT, sys.exc_info())
    return [b"at once"]


@app
def replace_too_late(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begin"
    try:
        fail()
    except ValueError as original:
        try:
            start_response("503 Too Late", TEXT, sys.exc_info())
        except ValueError as error:
            note(environ, "same" if error is original else "other")
            raise
        note(environ, "accepted")
    yield b"end"


@app
def replace_after_write(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"begin")
    try:
        fail()
    except ValueError as original:
        try:
            start_response("503 Too Late", TEXT, sys.exc_info())
        except ValueError as error:
            note(environ, "same" if error is original else "other")
            raise
        note(environ, "accepted")
    return [b"end"]


@app
def start_kept(environ, start_response):
    kept["start"] = start_response
    kept["write"] = start_response("200 OK", TEXT)
    return [b"kept"]


@app
def start_late(environ, start_response):
    """Callables that were kept from another request answer nobody."""
    for call in [
        lambda: kept["start"]("200 OK", [("X-Late", "1")]),
        lambda: kept["write"](b"late write"),
    ]:
        try:
            call()
        except Exception:
            pass
    start_response("200 OK", TEXT)
    return [b"own answer"]


@app
def write_kept(environ, start_response):
    """Goes on for as long as its client likes, and leaves its write to another request."""
    kept["write"] = start_response("200 OK", TEXT)
    return (b"x" * 65536 for _ in range(1000000))


@app
def write_of_another(environ, start_response):
    start_response("200 OK", TEXT)(b"own ")
    try:
        kept["write"](b"another's")
    except RuntimeError:
        return [b"refused"]
    return [b"taken"]


@app
def head(environ, start_response):
    """The status and the fields of the query."""
    status, fields = eval(unquote(environ["QUERY_STRING"]))
    start_response(status, fields)
    return [b"content"]


# write()


@app
def write(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"one ")
    write(b"")
    write(b"two ")
    return [b"three"]


@app
def write_only(environ, start_response):
    start_response("200 OK", TEXT)(b"written")
    return []


@app
def write_counted(environ, start_response):
    write = start_response("200 OK", TEXT + [("Content-Length", "6")])
    write(b"abc")
    return [b"def"]


@app
def write_too_long(environ, start_response):
    write = start_response("200 OK", TEXT + [("Content-Length", "4")])
    try:
        write(b"abc")
        write(b"def")
    except Exception:
        note(environ, "raised")
    return [b"ghi"]


@app
def write_and_wait(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"one")
    wait(environ)
    return [b"two"]


@app
def write_text(environ, start_response):
    write = start_response("200 OK", TEXT)
    try:
        write("text")
    except Exception:
        return [b"raised"]
    return [b"accepted"]


@app
def write_large(environ, start_response):
    write = start_response("200 OK", TEXT + [("Content-Length", "8000000")])
    for _ in range(80):
        write(b"x" * 100000)
    return []


# Blocks


@app
def lazy(environ, start_response):
    start_response("202 Lazy", TEXT + [("X-Lazy", "1")])
    yield b"lazy"


@app
def lazy_silent(environ, start_response):
    """Starts in the first next(), and has no block."""
    start_response("202 Lazy", TEXT)
    return
    yield


@app
def empty_blocks(environ, start_response):
    start_response("200 OK", TEXT)
    for block in [b"", b"a", b"", b"", b"b", b""]:
        yield block


@app
def blocks_one_by_one(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"one"
    wait(environ)
    yield b"two"


@app
def blocks_with_length(environ, start_response):
    start_response("200 OK", TEXT + [("Content-Length", "6")])
    yield b"one"
    wait(environ)
    yield b"two"


@app
def block(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"block"]


@app
def block_list(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"one ", b"", b"two ", b"three"]


@app
def block_tuple(environ, start_response):
    start_response("200 OK", TEXT)
    return (b"one ", b"two")


@app
def block_empty_list(environ, start_response):
    start_response("200 OK", TEXT)
    return []


@app
def block_generator(environ, start_response):
    start_response("200 OK", TEXT)
    return (block for block in [b"one ", b"two"])


@app
def block_pairs(environ, start_response):
    start_response("200 OK", TEXT)
    return Pairs([b"one ", b"two"])


class Sequence:
    def __getitem__(self, index):
        return [b"one ", b"two"][index]


@app
def block_sequence(environ, start_response):
    start_response("200 OK", TEXT)
    return Sequence()


@app
def block_large(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"x" * 10000000]


@app
def blocks_many(environ, start_response):
    start_response("200 OK", TEXT)
    return (b"12345" for _ in range(10000))


@app
def blocks_small(environ, start_response):
    """2 MiB."""
    start_response("200 OK", TEXT)
    return (b"x" * 4096 for _ in range(512))


@app
def blocks_large(environ, start_response):
    start_response("200 OK", TEXT)
    return (b"x" * 65536 for _ in range(160))


@app
def blocks_endless(environ, start_response):
    """How far it was drawn is noted."""

    def blocks():
        for count in range(1, 1000000):
            if count % 16 == 0:
                note(environ, str(count))
            yield b"x" * 65536

    start_response("200 OK", TEXT)
    return Closing(environ, blocks())


def with_length(length, blocks):
    def application(environ, start_response):
        start_response("200 OK", TEXT + [("Content-Length", str(length))])
        return blocks()

    return application


APPLICATIONS["length_too_small_list"] = with_length(3, lambda: [b"abc", b"def"])
APPLICATIONS["length_too_small_block"] = with_length(3, lambda: [b"abcdef"])
APPLICATIONS["length_too_small_generator"] = with_length(3, lambda: iter([b"ab", b"cdef"]))
APPLICATIONS["length_zero_generator"] = with_length(0, lambda: iter([b"ab", b"cdef"]))
APPLICATIONS["length_too_large_list"] = with_length(10, lambda: [b"abc"])
APPLICATIONS["length_too_large_generator"] = with_length(10, lambda: iter([b"abc"]))
APPLICATIONS["length_right"] = with_length(6, lambda: iter([b"abc", b"def"]))


def with_status(status, *fields):
    def application(environ, start_response):
        start_response(status, list(fields))
        return Closing(environ, [b"not ", b"to be seen"])

    return application


APPLICATIONS["no_content"] = with_status("204 No Content")
APPLICATIONS["no_content_with_length"] = with_status("204 No Content", ("Content-Length", "0"))
APPLICATIONS["not_modified"] = with_status("304 Not Modified", ("ETag", '"a"'))
APPLICATIONS["not_modified_with_length"] = with_status("304 Not Modified", ("Content-Length", "14"))


# close()


@app
def close_blocks(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing(environ, [b"one ", b"two"])


@app
def close_length(environ, start_response):
    start_response("200 OK", TEXT + [("Content-Length", "3")])
    return Closing(environ, [b"one", b"two", b"three"])


@app
def close_none(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing(environ, [])


def failing(blocks):
    yield from blocks
    raise RuntimeError("the detail that nobody is told")


@app
def close_failing_at_once(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing(environ, failing([]))


@app
def close_failing(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing(environ, failing([b"begin"]))


@app
def close_text(environ, start_response):
    start_response("200 OK", TEXT)
    return Closing(environ, ["text"])


@app
def close_unstarted(environ, start_response):
    return Closing(environ, [b"content"])


@app
def close_gate(environ, start_response):
    """Waits between its blocks, until the client opens the gate."""

    def blocks():
        yield b"one"
        wait(environ)
        while True:
            yield b"x" * 65536

    start_response("200 OK", TEXT)
    return Closing(environ, blocks())


@app
def close_gate_list(environ, start_response):
    """Waits before it answers."""
    note(environ, "called")
    wait(environ)
    start_response("200 OK", TEXT)
    return Closing(environ, [b"one"])


class Outer:
    """close() belongs to what was returned; that of its iterator is nobody's business."""

    def __init__(self, environ):
        self.environ = environ

    def __iter__(self):
        inner = Closing(self.environ, [b"one"])
        inner.close = lambda: note(self.environ, "closed the iterator")
        return inner

    def close(self):
        note(self.environ, "closed")


@app
def close_outer(environ, start_response):
    start_response("200 OK", TEXT)
    return Outer(environ)


class ClosingList(list):
    def close(self):
        note(self.environ, "closed")


@app
def close_list(environ, start_response):
    start_response("200 OK", TEXT)
    blocks = ClosingList([b"one ", b"two"])
    blocks.environ = environ
    return blocks


class FailingClose(Closing):
    def close(self):
        super().close()
        raise self.error


@app
def close_raises(environ, start_response):
    start_response("200 OK", TEXT)
    blocks = FailingClose(environ, [b"one ", b"two"])
    blocks.error = RuntimeError("close failed on purpose")
    return blocks


@app
def close_exits(environ, start_response):
    start_response("200 OK", TEXT)
    blocks = FailingClose(environ, [b"one ", b"two"])
    blocks.error = SystemExit(7)
    return blocks


@app
def close_generator(environ, start_response):
    """A generator's own close() runs its finally."""
    start_response("200 OK", TEXT)
    try:
        while True:
            yield b"x" * 65536
    finally:
        note(environ, "closed")


@app
def close_empty(environ, start_response):
    """Has one block, and then nothing to say."""
    start_response("200 OK", TEXT)
    try:
        yield b"begin"
        while True:
            time.sleep(0.001)
            yield b""
    finally:
        note(environ, "closed")


@app
def slow(environ, start_response):
    time.sleep(0.3)
    start_response("200 OK", TEXT)
    return [b"slow"]


@app
def fork(environ, start_response):
    """The child comes back from the call; how it has ended is the answer."""
    child = os.fork()
    if child == 0:
        if environ["QUERY_STRING"] == "exit":
            sys.exit(7)
        if environ["QUERY_STRING"] == "raise":
            raise RuntimeError("in a child")
        start_response("200 OK", TEXT)
        return [b"the child's answer"]
    _, status = os.waitpid(child, 0)
    start_response("200 OK", TEXT)
    return [b"exit status %d" % (status >> 8)]


# Failures


DETAIL = "the detail that nobody is told"


@app
def fail_before(environ, start_response):
    raise RuntimeError(DETAIL)


@app
def fail_started(environ, start_response):
    start_response("200 OK", TEXT)
    raise RuntimeError(DETAIL)


@app
def fail_first(environ, start_response):
    start_response("200 OK", TEXT)
    raise RuntimeError(DETAIL)
    yield


@app
def fail_midway(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begin"
    raise RuntimeError(DETAIL)


@app
def fail_midway_length(environ, start_response):
    start_response("200 OK", TEXT + [("Content-Length", "10")])
    yield b"begin"
    raise RuntimeError(DETAIL)


@app
def fail_written(environ, start_response):
    start_response("200 OK", TEXT)(b"begin")
    raise RuntimeError(DETAIL)


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Foreign(BaseException):
    pass


def endless():
    return endless()


FAILURES = {
    "system_exit": lambda: sys.exit(3),
    "system_exit_text": lambda: sys.exit("the detail that nobody is told"),
    "keyboard_interrupt": KeyboardInterrupt,
    "generator_exit": GeneratorExit,
    "stop_iteration": StopIteration,
    "base_exception": Foreign,
    "memory_error": MemoryError,
    "unprintable": Unprintable,
    "recursion": endless,
    "surrogate": lambda: RuntimeError("\udcff"),
    "connection_reset": ConnectionResetError,
    "broken_pipe": BrokenPipeError,
    "blocking": BlockingIOError,
}


@app
def fail_with(environ, start_response):
    raise FAILURES[environ["QUERY_STRING"]]()


@app
def fail_midway_with(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begin"
    raise FAILURES[environ["QUERY_STRING"]]()


def returning(value, is_started=True):
    def application(environ, start_response):
        if is_started:
            start_response("200 OK", TEXT)
        return value

    return application


APPLICATIONS["return_none"] = returning(None)
APPLICATIONS["return_number"] = returning(7)
APPLICATIONS["return_text"] = returning("text")
APPLICATIONS["return_bytes"] = returning(b"bytes")
APPLICATIONS["return_text_block"] = returning(["text"])
APPLICATIONS["return_none_block"] = returning([None])
APPLICATIONS["return_number_block"] = returning([7])
APPLICATIONS["return_text_later"] = lambda environ, start_response: late_text(start_response)
APPLICATIONS["unstarted_list"] = returning([b"content"], is_started=False)
APPLICATIONS["unstarted_empty_list"] = returning([], is_started=False)
APPLICATIONS["unstarted_none"] = returning(None, is_started=False)
APPLICATIONS["unstarted_generator"] = lambda environ, start_response: iter([b"content"])


def late_text(start_response):
    start_response("200 OK", TEXT)
    yield b"begin"
    yield "text"


# wsgi.file_wrapper


CONTENT = bytes(range(256)) * 40


def content_file(content=CONTENT):
    path = os.path.join(FOLDER, "content-%d" % len(content))
    if not os.path.exists(path):
        with open(path + ".new", "wb") as file:
            file.write(content)
        os.rename(path + ".new", path)
    return path


class NotedFile(io.FileIO):
    def close(self):
        if not self.closed and hasattr(self, "environ"):
            note(self.environ, "closed")
        super().close()


def file_app(name, *fields):
    """An application that answers with the file which the function returns."""

    def decorate(function):
        def application(environ, start_response):
            start_response("200 OK", TEXT + list(fields))
            return function(environ, environ["wsgi.file_wrapper"])

        APPLICATIONS[name] = application
        return function

    return decorate


@file_app("file")
def _(environ, wrapper):
    return wrapper(open(content_file(), "rb"))


@file_app("file_block_size")
def _(environ, wrapper):
    return wrapper(open(content_file(), "rb"), 1000)


@file_app("file_offset")
def _(environ, wrapper):
    file = open(content_file(), "rb", buffering=0)
    file.seek(100)
    return wrapper(file)


@file_app("file_offset_buffered")
def _(environ, wrapper):
    """The descriptor is farther on than the file object."""
    file = open(content_file(), "rb")
    file.read(100)
    return wrapper(file)


@file_app("file_part", ("Content-Length", "50"))
def _(environ, wrapper):
    file = open(content_file(), "rb")
    file.seek(100)
    return wrapper(file)


@file_app("file_too_short", ("Content-Length", str(len(CONTENT) + 1)))
def _(environ, wrapper):
    return wrapper(open(content_file(), "rb"))


@file_app("file_empty")
def _(environ, wrapper):
    return wrapper(open(content_file(b""), "rb"))


@file_app("file_without_length")
def _(environ, wrapper):
    """The system makes its content when it is read."""
    return wrapper(open("/proc/self/cmdline", "rb"))


@file_app("file_large")
def _(environ, wrapper):
    return wrapper(open(content_file(CONTENT * 512), "rb"), 8192)


@file_app("file_memory")
def _(environ, wrapper):
    return wrapper(io.BytesIO(CONTENT), 1000)


@file_app("file_memory_offset")
def _(environ, wrapper):
    file = io.BytesIO(CONTENT)
    file.seek(100)
    return wrapper(file)


class OnlyRead:
    def __init__(self, content):
        self.file = io.BytesIO(content)

    def read(self, size):
        return self.file.read(size)


@file_app("file_only_read")
def _(environ, wrapper):
    return wrapper(OnlyRead(CONTENT), 1000)


@file_app("file_lying_number")
def _(environ, wrapper):
    """Has a number that is no descriptor."""
    file = OnlyRead(CONTENT)
    file.fileno = lambda: -1
    return wrapper(file, 1000)


@file_app("file_pipe")
def _(environ, wrapper):
    reader, writer = os.pipe()
    os.write(writer, CONTENT)
    os.close(writer)
    return wrapper(open(reader, "rb"))


@file_app("file_closed")
def _(environ, wrapper):
    file = NotedFile(content_file(), "rb")
    file.environ = environ
    return wrapper(file)


@file_app("file_closed_large")
def _(environ, wrapper):
    file = NotedFile(content_file(CONTENT * 2048), "rb")
    file.environ = environ
    return wrapper(file)


@file_app("file_iterated")
def _(environ, wrapper):
    """Middleware sees an ordinary iterable."""
    return (block.swapcase() for block in wrapper(io.BytesIO(b"Abc" * 1000), 100))


@file_app("file_not_returned")
def _(environ, wrapper):
    wrapper(open(content_file(), "rb")).close()
    return [b"other"]


# Beyond PEP 3333


@app
def early_hints(environ, start_response):
    environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload"), ("Link", "</b.js>; rel=preload")])
    start_response("200 OK", TEXT)
    return [b"hinted"]


@app
def early_hints_and_wait(environ, start_response):
    environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
    wait(environ)
    start_response("200 OK", TEXT)
    return [b"hinted"]


@app
def early_hints_bad(environ, start_response):
    try:
        environ["wsgi.early_hints"]([("Link", "a\r\nX: b")])
    except Exception:
        start_response("200 OK", TEXT)
        return [b"raised"]
    start_response("200 OK", TEXT)
    return [b"accepted"]


@app
def disconnected(environ, start_response):
    result = environ["tidegate.client_disconnected"]()
    start_response("200 OK", TEXT)
    return [repr(result).encode()]


@app
def disconnected_later(environ, start_response):
    """Notes when it has learned that the client is gone."""
    note(environ, "called")
    start = time.monotonic()
    while not environ["tidegate.client_disconnected"]():
        if time.monotonic() - start > PATIENCE:
            note(environ, "never told")
            break
        time.sleep(0.01)
    else:
        note(environ, "told")
    start_response("200 OK", TEXT)
    return [b"late"]


@app
def slow_blocks(environ, start_response):
    start_response("200 OK", TEXT)
    for number in range(20):
        yield b"block %d\n" % number
        time.sleep(0.05)


def _too_late(_number, _frame):
    raise TimeoutError("the alarm of a call that is over")


@app
def alarmed(environ, start_response):
    """Sets an alarm that goes off after the call. Only on the main thread, as Python has it."""
    signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    start_response("200 OK", TEXT)
    return [b"alarmed"]
