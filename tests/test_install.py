"""The public face: install, is_installed, installed, status, and their errors."""
import copy
import inspect
import os
import pickle
import sys
import threading
import time
import types

import pytest
from conftest import PY2, in_child, run
from helpers import error_of, nothing_seen, switch_often

import safethread_patch
from safethread_patch import _install, _ledger
from safethread_patch._defects._hold import daemon, in_forked_child, wait_for
from safethread_patch._threads import low_level, started_event

Thread = threading.Thread

# keeps what a failing test leaves patched from the tests after it
pytestmark = pytest.mark.forked


def methods():
    return vars(Thread)["start"], vars(Thread)["run"]


# install()


@in_child
def test_import_patches_nothing():
    assert Thread.start.__code__.co_filename == Thread.run.__code__.co_filename


@in_child
def test_import_imports_no_wrapt():
    assert "wrapt" not in sys.modules


def test_install_says_whether_it_patched(patched):
    assert safethread_patch.is_installed()
    assert safethread_patch.install() is False


def install_on(go, answers):
    go.wait()
    answers.append(safethread_patch.install())


@in_child
def test_install_from_16_threads_at_once_patches_once():
    _ledger.prepare()  # imports wrapt now: the import lock would let the threads through one by one
    switch_often()
    for _ in range(50):
        go = threading.Event()
        answers = []
        threads = [Thread(target=install_on, args=(go, answers)) for _ in range(16)]
        for thread in threads:
            thread.start()
        go.set()
        for thread in threads:
            thread.join(10)
        assert sorted(answers) == [False] * 15 + [True], answers
        assert len(_install._entries) == len(set(entry.name for entry in _install._entries))
        assert safethread_patch.uninstall()


@in_child
def test_child_forked_during_install_can_install():
    stock = methods()
    held = threading.Event()
    go = threading.Event()
    put = _ledger.put

    def put_and_hold(entries, owner, name, make):
        put(entries, owner, name, make)
        if name == "run":
            held.set()
            go.wait()

    def look():
        _ledger.put = put  # not go.set(): the other thread may hold the lock of the event
        if not safethread_patch.install():
            return "install() said False"
        if not safethread_patch.uninstall():
            return "uninstall() said False"
        if methods() != stock:
            return "uninstall() left %r" % (methods(),)
        return None

    _ledger.put = put_and_hold
    low_level.start_new_thread(safethread_patch.install, ())
    held.wait()
    assert methods() != stock
    nothing_seen(in_forked_child(look))
    go.set()
    wait_for(safethread_patch.is_installed, "the patch is installed")


@in_child
def test_failed_install_changes_nothing():
    before = dict(vars(Thread))
    put = _ledger.put

    def put_or_fail(entries, owner, name, make):
        if name == "start":
            raise KeyboardInterrupt
        put(entries, owner, name, make)

    _ledger.put = put_or_fail
    error_of(KeyboardInterrupt, safethread_patch.install)
    assert dict(vars(Thread)) == before
    assert not safethread_patch.is_installed()
    _ledger.put = put
    assert safethread_patch.install() and safethread_patch.uninstall()


@pytest.mark.skipif(sys.version_info < (3, 7), reason="no at-fork hooks")
@in_child
def test_interrupted_install_registers_its_hooks_the_next_time():
    register = os.register_at_fork
    calls = []

    def register_or_fail(**hooks):
        if "safethread_patch" in (getattr(hooks.get("after_in_child"), "__module__", None) or ""):
            calls.append(hooks)
            if len(calls) == 1:
                raise KeyboardInterrupt
        register(**hooks)

    os.register_at_fork = register_or_fail
    error_of(KeyboardInterrupt, safethread_patch.install)
    assert safethread_patch.install() and safethread_patch.uninstall() and safethread_patch.install()
    assert len(calls) == 3  # one that failed, and both of the next time


@in_child
def test_install_by_a_raw_thread_leaves_no_thread():
    low_level.start_new_thread(safethread_patch.install, ())
    wait_for(safethread_patch.is_installed, "the patch is installed")
    assert threading.enumerate() == [threading.current_thread()]


def test_install_does_not_shift_the_names_of_threads():
    name = Thread().name
    safethread_patch.install()
    safethread_patch.uninstall()
    assert int(Thread().name.split("-")[1]) == int(name.split("-")[1]) + 1


def test_methods_keep_type_metadata_and_signature():
    stock = methods()
    with safethread_patch.installed():
        for replacement, original in zip(methods(), stock):
            assert type(replacement) is types.FunctionType
            for name in ("__name__", "__module__", "__doc__", "__qualname__", "__defaults__"):
                assert getattr(replacement, name, None) == getattr(original, name, None)
            assert replacement.__code__.co_name == original.__code__.co_name
            if PY2:
                assert inspect.getargspec(replacement) == inspect.getargspec(original)
            else:
                own_signature = {"follow_wrapped": False} if sys.version_info >= (3, 5) else {}
                assert inspect.signature(replacement) == inspect.signature(original)
                assert inspect.signature(replacement, **own_signature) == inspect.signature(original)
            assert copy.deepcopy(replacement) is replacement


