"""The public face: install, uninstall, is_installed, installed, status; and their errors."""
import copy
import inspect
import pickle
import sys
import threading
import types
import warnings

import pytest
from conftest import PY2, check, run

import safethread_patch
from safethread_patch import _install

Thread = threading.Thread

# what a failing test leaves patched shall not reach the next one
pytestmark = pytest.mark.forked


def methods():
    return vars(Thread)["start"], vars(Thread)["run"]


# install and uninstall


def test_import_patches_nothing():
    check("assert threading.Thread.start.__code__.co_filename == threading.Thread.run.__code__.co_filename")


def test_import_imports_no_wrapt():
    check("assert 'wrapt' not in sys.modules")


def test_install_says_whether_it_patched(patched):
    assert safethread_patch.is_installed()
    assert safethread_patch.install() is False


def test_uninstall_puts_back_the_very_same_functions():
    before = methods()
    names = set(vars(Thread))
    safethread_patch.install()
    assert methods()[0] is not before[0] and methods()[1] is not before[1]
    assert safethread_patch.uninstall() is True
    assert methods()[0] is before[0] and methods()[1] is before[1]
    assert set(vars(Thread)) == names
    assert safethread_patch.uninstall() is False
    assert not safethread_patch.is_installed()


def test_install_from_16_threads_at_once_patches_once():
    check(
        """
from safethread_patch import _install
import wrapt
if hasattr(sys, "setswitchinterval"): sys.setswitchinterval(1e-6)
else: sys.setcheckinterval(1)
for _ in range(50):
    go, answers = threading.Event(), []
    def install():
        go.wait()
        answers.append(safethread_patch.install())
    threads = [threading.Thread(target=install) for _ in range(16)]
    for thread in threads: thread.start()
    go.set()
    for thread in threads: thread.join(10)
    assert sorted(answers) == [False] * 15 + [True], answers
    assert len(_install._entries) == len(set(entry.name for entry in _install._entries))
    assert safethread_patch.uninstall()
"""
    )


def test_child_forked_during_install_can_install():
    check(
        """
from safethread_patch import _ledger
held, go, put = threading.Event(), threading.Event(), _ledger.put
def hold(entries, owner, name, make):
    put(entries, owner, name, make)
    if name == "run":
        held.set()
        go.wait()
_ledger.put = hold
_threads.low_level.start_new_thread(safethread_patch.install, ())
held.wait()
def look():
    _ledger.put = put  # not go.set(): the other thread may hold its lock
    if not safethread_patch.install(): return "install() said False"
    if not safethread_patch.uninstall(): return "uninstall() said False"
    if threading.Thread.run.__code__.co_filename != threading.__file__.replace(".pyc", ".py"): return "run is left"
seen = in_forked_child(look)
assert seen is None, seen
go.set()
wait_for(safethread_patch.is_installed, "installed")
"""
    )


def test_failed_install_changes_nothing():
    check(
        """
from safethread_patch import _ledger
before, put = dict(vars(threading.Thread)), _ledger.put
def fail(entries, owner, name, make):
    if name == "start": raise KeyboardInterrupt
    put(entries, owner, name, make)
_ledger.put = fail
try: safethread_patch.install()
except KeyboardInterrupt: pass
else: raise AssertionError
assert dict(vars(threading.Thread)) == before
assert not safethread_patch.is_installed()
_ledger.put = put
assert safethread_patch.install() and safethread_patch.uninstall()
"""
    )


def test_methods_keep_type_metadata_and_signature():
    stock = methods()
    with safethread_patch.installed():
        for found, original in zip(methods(), stock):
            assert type(found) is types.FunctionType
            for name in ("__name__", "__module__", "__doc__", "__qualname__", "__defaults__"):
                assert getattr(found, name, None) == getattr(original, name, None)
            assert found.__code__.co_name == original.__code__.co_name
            if PY2:
                assert inspect.getargspec(found) == inspect.getargspec(original)
            else:
                assert inspect.signature(found) == inspect.signature(original)
                assert inspect.signature(found, **{"follow_wrapped": False} if sys.version_info >= (3, 5) else {}) == inspect.signature(original)
            assert copy.deepcopy(found) is found


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


# somebody else patches too


def wrapper_over(original):
    def start(self):
        return original(self)

    return start


def uninstall_with_warning():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert safethread_patch.uninstall() is False
    (warning,) = caught
    assert warning.category is safethread_patch.SafeThreadWarning
    return str(warning.message)


