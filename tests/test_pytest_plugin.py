"""In pytest the plugin is inert until asked: for the whole session by --safethread or the ini file, for one test by the
marker or the fixture safethread; marker beats option beats ini. The fixture safethread_fork calls a function in a
forked child, with a deadline.

Each test here runs pytest in a process of its own, on a few lines of code or on a file of plugin_cases/.
"""
import os
import sys

import pytest
from conftest import HERE, PY2

CASES = os.path.join(HERE, "plugin_cases")

FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork")

STRICT = "--strict" if PY2 else "--strict-markers"

WARNINGS_ARE_ERRORS = ("-W", "error")

# in front of the code that is given as text
PRELUDE = """\
import sys
import pytest
from patched import is_patched
"""


class Project(object):
    """A folder of tests, and pytest in a process of its own."""

    def __init__(self, testdir, request):
        self._testdir = testdir
        # installed from the wheel, the plugin is loaded by its entry point
        has_entry_point = request.config.pluginmanager.has_plugin("safethread_patch")
        self._options = [] if has_entry_point else ["-p", "safethread_patch.pytest_plugin"]
        self._options += ["-p", "no:cacheprovider"]
        self.tmpdir = testdir.tmpdir
        self.makeconftest = testdir.makeconftest
        self._copy("patched.py", "patched.py")

    def _copy(self, name, target):
        with open(os.path.join(CASES, name), "rb") as file:
            self.tmpdir.join(target).write_binary(file.read())

    def run_case(self, name, *args, **kwargs):
        """Run plugin_cases/case_NAME.py as test_it.py; the rest as for run_code()."""
        __tracebackhide__ = True
        self._copy("case_%s.py" % name, "test_it.py")
        return self._run(*args, **kwargs)

    def run_code(self, code, *args, **kwargs):
        """Run this code as test_it.py, with these arguments of pytest.

        ``ini``: a line of the ini file. ``expected``: how many tests end how; None: anything. ``randomly``: with
        pytest-randomly, if that is installed.
        """
        __tracebackhide__ = True
        self.tmpdir.join("test_it.py").write(PRELUDE + code)
        return self._run(*args, **kwargs)

    def _run(self, *args, **kwargs):
        __tracebackhide__ = True
        ini = kwargs.pop("ini", "")
        expected = kwargs.pop("expected", {"passed": 1})
        options = self._options + ([] if kwargs.pop("randomly", False) else ["-p", "no:randomly"])
        assert not kwargs, kwargs
        self._testdir.makefile(".ini", pytest="[pytest]\n" + ini)
        result = self._testdir.runpytest_subprocess(*(options + list(args)))
        if expected is not None:
            result.assert_outcomes(**expected)
        return result


