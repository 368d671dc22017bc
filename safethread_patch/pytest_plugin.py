"""The pytest plugin: inert until an option, the ini file, a marker or a fixture asks for the patch.

``--safethread`` or ini ``safethread = true`` patches for the whole session; ``@pytest.mark.safethread`` or
``@pytest.mark.safethread(False)`` runs one test with the patch, or without. The marker overrides the option, the
option overrides the ini file. Fixtures: :func:`safethread` and :func:`safethread_fork`.

.. versionadded:: 1.0
"""
from __future__ import absolute_import

import warnings

import pytest

import safethread_patch
from safethread_patch import _pytest_fork
from safethread_patch._pytest_fork import Outcome  # noqa: F401  for annotations


def pytest_addoption(parser):
    group = parser.getgroup("safethread_patch", "threading.Thread, patched")
    group.addoption(
        "--safethread", action="store_true", default=None, help="patch threading.Thread for the whole session"
    )
    group.addoption(
        "--no-safethread", action="store_false", dest="safethread", help="do not patch, whatever the ini file says"
    )
    parser.addini("safethread", "patch threading.Thread for the whole session", type="bool", default=False)


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "safethread(on=True): run this test with threading.Thread patched by safethread_patch, or without the patch"
    )
    if _is_asked_for(config):
        was_installed = safethread_patch.is_installed()
        why = _switch(True)
        if why:
            raise pytest.UsageError(why)
        config.add_cleanup(lambda: _switch(was_installed))


def pytest_report_header(config):
    if _is_asked_for(config):
        return "safethread_patch: %s, threading.Thread is patched" % safethread_patch.__version__
    return None


def pytest_collection_modifyitems(config, items):
    wrong = [text for _, text in map(_marked, items) if text]
    if wrong and not hasattr(config, "workerinput"):  # xdist reports an error in a worker as a crash
        raise pytest.UsageError("\n".join(wrong))


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    marked, wrong = _marked(item)
    wanted = marked if marked is not None else _is_asked_for(item.config) or None
    has_fixture = "safethread" in getattr(item, "fixturenames", ())
    item._safethread_error = wrong
    if wanted is None and not has_fixture:
        yield
        return
    was_installed = safethread_patch.is_installed()
    if wanted is not None:
        item._safethread_error = wrong or _switch(wanted)
    try:
        yield
    finally:
        # also after monkeypatch has put something back when the fixture was over
        _switch(was_installed)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    error = getattr(item, "_safethread_error", None)  # not set where another plugin runs a protocol of its own
    if error:
        pytest.fail(error, pytrace=False)


def _is_asked_for(config):
    option = config.getoption("safethread")
    return config.getini("safethread") if option is None else option


def _marked(item):
    """Return what the closest marker says, True, False or None, and what is wrong with it, a text or None."""
    marker = item.get_closest_marker("safethread")
    if marker is None:
        return None, None
    values = list(marker.args) + list(marker.kwargs.values())
    if len(values) <= 1 and not set(marker.kwargs) - set(["on"]) and all(isinstance(value, bool) for value in values):
        return (values[0] if values else True), None
    given = ["%r" % (arg,) for arg in marker.args] + ["%s=%r" % pair for pair in sorted(marker.kwargs.items())]
    return None, "%s: @pytest.mark.safethread(%s): give True, False or nothing" % (item.nodeid, ", ".join(given))


def _switch(on):
    """Install or uninstall; return why the patch cannot be installed, a text or None."""
    if on:
        try:
            safethread_patch.install()
        except (safethread_patch.UnsupportedInterpreter, ImportError) as error:
            return "safethread_patch: %s" % error
    else:
        with warnings.catch_warnings():  # under a later patch it stays in place, as a pass-through
            warnings.simplefilter("ignore", safethread_patch.SafeThreadWarning)
            safethread_patch.uninstall()
    return None


@pytest.fixture
def safethread():
    """Patch ``threading.Thread`` during this test; the value is the module :mod:`safethread_patch`.

    Afterwards ``Thread.start`` and ``Thread.run`` are the objects that they were before. The fixture overrides the
    marker.

    .. versionadded:: 1.0
    """
    was_installed = safethread_patch.is_installed()
    why = _switch(True)
    if why:
        pytest.fail(why, pytrace=False)
    yield safethread_patch
    _switch(was_installed)


@pytest.fixture
def safethread_fork():
    """A function ``fork(function, *args, timeout=30, **kwargs)`` that calls ``function`` in a forked child.

    It waits for the child for at most ``timeout`` seconds, then dumps the child's stacks to its stderr (where
    faulthandler exists) and kills it. It returns an object with these attributes:

    ``value``: what ``function`` returned, or None; ``exception`` and ``traceback`` (text): what it raised;
    ``exitcode``: 0, 1 after an exception, or the argument of sys.exit or os._exit; None if the child was killed;
    ``signal``: what killed it; ``timed_out``; ``stdout`` and ``stderr`` (text); ``threads``: the names of the threads
    that were alive at the end.

    The child ends with ``os._exit``: nothing of pytest, no atexit hook and no fixture's teardown runs in it. It leads a
    process group, which is killed when it has ended. An exception that cannot be pickled is replaced by a RuntimeError
    that names it. Raises TypeError if the value cannot be pickled. Skips the test without ``os.fork``.

    .. versionadded:: 1.0
    """
    return _pytest_fork.fork