def test_later_patch_is_left_alone_and_named():
    stock = methods()
    safethread_patch.install()
    ours = methods()[0]
    theirs = Thread.start = wrapper_over(ours)
    try:
        message = uninstall_with_warning()
        assert "Thread.start" in message and "test_install.py" in message
        assert not safethread_patch.is_installed()
        assert methods() == (theirs, stock[1])
        thread = Thread(target=int)
        thread.start()
        thread.join()
        assert "Thread.start" in uninstall_with_warning()
    finally:
        Thread.start = ours  # they undo theirs, and put back what they found
    assert safethread_patch.uninstall() is True
    assert methods() == stock


def test_ours_under_theirs_under_ours_again():
    stock = methods()
    safethread_patch.install()
    ours = methods()[0]
    theirs = Thread.start = wrapper_over(ours)
    uninstall_with_warning()
    assert safethread_patch.install() is True
    again = methods()[0]
    assert again is not theirs and again is not ours
    ran = []
    thread = Thread(target=ran.append, args=(1,))
    thread.start()
    thread.join()
    assert ran == [1]
    with pytest.raises(RuntimeError):
        thread.start()
    uninstall_with_warning()
    assert methods()[0] is theirs
    Thread.start = ours
    assert safethread_patch.install() is True
    names = [entry.name for entry in _install._entries]
    assert len(names) == len(set(names))  # and not two layers of ours
    assert safethread_patch.uninstall() is True
    assert methods() == stock


def test_ours_over_theirs():
    stock = methods()[0]
    theirs = Thread.start = wrapper_over(stock)
    try:
        with safethread_patch.installed():
            assert "test_install.py" in safethread_patch.status()["others"]["Thread.start"]
        assert methods()[0] is theirs
    finally:
        Thread.start = stock


def test_inert_under_theirs():
    # the thread is held in limbo, and start() does not wait
    check(
        deadline=30,
        code="""
safethread_patch.install()
ours = vars(threading.Thread)["start"]
def theirs(self): return ours(self)
threading.Thread.start = theirs
warnings.simplefilter("ignore")
assert safethread_patch.uninstall() is False
_start.PAUSES[:] = [60]
thread = daemon()
with HeldRegistration(thread):
    thread.start()
    assert thread in threading._limbo and not state.claims
"""
    )


def test_uninstall_after_others_have_undone_theirs_in_any_order():
    stock = methods()[0]
    Thread.start = wrapper_over(stock)
    safethread_patch.install()
    Thread.start = stock  # they undo theirs, and ours with it
    assert safethread_patch.uninstall() is True

    safethread_patch.install()
    ours = methods()[0]
    Thread.start = wrapper_over(ours)
    uninstall_with_warning()
    safethread_patch.install()
    Thread.start = ours
    assert safethread_patch.uninstall() is True
    assert methods()[0] is stock


def test_contexts_of_two_threads_do_not_uninstall_each_other():
    check(
        """
if hasattr(sys, "setswitchinterval"): sys.setswitchinterval(1e-6)
else: sys.setcheckinterval(1)
safethread_patch.install()
safethread_patch.uninstall()
failed, done = [], []
def loop():
    for _ in range(300):
        with safethread_patch.installed():
            if not safethread_patch.is_installed(): failed.append(1)
    done.append(1)
for _ in range(4): daemon(loop).start()
wait_for(lambda: len(done) == 4, "all are done")
assert not failed, len(failed)
assert not safethread_patch.is_installed()
"""
    )


@pytest.mark.parametrize("callable", ["Callable()", "functools.partial(note, 1)"])
def test_original_that_cannot_be_bound(callable):
    check(
        """
import functools
noted = []
def note(*args): noted.append(args)
class Callable(object):
    def __call__(self, *args): noted.append(args)
threading.Thread.start = %s
def noted_by_start():
    del noted[:]
    threading.Thread().start()
    return [len(args) for args in noted]
stock = noted_by_start()
with safethread_patch.installed():
    assert noted_by_start() == stock
"""
        % callable
    )


def test_install_by_a_raw_thread_leaves_no_thread():
    check(
        """
_threads.low_level.start_new_thread(safethread_patch.install, ())
wait_for(safethread_patch.is_installed, "installed")
assert threading.enumerate() == [threading.current_thread()]
"""
    )


