"""The pytest plugin, in test runs of its own."""
import os
import sys

import pytest
from conftest import PY2

FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork")

# tests that say whether threading.Thread is patched
TESTS = """
import threading
import pytest
def is_patched():
    return threading.Thread.start.__code__.co_filename.replace("\\\\", "/").endswith("safethread_patch/_start.py")
"""


class Project(object):
    """A folder of tests, and pytest in a process of its own."""

    def __init__(self, testdir, request):
        self._testdir = testdir
        # installed from the wheel, it is found by its entry point
        installed = request.config.pluginmanager.has_plugin("safethread_patch")
        self._plugin = [] if installed else ["-p", "safethread_patch.pytest_plugin"]
        self.tmpdir = testdir.tmpdir

    def run(self, code, *args, **kwargs):
        ini = kwargs.pop("ini", "")
        expected = kwargs.pop("expected", {"passed": 1})
        self._testdir.makefile(".ini", pytest="[pytest]\n" + ini)
        self._testdir.makepyfile(test_it=TESTS + code)
        others = kwargs.pop("others", ["-p", "no:randomly"])
        result = self._testdir.runpytest_subprocess(*(self._plugin + ["-p", "no:cacheprovider"] + others + list(args)))
        if expected is not None:
            result.assert_outcomes(**expected)
        return result