@pytest.mark.skipif(sys.version_info < (3, 4), reason="cannot pickle any method that is looked up in its class")
def test_methods_can_be_pickled(patched):
    assert pickle.loads(pickle.dumps(Thread.start)) is Thread.start
    assert pickle.loads(pickle.dumps(Thread.run)) is Thread.run


# installed()


def test_installed_is_installed_inside_only():
    with safethread_patch.installed():
        assert safethread_patch.is_installed()
        with safethread_patch.installed():
            assert safethread_patch.is_installed()
        assert safethread_patch.is_installed()
    assert not safethread_patch.is_installed()


def test_installed_lasts_until_the_last_context_ends():
    first, second = safethread_patch.installed(), safethread_patch.installed()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert safethread_patch.is_installed()
    second.__exit__(None, None, None)
    assert not safethread_patch.is_installed()


def test_installed_leaves_an_installed_patch(patched):
    with safethread_patch.installed():
        pass
    assert safethread_patch.is_installed()


def test_installed_after_an_error():
    with pytest.raises(ZeroDivisionError):
        with safethread_patch.installed():
            1 / 0
    assert not safethread_patch.is_installed()


def slowly(function):
    """Return ``function`` with a pause before and after it, in which another thread can come between."""

    def call(*args):
        time.sleep(0.0005)
        result = function(*args)
        time.sleep(0.0005)
        return result

    return call


def enter_contexts(missed, done):
    for _ in range(100):
        with safethread_patch.installed():
            time.sleep(0.0005)  # another context may end meanwhile
            if not safethread_patch.is_installed():
                missed.append(1)
    done.append(1)


@in_child
def test_contexts_of_two_threads_do_not_uninstall_each_other():
    switch_often()
    _install._install = slowly(_install._install)
    _install._uninstall = slowly(_install._uninstall)
    missed = []
    done = []
    for _ in range(4):
        daemon(lambda: enter_contexts(missed, done)).start()
    wait_for(lambda: len(done) == 4, "all are done")
    assert not missed, len(missed)
    assert not safethread_patch.is_installed()


# status()


def test_status(patched):
    status = safethread_patch.status()
    assert status["installed"] is True
    assert status["interpreter"]["version"].startswith("%d.%d." % sys.version_info[:2])
    assert status["fork"] == ("os.register_at_fork" if sys.version_info >= (3, 7) else "threading._after_fork")
    assert set(["unregistered-start", "double-start"]) <= set(status["defects"])
    assert status["others"] == {}


def test_status_names_no_patch_of_another_method():
    original = vars(Thread)["__init__"]
    Thread.__init__ = lambda self, *args, **kwargs: original(self, *args, **kwargs)
    try:
        assert safethread_patch.status()["others"] == {}
    finally:
        Thread.__init__ = original


# Interpreters that lack something


@pytest.mark.parametrize("name", ["_limbo", "_active", "_active_limbo_lock"])
@in_child
def test_unsupported_interpreter_is_told_what_is_missing(name):
    before = dict(vars(Thread))
    missing = getattr(threading, name)
    delattr(threading, name)
    error = error_of(safethread_patch.UnsupportedInterpreter, safethread_patch.install)
    assert isinstance(error, RuntimeError) and "threading." + name in str(error), error
    error_of(safethread_patch.UnsupportedInterpreter, safethread_patch.installed().__enter__)
    assert dict(vars(Thread)) == before and not safethread_patch.is_installed()
    safethread_patch.status()
    setattr(threading, name, missing)


@in_child
def test_unsupported_interpreter_with_other_names_on_the_thread():
    main_thread = threading.current_thread()
    event = started_event(main_thread)
    (name,) = [name for name, value in vars(main_thread).items() if value is event]
    delattr(main_thread, name)
    error = error_of(safethread_patch.UnsupportedInterpreter, safethread_patch.install)
    assert "Thread." + name in str(error), error
    setattr(main_thread, name, event)


@in_child
def test_missing_wrapt_changes_nothing_and_says_what_to_do():
    sys.modules["wrapt"] = None
    before = dict(vars(Thread))
    error = error_of(ImportError, safethread_patch.install)
    assert "Nothing was changed. Install it with" in str(error), error
    assert dict(vars(Thread)) == before and not safethread_patch.is_installed()


# A program, because os.fork has to be gone before threading is imported.
WITHOUT_FORK = """
import os

del os.fork
if hasattr(os, "register_at_fork"):
    del os.register_at_fork

import threading

import safethread_patch

assert safethread_patch.install()
status = safethread_patch.status()
assert status["fork"] is None
defects = ["unregistered-start", "double-start"] + ["interrupted-join"] * hasattr(threading.Thread, "_wait_for_tstate_lock")
assert status["defects"] == defects, status
thread = threading.Thread(target=int)
thread.start()
thread.join()
print("done")
"""


def test_without_fork_the_start_side_works():
    ended = run([sys.executable, "-c", WITHOUT_FORK])
    assert ended.status == 0 and ended.out.endswith("done\n"), ended
