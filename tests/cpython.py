"""CPython's own tests, stock and with the patch: python cpython.py FOLDER [TEST ...], on the interpreter in question.

Compares test by test, and ends with 0 only if no test that passes on stock fails with the patch, but for those
listed in EXPECTED. In a virtual environment it enables the patch there, so that the interpreters that the tests start
with -I load it as well. Elsewhere it uses ``run``, which those interpreters ignore. nox -s cpython runs it.
"""
from __future__ import print_function

import os
import re
import signal
import subprocess
import sys
import time

#: All tests that have to do with threads or forks. No version has all of them.
TESTS = """
    test_threading test_thread test_threading_local test_threadsignals test_threadedtempfile test_threaded_import
    test_fork1 test_queue test_logging test_socketserver test_concurrent_futures test_multiprocessing_fork
    test_asyncio test_subprocess test_dummy_thread test_thread_local_bytecode test_free_threading
    test_signal test_faulthandler test_os test_posix test_wait3 test_wait4 test_sys test_context test_functools
    test_weakref test_gc test_random test_tempfile test_httpservers test_pdb test_sys_settrace
""".split()

#: ``name: reason`` of the tests that assert a defect itself, or a detail of the implementation.
EXPECTED = {
    "test.test_threading.ThreadTests.test_finalize_daemon_thread_hang": "wrapt imports logging, which flushes "
    "sys.stderr at exit, before the interpreter finalizes. The test mistakes that flush for its own. It fails on stock "
    "as well if logging is imported.",
}

#: Left out. It loses its interrupt when that comes at the recursion limit, where the handler cannot be called, and then
#: never ends. Seen on 3.13.0, once on stock and once with the patch.
NEVER_ENDING = "test_print_exception_gh_102056"

#: Seconds after which a run of all tests counts as a hang.
DEADLINE = 2400

IN_ENVIRONMENT = sys.prefix != getattr(sys, "base_prefix", sys.prefix)

_PROBE = "import threading, safethread_patch; print(safethread_patch.is_installed())"

# Python 2 writes no XML, but lines such as "test_name (class) ... ok". What the test prints may come in between.
_LINE = re.compile(r"^(\w+ \([\w.]+\)) ?\.\.\. (?:.* \.\.\. )?(ok|FAIL|ERROR|skipped)?", re.M)
_RESULT = re.compile(r"^(ok|FAIL|ERROR|skipped .*)$", re.M)


class Mode(object):
    """The command line and the environment that make the interpreter stock, or patched."""

    def __init__(self, name, folder):
        self.name = name
        self.log = os.path.join(folder, name + ".log")
        self.xml = os.path.join(folder, name + ".xml")
        self.work = os.path.join(folder, name)
        is_patched = name == "patched"
        self.env = dict(os.environ, SAFETHREAD_PATCH="1" if is_patched else "0")
        self.command = [sys.executable]
        if is_patched and not IN_ENVIRONMENT:
            self.command += ["-m", "safethread_patch", "run", sys.executable]

    def check(self):
        """Raise RuntimeError if the interpreter is not what the mode's name says."""
        for flags in [[], ["-I"]] if IN_ENVIRONMENT else [[]]:
            is_patched = subprocess.check_output(self.command + flags + ["-c", _PROBE], env=self.env).decode().strip()
            if is_patched != str(self.name == "patched"):
                raise RuntimeError("%s: %s is patched: %s" % (self.name, " ".join(self.command + flags), is_patched))

    def run(self, tests):
        """Run the tests and return ``{name of the test: "ok", "skipped" or what went wrong}``."""
        if not os.path.isdir(self.work):
            os.makedirs(self.work)
        if os.path.exists(self.xml):
            os.remove(self.xml)
        options = ["-u", "network,cpu"]  # network: the loopback address
        if sys.version_info < (3,):
            command = ["-m", "test.regrtest", "-v"] + options + tests
        else:
            # each file in a process of its own, so that a hang ends that file only
            command = ["-m", "test", "-j1", "--timeout", "300", "--junit-xml", self.xml, "-i", NEVER_ENDING]
            command += options + tests
        with open(self.log, "w") as out:
            process = subprocess.Popen(
                self.command + command,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.work,
                env=self.env,
                preexec_fn=os.setsid,
            )
            end = time.time() + DEADLINE
            while process.poll() is None and time.time() < end:
                time.sleep(0.5)
            try:
                os.killpg(process.pid, signal.SIGKILL)  # also what a test has left running
            except OSError:
                pass
            process.wait()
        return parse_log(self.log) if sys.version_info < (3,) else parse_xml(self.xml)


def parse_log(path):
    with open(path) as file:
        text = file.read()
    results = {}
    begins = list(_LINE.finditer(text))
    for begin, following in zip(begins, begins[1:] + [None]):
        result = begin.group(2)
        if result is None:  # it comes after what the test has printed
            match = _RESULT.search(text, begin.end(), following.start() if following else len(text))
            result = match.group(1) if match else "no result"
        results.setdefault(begin.group(1), result)
    return results


def parse_xml(path):
    import xml.etree.ElementTree

    if not os.path.exists(path):
        return {}  # the run ended before it was written
    results = {}
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        outcomes = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        if case.get("name"):  # a test whose subtests fail has none
            results[case.get("name")] = outcomes[0] if outcomes else "ok"
    return results


def main(folder, tests):
    # a shell's background jobs ignore SIGINT, and so do their children: tests that interrupt themselves would hang
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = os.path.abspath(folder)
    present = set(name.partition(".")[0] for place in __import__("test").__path__ for name in os.listdir(place))
    tests = [name for name in tests or TESTS if name in present]
    modes = [Mode(name, folder) for name in ("stock", "patched")]
    if IN_ENVIRONMENT:
        subprocess.check_call([sys.executable, "-m", "safethread_patch", "enable"])
    for mode in modes:
        mode.check()
    stock, patched = [mode.run(tests) for mode in modes]
    passed = [name for name in sorted(stock) if stock[name] == "ok"]
    worse = [name for name in passed if patched.get(name) != "ok"]
    print("%s: %s" % (sys.version.split()[0], " ".join(tests)))
    counts = (len(passed), len(passed) - len(worse), folder)
    print("%d tests pass on stock, %d of them with the patch; logs in %s" % counts)
    for name in worse:
        why = ": " + EXPECTED[name] if name in EXPECTED else ""
        print("%s: %s with the patch%s" % (name, patched.get(name, "failed, or did not run"), why))
    return 1 if not passed or set(worse) - set(EXPECTED) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