@pytest.mark.skipif(sys.version_info < (3, 7), reason="no at-fork hooks")
def test_interrupted_install_registers_its_hooks_the_next_time():
    check(
        """
register, calls = os.register_at_fork, []
def interrupted(**hooks):
    if "safethread_patch" in (getattr(hooks.get("after_in_child"), "__module__", None) or ""):
        calls.append(hooks)
        if len(calls) == 1: raise KeyboardInterrupt
    register(**hooks)
os.register_at_fork = interrupted
try: safethread_patch.install()
except KeyboardInterrupt: pass
else: raise AssertionError
assert safethread_patch.install() and safethread_patch.uninstall() and safethread_patch.install()
assert len(calls) == 2
"""
    )


def test_original_that_is_no_function_is_bound():
    # a wrapt wrapper that is called from the class's dict sees no instance
    import wrapt

    seen = []

    @wrapt.decorator
    def note(wrapped, instance, args, kwargs):
        seen.append(instance)
        return wrapped(*args, **kwargs)

    stock = methods()[0]
    Thread.start = note(stock)
    try:
        with safethread_patch.installed():
            thread = Thread(target=int)
            thread.start()
            thread.join()
        assert seen == [thread]
    finally:
        Thread.start = stock


def test_wrapt_wrapper_over_ours_is_not_taken_for_ours():
    import wrapt

    stock = methods()
    safethread_patch.install()
    ours = methods()[0]
    Thread.start = wrapt.FunctionWrapper(ours, lambda wrapped, instance, args, kwargs: wrapped(*args, **kwargs))
    assert methods()[0] == ours  # although it is another object
    try:
        uninstall_with_warning()
    finally:
        Thread.start = ours
    assert safethread_patch.uninstall() is True
    assert methods() == stock


# status()


def test_status(patched):
    status = safethread_patch.status()
    assert status["installed"] is True
    assert status["interpreter"]["version"].startswith("%d.%d." % sys.version_info[:2])
    assert status["fork"] == ("os.register_at_fork" if sys.version_info >= (3, 7) else "threading._after_fork")
    assert set(["unregistered-start", "double-start"]) <= set(status["defects"])
    assert status["others"] == {}


def test_status_with_another_patch_of_init():
    original = Thread.__init__
    Thread.__init__ = lambda self, *args, **kwargs: original(self, *args, **kwargs)
    try:
        assert safethread_patch.status()["others"] == {}
    finally:
        Thread.__init__ = vars(Thread).get("__no_such__", original)


# interpreters that lack something


@pytest.mark.parametrize("name", ["_limbo", "_active", "_active_limbo_lock"])
def test_unsupported_interpreter_is_told_what_is_missing(name):
    check(
        """
before = dict(vars(threading.Thread))
thing = threading.%(name)s
del threading.%(name)s
try: safethread_patch.install()
except safethread_patch.UnsupportedInterpreter as error:
    assert isinstance(error, RuntimeError) and "threading.%(name)s" in str(error), error
else: raise AssertionError
try: safethread_patch.installed().__enter__()
except safethread_patch.UnsupportedInterpreter: pass
else: raise AssertionError
assert dict(vars(threading.Thread)) == before and not safethread_patch.is_installed()
safethread_patch.status()
threading.%(name)s = thing
"""
        % {"name": name}
    )


def test_unsupported_interpreter_with_other_names_on_the_thread():
    check(
        """
main = vars(threading.current_thread())
name = "_started" if "_started" in main else "_Thread__started"
started = main.pop(name)
try: safethread_patch.install()
except safethread_patch.UnsupportedInterpreter as error: assert "Thread." + name in str(error), error
else: raise AssertionError
main[name] = started
"""
    )


def test_install_does_not_shift_the_names_of_threads():
    name = Thread().name
    safethread_patch.install()
    safethread_patch.uninstall()
    assert int(Thread().name.split("-")[1]) == int(name.split("-")[1]) + 1


def test_missing_wrapt_changes_nothing_and_says_what_to_do():
    check(
        """
sys.modules["wrapt"] = None
before = dict(vars(threading.Thread))
try: safethread_patch.install()
except ImportError as error: assert "Nothing was changed. Install it with" in str(error), error
else: raise AssertionError
assert dict(vars(threading.Thread)) == before and not safethread_patch.is_installed()
"""
    )


def test_without_fork_the_start_side_works():
    code = """
import os
del os.fork
if hasattr(os, "register_at_fork"): del os.register_at_fork
import threading, safethread_patch
assert safethread_patch.install()
status = safethread_patch.status()
assert status["fork"] is None
assert status["defects"] == ["unregistered-start", "double-start"], status
thread = threading.Thread(target=int)
thread.start()
thread.join()
print("done")
"""

    ended = run([sys.executable, "-c", code])
    assert ended.status == 0 and ended.out.endswith("done\n"), ended
