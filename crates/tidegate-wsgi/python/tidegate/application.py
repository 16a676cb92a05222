"""Turns a name on the command line into an object that can be called.

    app                          `application` in the module app, else `app` in it
    shop.web:site.wsgi           an attribute of an attribute
    shop:create_app()            what a function returns
    shop:create_app("x", n=1)    with literals as its arguments

What is wrong with a name is one sentence (`ApplicationError`). What is wrong inside the application,
an import of its own that fails for instance, is the exception that it raised, as it was raised: the
traceback is what its author needs.
"""

import os
import sys

from tidegate.console import report, say

# The attributes that are looked for where only a module is named: PEP 3333's, and Flask's.
_USUAL_NAMES = ("application", "app")
_USUAL_FACTORIES = ("create_app", "make_app")


class ApplicationError(Exception):
    """A name that leads to no application, as a sentence."""


def load(name: str, pythonpath: list):
    """The application of this name, imported with the working directory first on `sys.path`."""
    _look_first_in([os.getcwd(), *(os.path.abspath(path) for path in pythonpath)])
    module_name, _, expression = name.partition(":")
    module = _import(module_name)
    if expression:
        application = _evaluate(module, expression)
    else:
        application, name = _usual_one(module)
    _check(application, name)
    return application


def load_or_report(settings):
    """The application of the settings; None, and why, if it cannot be loaded."""
    try:
        return load(settings.application, settings.pythonpath)
    except ApplicationError as error:
        say(f"tidegate: {error}")
    except BaseException as error:
        report(error)
        say(f"tidegate: the application {settings.application} cannot be loaded (see above)")
    return None


def _look_first_in(directories: list) -> None:
    sys.path[:0] = [path for path in directories if path not in sys.path[: len(directories)]]


def _import(name: str):
    """The module. Without importlib, which nothing else may need."""
    if not name.strip("."):
        raise ApplicationError("no module is named; say module:app")
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        is_ours = error.name is not None and (name == error.name or name.startswith(error.name + "."))
        # Raised by our own line, and not by one of a module that was found.
        if is_ours and error.__traceback__.tb_next is None:
            raise ApplicationError(_describe_missing(name, error)) from None
        raise
    return sys.modules[name]


def _describe_missing(name: str, error: ModuleNotFoundError) -> str:
    if "/" in name or name.endswith(".py"):
        stem = os.path.basename(name)
        stem = stem[:-3] if stem.endswith(".py") else stem
        folder = os.path.dirname(name)
        advice = f"--chdir {folder} {stem}:app" if folder else f"{stem}:app"
        return f"{name!r} is a path, not the name of a module; say {advice}"
    reason = f" ({error})" if error.name == name and "." in name else ""
    return f"there is no module {error.name!r} in {os.getcwd()}, nor elsewhere on sys.path{reason}"


def _usual_one(module):
    """The application of a module where no attribute was named, and what it is called in full."""
    for attribute in _USUAL_NAMES:
        if hasattr(module, attribute):
            return getattr(module, attribute), f"{module.__name__}:{attribute}"
    sentence = f"the module {module.__name__!r} has neither an `application` nor an `app`"
    for factory in _USUAL_FACTORIES:
        if hasattr(module, factory):
            sentence += f"; to have it made say {module.__name__}:{factory}()"
            break
    raise ApplicationError(sentence)


def _evaluate(module, expression: str):
    """An attribute of a module, or what a function in it returns."""
    if "(" not in expression:
        return _attribute(module, expression)
    import ast

    whole = f"{module.__name__}:{expression}"
    sentence = f"{whole}: behind the colon is neither a name nor a call with literals, as create_app('x', n=1) is"
    try:
        call = ast.parse(expression.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or any(word.arg is None for word in call.keywords):
            raise ApplicationError(sentence)
        arguments = [ast.literal_eval(value) for value in call.args]
        keywords = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError):
        raise ApplicationError(sentence) from None
    name = ast.unparse(call.func)
    factory = _attribute(module, name)
    if not callable(factory):
        raise ApplicationError(f"{module.__name__}:{name} is a {type(factory).__name__} and cannot be called")
    return factory(*arguments, **keywords)


def _attribute(module, path: str):
    """`site.wsgi`, step by step."""
    found, name = module, module.__name__
    for step in path.split("."):
        try:
            found = getattr(found, step)
        except AttributeError:
            raise ApplicationError(f"{name} has no attribute {step!r}{_near(step, found)}") from None
        name += ("." if found is not module and ":" in name else ":") + step
    return found


def _near(name: str, owner) -> str:
    """The attributes that may have been meant."""
    from difflib import get_close_matches

    matches = get_close_matches(name, [known for known in dir(owner) if not known.startswith("__")])
    return f"; did you mean {' or '.join(map(repr, matches))}?" if matches else ""


def _check(application, name: str) -> None:
    if not callable(application):
        raise ApplicationError(f"{name} is a {type(application).__name__} and cannot be called")
    # A class's instances are called by its method; a function has its code itself.
    code = getattr(application, "__code__", None) or getattr(
        getattr(type(application), "__call__", None), "__code__", None
    )
    coroutine_flag = 0x80  # inspect.CO_COROUTINE, without inspect
    if code is not None and code.co_flags & coroutine_flag:
        raise ApplicationError(f"{name} is an ASGI application (async); tidegate serves WSGI applications")