@pytest.fixture
def project(testdir, request, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("COV_CORE_SOURCE", raising=False)
    return Project(testdir, request)


def needs(name):
    pytest.importorskip(name)


# Inert until asked


def test_plugin_is_inert(project):
    code = """
def test_it(request):
    import sys
    assert not is_patched()
    assert "wrapt" not in sys.modules
    ours = sorted(name for name in sys.modules if name.startswith("safethread_patch."))
    assert ours == ["safethread_patch._pytest_fork", "safethread_patch.pytest_plugin"]
"""
    result = project.run(code, "--strict-markers" if not PY2 else "--strict", "-W", "error")
    assert "safethread_patch:" not in result.stdout.str()


def test_plugin_can_be_turned_off(project, request):
    if not request.config.pluginmanager.has_plugin("safethread_patch"):
        pytest.skip("only where it is found by its entry point")
    result = project.run("def test_it(safethread): pass", "-p", "no:safethread_patch", expected=None)
    assert "fixture 'safethread' not found" in result.stdout.str()


def test_strict_markers_and_no_warnings(project):
    code = """
@pytest.mark.safethread
def test_it(safethread, safethread_fork): assert is_patched()
"""
    project.run(code, "--strict-markers" if not PY2 else "--strict", "-W", "error", "--safethread")
    result = project.run("def test_it(): pass", "--markers", expected=None)
    assert "@pytest.mark.safethread(on=True)" in result.stdout.str()


# Option, ini, marker


@pytest.mark.parametrize("ini", [None, "false", "true"])
@pytest.mark.parametrize("option", [None, "--safethread", "--no-safethread"])
def test_marker_beats_option_beats_ini(project, ini, option):
    code = """
def test_unmarked(): assert is_patched() is %r
@pytest.mark.safethread
def test_marked(): assert is_patched()
def test_between(): assert is_patched() is %r
@pytest.mark.safethread(True)
def test_marked_true(): assert is_patched()
@pytest.mark.safethread(False)
def test_marked_false(): assert not is_patched()
@pytest.mark.safethread(on=False)
def test_marked_by_name(): assert not is_patched()
@pytest.mark.safethread(False)
def test_marked_false_with_the_fixture(safethread): assert is_patched()
def test_after(): assert is_patched() is %r
@pytest.mark.safethread
class TestInClass(object):
    def test_it(self): assert is_patched()
    @pytest.mark.safethread(False)
    def test_closest(self): assert not is_patched()
"""
    wanted = {None: ini == "true", "--safethread": True, "--no-safethread": False}[option]
    options = [option] if option else []
    line = "safethread = %s\n" % ini if ini else ""
    result = project.run(code % ((wanted,) * 3), *options, ini=line, expected={"passed": 10})
    assert result.stdout.str().count("threading.Thread is patched") == (1 if wanted else 0)


def test_patched_from_configure_to_unconfigure(project):
    project._testdir.makeconftest(
        """
import safethread_patch
def pytest_sessionstart(): print("start %s" % safethread_patch.is_installed())
def pytest_sessionfinish(): print("finish %s" % safethread_patch.is_installed())
import atexit
atexit.register(lambda: print_(safethread_patch.is_installed()))
def print_(installed):
    with open("at_exit", "w") as file: file.write(str(installed))
"""
    )
    result = project.run("def test_it(): assert is_patched()", "--safethread", "-s")
    assert "start True" in result.stdout.str() and "finish True" in result.stdout.str()
    assert project.tmpdir.join("at_exit").read() == "False"


def test_what_was_patched_before_stays_patched(project):
    project._testdir.makeconftest("import safethread_patch; safethread_patch.install()")
    code = """
@pytest.mark.safethread(False)
def test_without(): assert not is_patched()
def test_fixture(safethread): assert is_patched()
def test_it(): assert is_patched()
"""
    project.run(code, "--safethread", expected={"passed": 3})
    project.run(code, expected={"passed": 3})


@pytest.mark.parametrize("arguments", ["'no'", "1", "True, False", "off=True", "True, on=True"])
def test_marker_with_wrong_arguments(project, arguments):
    code = "@pytest.mark.safethread(%s)\ndef test_it(): pass\n" % arguments
    result = project.run(code, expected=None)
    text = result.stderr.str() + result.stdout.str()
    assert result.ret == 4 and "give True, False or nothing" in text and "INTERNALERROR" not in text, text


def test_patch_that_cannot_be_installed(project):
    project._testdir.makeconftest("import threading; del threading._limbo; import atexit, os; atexit.register(lambda: os._exit(4))")
    result = project.run("def test_it(): pass", "--safethread", expected=None)
    text = result.stderr.str() + result.stdout.str()
    assert result.ret == 4 and "install() found no threading._limbo" in text and "INTERNALERROR" not in text, text


# The fixture safethread


def test_fixture_patches_during_the_test(project):
    code = """
found = [vars(threading.Thread)[name] for name in ("start", "run")]
def test_with(safethread):
    assert is_patched() and safethread.is_installed()
    assert safethread.__name__ == "safethread_patch" and safethread.status()["installed"]
def test_fails(safethread): assert not is_patched()
def test_without():
    assert not is_patched()
    assert [vars(threading.Thread)[name] for name in ("start", "run")] == found
    assert all(vars(threading.Thread)[name] is was for name, was in zip(("start", "run"), found))
def test_with_all(safethread, safethread_fork): safethread.uninstall()
def test_over(safethread):
    ours = threading.Thread.start
    threading.Thread.start = lambda self: ours(self)
def test_restores(): threading.Thread.start = found[0]
"""
    project.run(code, "-W", "error", expected={"passed": 5, "failed": 1})


@FORK
def test_readme_example(project):
    code = """
def test_thread_made_before_the_fork_is_alive_in_the_worker(safethread_fork%s):
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.daemon = True
    def worker():
        thread.start()
        return thread.is_alive()
    assert safethread_fork(worker).value is True
"""
    project.run(code % ", safethread")
    if (3, 6) <= sys.version_info < (3, 13):  # once any thread was started, on 3.6
        project.run(code % "" + "threading.Thread(target=int).start()\n", expected={"failed": 1})


# The fixture safethread_fork


@FORK
def test_fork_gives_back_what_happened(project):
    code = """
import os, sys, time, signal
def test_value(safethread_fork):
    outcome = safethread_fork(lambda *args, **kwargs: (args, kwargs), 1, "a", key=[2], timeout=20)
    assert outcome.value == ((1, "a"), {"key": [2]})
    assert (outcome.exitcode, outcome.signal, outcome.timed_out) == (0, None, False)
    assert outcome.exception is None and outcome.traceback is None
    assert outcome.stdout == outcome.stderr == ""
    assert len(outcome.threads) == 1
def test_no_value(safethread_fork):
    assert safethread_fork(int).value == 0
    assert safethread_fork(lambda: None).value is None
def test_exception(safethread_fork):
    def function(): raise ValueError("no such number")
    outcome = safethread_fork(function)
    assert isinstance(outcome.exception, ValueError) and str(outcome.exception) == "no such number"
    assert "in function" in outcome.traceback and "ValueError: no such number" in outcome.traceback
    assert (outcome.value, outcome.exitcode, outcome.signal) == (None, 1, None)
def test_exception_that_cannot_be_pickled(safethread_fork):
    class Odd(Exception): pass
    def function(): raise Odd("strange")
    assert str(safethread_fork(function).exception) == "Odd: strange"
def test_exception_that_cannot_be_unpickled(safethread_fork):
    def function(): raise Two(1, 2)
    assert str(safethread_fork(function).exception) == "Two: 3"
    def function(): raise Five("five")
    assert str(safethread_fork(function).exception) == "Five: five"
class Five(Exception):
    def __reduce__(self): return int, ("5",)
class Two(Exception):
    def __init__(self, a, b): Exception.__init__(self, a + b)
def test_pytest_s_own(safethread_fork):
    outcome = safethread_fork(pytest.fail, "not in the child")
    assert "not in the child" in str(outcome.exception) and outcome.exitcode == 1
def test_exit(safethread_fork):
    assert [safethread_fork(sys.exit, code).exitcode for code in (None, 0, 3)] == [0, 0, 3]
    outcome = safethread_fork(sys.exit, "goodbye")
    assert (outcome.exitcode, outcome.stderr) == (1, "goodbye\\n")
    outcome = safethread_fork(os._exit, 5)
    assert (outcome.exitcode, outcome.value, outcome.threads) == (5, None, [])
def test_signal(safethread_fork):
    outcome = safethread_fork(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert (outcome.exitcode, outcome.signal, outcome.timed_out) == (None, signal.SIGKILL, False)
def test_output(safethread_fork):
    def function():
        print("to stdout")
        sys.stderr.write("to stderr\\n")
        os.write(1, b"directly\\n")
    outcome = safethread_fork(function)
    assert (outcome.stdout, outcome.stderr) == ("to stdout\\ndirectly\\n", "to stderr\\n")
def test_large_output_and_value(safethread_fork):
    def function():
        for _ in range(1000): sys.stdout.write("x" * 999 + "\\n"), sys.stderr.write("y" * 999 + "\\n")
        return "z" * 1000000
    outcome = safethread_fork(function)
    assert [len(text) for text in (outcome.stdout, outcome.stderr, outcome.value)] == [1000000] * 3
def test_threads(safethread_fork):
    def function():
        thread = threading.Thread(target=time.sleep, args=(60,), name="left behind")
        thread.start()
    outcome = safethread_fork(function)
    assert "left behind" in outcome.threads and len(outcome.threads) == 2 and outcome.exitcode == 0
def test_standard_input_is_empty(safethread_fork):
    assert safethread_fork(lambda: sys.stdin.read()).value == ""
    assert safethread_fork(os.read, 0, 10).value == b""
def test_value_that_cannot_be_pickled(safethread_fork):
    def function(): return threading.Lock()
    with pytest.raises(TypeError) as caught: safethread_fork(function)
    assert "function() returned a value that cannot be pickled, <" in str(caught.value) and "lock" in str(caught.value)
@pytest.mark.parametrize("timeout", [0, -1, None, "soon", True])
def test_wrong_timeout(safethread_fork, timeout):
    with pytest.raises(ValueError) as caught: safethread_fork(int, timeout=timeout)
    assert "give a number of seconds above 0" in str(caught.value)
def test_no_function(safethread_fork):
    with pytest.raises(TypeError): safethread_fork(3)
"""
    project.run(code, "-W", "error", expected={"passed": 19})


@FORK
def test_fork_has_a_deadline(project):
    code = """
import os, sys, time, signal
def stuck():
    print("so far")
    time.sleep(60)
def test_it(safethread_fork):
    outcome = safethread_fork(stuck, timeout=0.5)
    assert outcome.timed_out and outcome.exitcode is None and outcome.value is None
    assert outcome.signal in (signal.SIGABRT, signal.SIGKILL) and outcome.stdout == "so far\\n"
    try: import faulthandler
    except ImportError: return
    assert "in stuck" in outcome.stderr, outcome
def test_stubborn(safethread_fork):
    def ignore():
        signal.signal(signal.SIGABRT, signal.SIG_IGN)
        stuck()
    outcome = safethread_fork(ignore, timeout=0.5)
    assert outcome.timed_out and outcome.signal in (signal.SIGABRT, signal.SIGKILL)
def test_frozen_clock(safethread_fork, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0)
    if hasattr(time, "monotonic"): monkeypatch.setattr(time, "monotonic", lambda: 0)
    assert safethread_fork(stuck, timeout=0.5).timed_out
"""
    project.run(code, "-W", "error", expected={"passed": 3})


@FORK
def test_what_the_child_s_child_leaves_behind_does_not_hang_the_parent(project):
    code = """
import os, time
def test_it(safethread_fork):
    def function():
        if os.fork(): return "child"
        time.sleep(60)
    before = time.time()
    assert safethread_fork(function).value == "child"
    assert time.time() - before < 30
def test_grandchild_that_returns(safethread_fork):
    def function():
        pid = os.fork()
        if pid: os.waitpid(pid, 0)
        return "child" if pid else "grandchild"
    assert safethread_fork(function).value == "child"
def test_grandchild_that_returns_and_child_that_does_not(safethread_fork):
    def function():
        pid = os.fork()
        if not pid: return "grandchild"
        os.waitpid(pid, 0)
        os._exit(3)
    outcome = safethread_fork(function)
    assert (outcome.value, outcome.exitcode) == (None, 3)
def test_timed_out(safethread_fork):
    def function():
        os.fork()
        time.sleep(60)
    assert safethread_fork(function, timeout=0.5).timed_out
"""
    project.run(code, expected={"passed": 4})


@FORK
def test_child_runs_nothing_of_the_parent(project):
    code = """
import atexit, os
parent = os.getpid()
def note(what):
    if os.getpid() != parent:
        with open("notes", "a") as file: file.write(what)
atexit.register(note, "atexit")
@pytest.fixture
def resource():
    yield
    note("teardown")
def test_it(resource, safethread_fork):
    assert safethread_fork(note, "function").value is None
    def fails(): assert 0
    assert safethread_fork(fails).exitcode == 1
def test_after(): assert os.getpid() == parent
"""
    project.run(code, expected={"passed": 2})
    assert project.tmpdir.join("notes").read() == "function"


@FORK
def test_interrupted_wait_kills_the_child(project):
    code = """
import os, signal, time
def test_it(safethread_fork):
    def function():
        with open("pid", "w") as file: file.write(str(os.getpid()))
        time.sleep(60)
    class Interrupted(Exception): pass
    def interrupt(*args): raise Interrupted()
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1)
    with pytest.raises(Interrupted): safethread_fork(function)
    with open("pid") as file: pid = int(file.read())
    with pytest.raises(OSError): os.kill(pid, 0)
"""
    project.run(code)


def test_no_fork_skips_with_a_reason(project):
    code = """
def test_it(monkeypatch, safethread_fork):
    import os
    monkeypatch.delattr(os, "fork", raising=False)
    safethread_fork(int)
"""
    result = project.run(code, "-rs", expected={"skipped": 1})
    assert "safethread_fork: no os.fork on" in result.stdout.str()


# Among other plugins

BOTH = """
def test_it(): assert is_patched()
@pytest.mark.safethread(False)
def test_not(): assert not is_patched()
def test_fork(safethread_fork): assert safethread_fork(is_patched).value is True
"""


@FORK
def test_with_forked(project):
    needs("pytest_forked")
    project.run(BOTH, "--forked", "--safethread", expected={"passed": 3})
    code = """
@pytest.mark.forked
@pytest.mark.safethread
def test_it(): assert is_patched()
@pytest.mark.forked
def test_fixture(safethread, safethread_fork): assert is_patched() and safethread_fork(is_patched).value
def test_not(): assert not is_patched()
"""
    project.run(code, expected={"passed": 3})


@FORK
def test_with_xdist(project):
    needs("xdist")
    result = project.run(BOTH, "-n", "2", "--safethread", expected={"passed": 3})
    assert result.stdout.str().count("threading.Thread is patched") == 1
    project.run(BOTH, "-n", "2", ini="safethread = true\n", expected={"passed": 3})


@FORK
@pytest.mark.parametrize("method", ["signal", "thread"])
def test_with_timeout(project, method):
    needs("pytest_timeout")
    project.run(BOTH, "--timeout=60", "--timeout-method=" + method, "--safethread", expected={"passed": 3})


@FORK
def test_with_timeout_that_ends_a_fork(project):
    needs("pytest_timeout")
    code = """
import time
def test_it(safethread_fork): safethread_fork(time.sleep, 60, timeout=50)
"""
    project.run(code, "--timeout=1", "--timeout-method=signal", "--safethread", expected={"failed": 1})


@FORK
def test_with_randomly(project):
    needs("pytest_randomly")
    result = project.run(BOTH, "--safethread", others=[], expected={"passed": 3})
    assert "random" in result.stdout.str()


@FORK
def test_with_cov(project):
    needs("pytest_cov")
    result = project.run(BOTH, "--cov=test_it", "--cov-report=term", "--safethread", expected={"passed": 3})
    assert "TOTAL" in result.stdout.str()


# What a test may do to the fork's own means


@FORK
def test_fork_of_a_test_that_replaces_what_it_needs(project):
    code = """
import os, signal, subprocess, sys, time
def test_os_exit(safethread_fork, monkeypatch):
    monkeypatch.setattr(os, "_exit", lambda code: None)
    assert safethread_fork(lambda: 5).value == 5
parent = os.getpid()
def test_after(): assert os.getpid() == parent
def test_sleep(safethread_fork, monkeypatch):
    real = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert safethread_fork(lambda: real(0.2) or 5).value == 5
def test_ignored_children(safethread_fork):
    found = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try: outcome = safethread_fork(lambda: 5)
    finally: signal.signal(signal.SIGCHLD, found)
    assert (outcome.value, outcome.exitcode) == (5, 0)
def test_closed_descriptors(safethread_fork):
    def function():
        os.closerange(3, 256)
        files = [open(os.devnull) for _ in range(20)]
        return len(files)
    assert safethread_fork(function).value == 20
def test_closed_standard_input(safethread_fork):
    saved = os.dup(0)
    os.close(0)
    try: outcome = safethread_fork(lambda: print_("hello"))
    finally: os.dup2(saved, 0)
    assert (outcome.stdout, outcome.exitcode) == ("hello\\n", 0)
def print_(text): sys.__stdout__.write(text + "\\n")
def test_replaced_stdout(safethread_fork):
    def function():
        sys.stdout = None
        os.write(1, b"still there")
    outcome = safethread_fork(function)
    assert (outcome.stdout, outcome.exitcode, outcome.stderr) == ("still there", 0, "")
def test_output_of_a_subprocess(safethread_fork):
    def function():
        os.write(2, b"first\\n")
        subprocess.call("echo second > /dev/stdout; echo third >> /dev/stderr", shell=True)
        os.write(2, b"fourth\\n")
    outcome = safethread_fork(function)
    assert (outcome.stdout, outcome.stderr) == ("second\\n", "first\\nthird\\nfourth\\n")
def test_interrupted_right_after_the_fork(safethread_fork, monkeypatch):
    import safethread_patch._pytest_fork as module
    def fork(real=module._os_fork):
        pid = real()
        if not pid: raise KeyboardInterrupt()
        return pid
    monkeypatch.setattr(module, "_os_fork", fork)
    assert safethread_fork(int).exitcode == 1
def test_arguments(safethread_fork):
    assert safethread_fork(lambda function: function, function=3).value == 3
    assert safethread_fork(int, timeout=float("inf")).value == 0
    with pytest.raises(ValueError): safethread_fork(int, timeout=float("nan"))
    with pytest.raises(TypeError): safethread_fork()
"""
    project.run(code, "-W", "error", expected={"passed": 10})


@FORK
def test_nobody_survives_in_the_child_s_group(project):
    code = """
import os, time
@pytest.mark.parametrize("timeout", [20, 0.5])
def test_it(safethread_fork, timeout):
    def function():
        read, write = os.pipe()
        pid = os.fork()
        if not pid: time.sleep(60)
        with open("pid", "w") as file: file.write(str(pid))
        if timeout < 1: time.sleep(60)
    outcome = safethread_fork(function, timeout=timeout)
    with open("pid") as file: pid = int(file.read())
    for _ in range(500):
        try:
            with open("/proc/%d/stat" % pid) as file: state = file.read().split(")")[-1].split()[0]
        except EnvironmentError: break
        if state == "Z": break
        time.sleep(0.01)
    else: assert 0, "still there"
"""
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs /proc")
    project.run(code, expected={"passed": 2})


@FORK
def test_value_that_hides_itself(project):
    code = """
import sys
class Hidden(object):
    def __init__(self, error): self.error = error
    def __reduce__(self): raise self.error
    def __repr__(self): raise ValueError(u"h\\xe9")
@pytest.mark.parametrize("error", [ValueError(u"h\\xe9"), KeyboardInterrupt(), SystemExit(3)])
def test_it(safethread_fork, error):
    with pytest.raises(TypeError) as caught: safethread_fork(Hidden, error)
    assert "a value that cannot be pickled, <Hidden>" in str(caught.value)
class Exits(object):
    def __reduce__(self): return sys.exit, (3,)
def test_exits(safethread_fork):
    with pytest.raises(TypeError) as caught: safethread_fork(Exits)
    assert "SystemExit: 3" in str(caught.value)
def test_exception(safethread_fork):
    class Odd(Exception): pass
    def function(): raise Odd(u"h\\xe9")
    outcome = safethread_fork(function)
    assert isinstance(outcome.exception, RuntimeError) and "Odd: " in str(outcome.exception) and "Odd" in outcome.traceback
"""
    project.run("# -*- coding: utf-8 -*-\n" + code, expected={"passed": 5})


# What a test may do to the patch


def test_state_is_put_back_after_each_test(project):
    code = """
import safethread_patch
found = vars(threading.Thread)["start"]
def test_monkeypatch(monkeypatch, safethread):
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
def test_is_stock(): assert vars(threading.Thread)["start"] is found
@pytest.mark.safethread
def test_marked(monkeypatch): monkeypatch.setattr(threading.Thread, "start", lambda self: None)
def test_is_stock_again(): assert vars(threading.Thread)["start"] is found
"""
    project.run(code, expected={"passed": 4})
    code = """
import safethread_patch
def test_uninstalls(): assert safethread_patch.uninstall()
def test_is_patched(): assert is_patched()
"""
    project.run(code, "--safethread", expected={"passed": 2})


def test_interpreter_that_becomes_unsupported(project):
    project._testdir.makeconftest(
        """
import pytest, safethread_patch
def install(): raise safethread_patch.UnsupportedInterpreter("not here")
safethread_patch.install = install
"""
    )
    result = project.run("@pytest.mark.safethread\ndef test_marked(): pass\ndef test_fixture(safethread): pass\ndef test_after(): pass\n", expected=None)
    text = result.stdout.str()
    assert "1 passed" in text and "2 error" in text and text.count("safethread_patch: not here") >= 2, text


def test_marker_with_wrong_arguments_under_xdist(project):
    needs("xdist")
    result = project.run("@pytest.mark.safethread('no')\ndef test_it(): pass\ndef test_after(): pass\n", "-n", "2", expected=None)
    text = result.stdout.str()
    assert "give True, False or nothing" in text and "INTERNALERROR" not in text and "1 passed" in text, text