@pytest.fixture
def project(testdir, request, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("COV_CORE_SOURCE", raising=False)
    return Project(testdir, request)


def assert_usage_error(result, text):
    """Check that pytest ended with a usage error that says this."""
    __tracebackhide__ = True
    written = result.stderr.str() + result.stdout.str()
    assert result.ret == 4 and text in written and "INTERNALERROR" not in written, written


# Inert until asked


def test_plugin_is_inert(project):
    code = """
def test_it(request):
    assert not is_patched()
    assert "wrapt" not in sys.modules
    names = sorted(name for name in sys.modules if name.startswith("safethread_patch."))
    assert names == ["safethread_patch._pytest_fork", "safethread_patch.pytest_plugin"]
"""
    result = project.run_code(code, STRICT, *WARNINGS_ARE_ERRORS)
    assert "safethread_patch:" not in result.stdout.str()


def test_plugin_can_be_turned_off(project, request):
    if not request.config.pluginmanager.has_plugin("safethread_patch"):
        pytest.skip("only where it is found by its entry point")
    code = "def test_it(safethread): pass"
    result = project.run_code(code, "-p", "no:safethread_patch", expected=None)
    assert "fixture 'safethread' not found" in result.stdout.str()


def test_strict_markers_and_no_warnings(project):
    code = """
@pytest.mark.safethread
def test_it(safethread, safethread_fork):
    assert is_patched()
"""
    project.run_code(code, STRICT, "--safethread", *WARNINGS_ARE_ERRORS)
    result = project.run_code("def test_it(): pass", "--markers", expected=None)
    assert "@pytest.mark.safethread(on=True)" in result.stdout.str()


# Option, ini, marker


@pytest.mark.parametrize("ini", [None, "false", "true"])
@pytest.mark.parametrize("option", [None, "--safethread", "--no-safethread"])
def test_marker_beats_option_beats_ini(project, monkeypatch, ini, option):
    is_patched = {None: ini == "true", "--safethread": True, "--no-safethread": False}[option]
    monkeypatch.setenv("WANTED", "patched" if is_patched else "stock")
    options = [option] if option else []
    line = "safethread = %s\n" % ini if ini else ""
    result = project.run_case("markers", *options, ini=line, expected={"passed": 10})
    assert result.stdout.str().count("threading.Thread is patched") == (1 if is_patched else 0)


def test_patched_from_configure_to_unconfigure(project):
    project.makeconftest(
        """
import atexit
import safethread_patch

def pytest_sessionstart():
    print("start %s" % safethread_patch.is_installed())

def pytest_sessionfinish():
    print("finish %s" % safethread_patch.is_installed())

@atexit.register
def note():
    with open("at_exit", "w") as file:
        file.write(str(safethread_patch.is_installed()))
"""
    )
    result = project.run_code("def test_it(): assert is_patched()", "--safethread", "-s")
    assert "start True" in result.stdout.str() and "finish True" in result.stdout.str()
    assert project.tmpdir.join("at_exit").read() == "False"


def test_what_was_patched_before_stays_patched(project):
    project.makeconftest("import safethread_patch; safethread_patch.install()")
    code = """
@pytest.mark.safethread(False)
def test_without(): assert not is_patched()
def test_fixture(safethread): assert is_patched()
def test_it(): assert is_patched()
"""
    project.run_code(code, "--safethread", expected={"passed": 3})
    project.run_code(code, expected={"passed": 3})


@pytest.mark.parametrize("arguments", ["'no'", "1", "True, False", "off=True", "True, on=True"])
def test_marker_with_wrong_arguments(project, arguments):
    code = "@pytest.mark.safethread(%s)\ndef test_it(): pass\n" % arguments
    assert_usage_error(project.run_code(code, expected=None), "give True, False or nothing")


def test_marker_with_wrong_arguments_under_xdist(project):
    pytest.importorskip("xdist")
    code = """
@pytest.mark.safethread('no')
def test_it(): pass
def test_after(): pass
"""
    result = project.run_code(code, "-n", "2", expected=None)
    text = result.stdout.str()
    assert "give True, False or nothing" in text and "INTERNALERROR" not in text and "1 passed" in text, text


def test_patch_that_cannot_be_installed(project):
    project.makeconftest(
        """
import atexit, os, threading
del threading._limbo
atexit.register(lambda: os._exit(4))  # without threading's own clean-up, which needs _limbo
"""
    )
    result = project.run_code("def test_it(): pass", "--safethread", expected=None)
    assert_usage_error(result, "install() found no threading._limbo")


def test_interpreter_that_becomes_unsupported(project):
    project.makeconftest(
        """
import safethread_patch

def install():
    raise safethread_patch.UnsupportedInterpreter("not here")

safethread_patch.install = install
"""
    )
    code = """
@pytest.mark.safethread
def test_marked(): pass
def test_fixture(safethread): pass
def test_after(): pass
"""
    result = project.run_code(code, expected=None)
    text = result.stdout.str()
    assert "1 passed" in text and "2 error" in text and text.count("safethread_patch: not here") >= 2, text


# The fixture safethread


def test_fixture_patches_during_the_test(project):
    project.run_case("fixture_safethread", *WARNINGS_ARE_ERRORS, expected={"passed": 5, "failed": 1})


@FORK
def test_readme_example(project):
    project.run_case("readme_example", "test_it.py::test_patched")
    if (3, 6) <= sys.version_info < (3, 13):
        project.run_case("readme_example", "test_it.py::test_stock", expected={"failed": 1})


def test_thread_is_put_back_after_each_test(project):
    project.run_case("put_back", expected={"passed": 4})


def test_patch_is_put_back_after_each_test(project):
    code = """
import safethread_patch
def test_uninstalls(): assert safethread_patch.uninstall()
def test_is_patched(): assert is_patched()
"""
    project.run_code(code, "--safethread", expected={"passed": 2})


# The fixture safethread_fork


@FORK
def test_fork_gives_back_what_happened(project):
    project.run_case("fork_outcomes", *WARNINGS_ARE_ERRORS, expected={"passed": 19})


@FORK
def test_fork_has_a_deadline(project):
    project.run_case("deadline", *WARNINGS_ARE_ERRORS, expected={"passed": 3})


@FORK
def test_what_the_child_s_child_leaves_behind_does_not_hang_the_parent(project):
    project.run_case("grandchildren", expected={"passed": 4})


@FORK
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_nobody_survives_in_the_child_s_group(project):
    project.run_case("process_group", expected={"passed": 2})


@FORK
def test_child_runs_nothing_of_the_parent(project):
    project.run_case("parents_teardown", expected={"passed": 2})
    assert project.tmpdir.join("notes").read() == "function"


@FORK
def test_interrupted_wait_kills_the_child(project):
    project.run_case("interrupted_wait")


@FORK
def test_fork_of_a_test_that_replaces_what_it_needs(project):
    project.run_case("replaced_means", *WARNINGS_ARE_ERRORS, expected={"passed": 10})


@FORK
def test_value_that_hides_itself(project):
    project.run_case("hidden_values", expected={"passed": 5})


def test_no_fork_skips_with_a_reason(project):
    code = """
import os
def test_it(monkeypatch, safethread_fork):
    monkeypatch.delattr(os, "fork", raising=False)
    safethread_fork(int)
"""
    result = project.run_code(code, "-rs", expected={"skipped": 1})
    assert "safethread_fork: no os.fork on" in result.stdout.str()


# Among other plugins


@FORK
def test_with_forked(project):
    pytest.importorskip("pytest_forked")
    project.run_case("other_plugins", "--forked", "--safethread", expected={"passed": 3})
    project.run_case("forked", expected={"passed": 3})


@FORK
def test_with_xdist(project):
    pytest.importorskip("xdist")
    result = project.run_case("other_plugins", "-n", "2", "--safethread", expected={"passed": 3})
    assert result.stdout.str().count("threading.Thread is patched") == 1
    project.run_case("other_plugins", "-n", "2", ini="safethread = true\n", expected={"passed": 3})


@FORK
@pytest.mark.parametrize("method", ["signal", "thread"])
def test_with_timeout(project, method):
    pytest.importorskip("pytest_timeout")
    options = ["--timeout=60", "--timeout-method=" + method]
    project.run_case("other_plugins", "--safethread", *options, expected={"passed": 3})


@FORK
def test_with_timeout_that_ends_a_fork(project):
    pytest.importorskip("pytest_timeout")
    code = """
import time
def test_it(safethread_fork):
    safethread_fork(time.sleep, 60, timeout=50)
"""
    options = ["--timeout=1", "--timeout-method=signal"]
    project.run_code(code, "--safethread", *options, expected={"failed": 1})


@FORK
def test_with_randomly(project):
    pytest.importorskip("pytest_randomly")
    result = project.run_case("other_plugins", "--safethread", randomly=True, expected={"passed": 3})
    assert "random" in result.stdout.str()


@FORK
def test_with_cov(project):
    pytest.importorskip("pytest_cov")
    options = ["--cov=test_it", "--cov-report=term"]
    result = project.run_case("other_plugins", "--safethread", *options, expected={"passed": 3})
    assert "TOTAL" in result.stdout.str()
