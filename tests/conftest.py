"""What the tests share: children with deadlines, and a guard that every test leaves Thread as it was."""
import ast
import functools
import os
import sys
import threading

import pytest

import safethread_patch

pytest_plugins = ["pytester", "environments"]

PY2 = sys.version_info < (3,)

HERE = os.path.dirname(os.path.abspath(__file__))


def run(command, deadline=60, **options):
    """Run ``command`` in a child; return its status, out and err. See safethread_patch._cli._process.run()."""
    from safethread_patch._cli import _process  # not at the top: the children import this module, and do not need it

    return _process.run(command, deadline, **options)


def in_child(*function, **options):
    """Decorate a test: its body runs in a child interpreter. ``@in_child`` or ``@in_child(deadline=120, env={...})``.

    The body is the code of a module that both processes import, so a failure shows its file and line. It may use what
    its module imports, but nothing of pytest's, and its arguments have to be literals. An argument ``flag`` is also an
    option of the child's interpreter. ``options``: see call_in_child().
    """
    if not function:
        return functools.partial(in_child, **options)
    (body,) = function

    @functools.wraps(body)
    def test(**arguments):
        __tracebackhide__ = True
        flags = [arguments["flag"]] if "flag" in arguments else []
        _ended_well(_start(body, (), arguments, **dict({"flags": flags}, **options)))

    test.__wrapped__ = body  # Python 2 does not set it; pytest asks it for the names of the arguments
    test.body = body
    return test


def call_in_child(function, *args, **options):
    """Return what ``function(*args)`` returns, a literal, in a child that must end well.

    ``function`` is one of a test module's. ``options``: ``deadline`` in seconds, ``flags`` of the interpreter, ``env``.
    """
    __tracebackhide__ = True
    return _ended_well(_start(function, args, {}, **options))


def start_in_child(function, *args, **options):
    """Call ``function(*args)`` in a child and return its status, out and err; as call_in_child(), but it may fail."""
    return _start(function, args, {}, **options)


def _start(function, args, kwargs, deadline=60, flags=(), env=None):
    command = [sys.executable] + list(flags) + [os.path.join(HERE, "child.py")]
    command += [function.__module__, function.__name__, repr((args, kwargs))]
    return run(command, deadline, env=env)


def _ended_well(ended):
    __tracebackhide__ = True
    word, _, value = (ended.out.splitlines() or [""])[-1].partition(" ")
    if ended.status != 0 or word != "done":
        pytest.fail("in the child: %r" % ended, pytrace=False)
    return ast.literal_eval(value)


@pytest.fixture(autouse=True)
def thread_is_left_as_found():
    before = dict(vars(threading.Thread))
    yield
    after = dict(vars(threading.Thread))
    assert set(before) == set(after) and all(after[name] is before[name] for name in before), (before, after)
    assert not safethread_patch.is_installed()


@pytest.fixture
def patched():
    assert safethread_patch.install() is True
    yield
    assert safethread_patch.uninstall() is True
