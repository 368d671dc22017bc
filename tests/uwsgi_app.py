"""The program that test_uwsgi.py serves: Threads of all kinds in the master, and what each process that it forks sees of them.

The environment variable STEPS names what it does when it is imported, in this order.
"""
import json
import os
import sys
import threading

import child

sys.modules.setdefault("pytest", child.Pytest("pytest"))

import uwsgi  # noqa: E402  uWSGI adds it
from test_disturbed_child import Family  # noqa: E402

import safethread_patch  # noqa: E402
from safethread_patch import _fork  # noqa: E402

FOLDER = os.path.dirname(os.environ["REPORTS"])
MAIN = threading.current_thread()
PID = os.getpid()

families = []
repairs = []


def process():
    if uwsgi.worker_id():
        return "worker"
    return "mule" if uwsgi.mule_id() else "spooler"


def report():
    """Write what this process sees into a file of its own."""
    again = safethread_patch.repair_child()
    lies = [family.lie(MAIN) for family in families if os.getpid() != PID]
    if hasattr(MAIN, "native_id") and MAIN.native_id != os.getpid():
        lies.append("native_id is another")
    seen = {"process": process(), "lies": [lie for lie in lies if lie], "repairs": len(repairs) + again}
    path = os.path.join(os.environ["REPORTS"], str(os.getpid()))
    with open(path + ".tmp", "w") as file:
        json.dump(seen, file)
    os.rename(path + ".tmp", path)


def set_hook():
    uwsgi.post_fork_hook = report
    assert uwsgi.post_fork_hook is report


def uninstall():
    assert safethread_patch.uninstall()
    assert type(uwsgi) is type(os) and vars(uwsgi)["post_fork_hook"] is report


def decorate():
    import uwsgidecorators

    uwsgidecorators.postfork(report)


def count_repairs():
    repair_process = _fork.repair_process

    def counted(*args, **kwargs):
        repairs.append(os.getpid())
        repair_process(*args, **kwargs)

    _fork.repair_process = counted


STEPS = {
    "install": safethread_patch.install,
    "uninstall": uninstall,
    "count": count_repairs,
    "family": lambda: families.append(Family()),
    "hook": set_hook,
    "decorate": decorate,
    "report": report,
}

for step in os.environ["STEPS"].split():
    STEPS[step]()


def application(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
