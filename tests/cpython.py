"""CPython's own tests, stock and with the patch: python cpython.py FOLDER [TEST ...], on the interpreter in question.

Compares test by test, and ends with 0 only if no test that passes on stock fails with the patch, but for those
listed in EXPECTED. nox -s cpython runs it.
"""
from __future__ import print_function

import os
import re
import subprocess
import sys

#: All that have to do with threads or forks; which of them there are depends on the version.
TESTS = """
    test_threading test_thread test_threading_local test_threadsignals test_threadedtempfile test_threaded_import
    test_fork1 test_queue test_logging test_socketserver test_concurrent_futures test_multiprocessing_fork
    test_asyncio test_subprocess test_dummy_thread test_thread_local_bytecode test_free_threading
    test_signal test_faulthandler test_os test_posix test_wait3 test_wait4 test_sys test_sys_settrace test_sys_setprofile
    test_trace test_bdb test_pdb test_context test_functools test_importlib test_weakref test_gc test_tracemalloc
    test_random test_tempfile test_uuid test_httpservers test_sched test_multiprocessing test_multiprocessing_forkserver
""".split()

#: Tests that assert a defect itself, or a detail of the implementation, by name, and why.
EXPECTED = {}

DEADLINE = 1800

_LINE = re.compile(r"^(\w+ \([\w.]+\)) \.\.\. (?:.*\.\.\. )?(\w+)")


def run(python, mode, tests, folder):
    """Run the tests; return ``{name of the test: "ok", "skipped" or what went wrong}``."""
    log = os.path.join(folder, mode + ".log")
    work = os.path.join(folder, mode)
    if not os.path.isdir(work):
        os.makedirs(work)
    patched = ["-m", "safethread_patch", "run", python] if mode == "patched" else []
    if sys.version_info < (3,):
        command = ["-m", "test.regrtest", "-v", "-u", "network"]  # the loopback address
    else:
        xml = os.path.join(folder, mode + ".xml")
        if os.path.exists(xml):
            os.remove(xml)
        command = ["-m", "test", "-u", "network", "--timeout", "600", "--junit-xml", xml]
    with open(log, "w") as out:
        subprocess.call([python] + patched + command + tests, stdout=out, stderr=subprocess.STDOUT, cwd=work)
    return parse_log(log) if sys.version_info < (3,) else parse_xml(xml)


def parse_log(path):
    with open(path) as file:
        return dict((found.group(1), found.group(2)) for found in map(_LINE.match, file) if found)


def parse_xml(path):
    import xml.etree.ElementTree

    if not os.path.exists(path):
        return {}  # it did not get there
    results = {}
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        what = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        results[case.get("name")] = what[0] if what else "ok"
    return results


def main(folder, tests):
    folder = os.path.abspath(folder)
    places = __import__("test").__path__
    shipped = set(name.partition(".")[0] for place in places for name in os.listdir(place))
    tests = [name for name in tests or TESTS if name in shipped]
    stock, patched = [run(sys.executable, mode, tests, folder) for mode in ("stock", "patched")]
    passed = [name for name in sorted(stock) if stock[name] == "ok"]
    worse = [name for name in passed if patched.get(name) != "ok"]
    print("%s: %s" % (sys.version.split()[0], " ".join(tests)))
    print("%d tests pass on stock, %d of them with the patch; logs in %s" % (len(passed), len(passed) - len(worse), folder))
    for name in worse:
        print("%s: %s with the patch%s" % (name, patched.get(name, "not run"), ": " + EXPECTED[name] if name in EXPECTED else ""))
    return 1 if not passed or set(worse) - set(EXPECTED) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
