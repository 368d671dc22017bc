"""uWSGI forks its workers in C, without any at-fork hook: they are repaired by uWSGI's own post-fork hook.

Beside ``nox -s uwsgi`` these tests are skipped, unless there is a ``uwsgi`` beside the interpreter.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from conftest import HERE

UWSGI = os.path.join(os.path.dirname(sys.executable), "uwsgi")

pytestmark = pytest.mark.skipif(not os.path.exists(UWSGI), reason="no uwsgi beside the interpreter")

#: Seconds that uWSGI may take for what it is asked to do.
PATIENCE = 30


def wait(condition, process):
    for _ in range(PATIENCE * 20):
        result = condition()
        if result:
            return result
        time.sleep(0.05)
    pytest.fail("uWSGI does not come to it: " + process.log())
    return None


class Server(object):
    """A uWSGI that serves uwsgi_app.py."""

    def __init__(self, folder, steps, *options, **kwargs):
        self.folder = str(folder)
        self.reports = os.path.join(self.folder, "reports")
        os.mkdir(self.reports)
        path = os.pathsep.join([HERE] + kwargs.get("path", []) + [os.environ.get("PYTHONPATH", "")])
        env = dict(os.environ, STEPS=steps, REPORTS=self.reports, PYTHONPATH=path.rstrip(os.pathsep))
        command = kwargs.get("launcher", []) + [UWSGI, "-H", sys.prefix, "--wsgi", "uwsgi_app", "--need-app", "--die-on-term"]
        command += ["--http-socket", os.path.join(self.folder, "socket"), "--worker-reload-mercy", "5"]
        with open(os.path.join(self.folder, "log"), "w") as log:
            self.process = subprocess.Popen(
                command + list(options), cwd=self.folder, env=env, stdout=log, stderr=log, preexec_fn=os.setsid
            )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except OSError:
            pass
        self.process.wait()

    def log(self):
        with open(os.path.join(self.folder, "log")) as file:
            return file.read()

    def seen(self, count):
        """Return what ``count`` processes have reported, at least, a dict each."""

        def complete():
            names = [name for name in os.listdir(self.reports) if name.isdigit()]
            return names if len(names) >= count else None

        seen = []
        for name in wait(complete, self):
            with open(os.path.join(self.reports, name)) as file:
                seen.append(dict(json.load(file), pid=int(name)))
        return seen

    def request(self):
        """Return the pid of the worker that answers."""
        wait(lambda: os.path.exists(os.path.join(self.folder, "socket")), self)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(PATIENCE)
            connection.connect(os.path.join(self.folder, "socket"))
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while True:
                part = connection.recv(4096)
                if not part:
                    return int(answer.split(b"\r\n\r\n")[1])
                answer += part
        finally:
            connection.close()


def assert_repaired(seen, *processes):
    __tracebackhide__ = True
    assert sorted(one["process"] for one in seen) == sorted(processes), seen
    for one in seen:
        assert (one["lies"], one["repairs"]) == ([], 1), seen


MASTER = ["--master", "--processes", "2"]


def test_worker_of_stock_python(tmpdir):
    with Server(tmpdir, "family hook", *MASTER) as server:
        for one in server.seen(2):
            assert "enumerate() lists" in one["lies"][0], one


# Each way in


def test_install(tmpdir):
    with Server(tmpdir, "count install family hook", *MASTER) as server:
        assert_repaired(server.seen(2), "worker", "worker")


def test_import_of_auto(tmpdir):
    with Server(tmpdir, "count family hook", "--import", "safethread_patch.auto", *MASTER) as server:
        # uWSGI loads the program before what it imports
        assert_repaired(server.seen(2), "worker", "worker")


@pytest.mark.parametrize("site", ["", "import threading"])
def test_run(tmpdir, site):
    # a sitecustomize that imports threading is loaded before uWSGI adds its module
    path = tmpdir.mkdir("site")
    path.join("sitecustomize.py").write(site)
    launcher = [sys.executable, "-m", "safethread_patch", "run"]
    with Server(tmpdir, "count family hook", *MASTER, launcher=launcher, path=[str(path)]) as server:
        assert_repaired(server.seen(2), "worker", "worker")


# Beside the program's own hook


@pytest.mark.parametrize("steps", ["hook install family", "decorate install family", "install family decorate"])
def test_hook_of_the_program(tmpdir, steps):
    with Server(tmpdir, "count " + steps, *MASTER) as server:
        assert_repaired(server.seen(2), "worker", "worker")


def test_uninstall(tmpdir):
    with Server(tmpdir, "install hook family uninstall", *MASTER) as server:
        for one in server.seen(2):
            assert "enumerate() lists" in one["lies"][0], one


# uWSGI's options


@pytest.mark.parametrize(
    "options",
    [
        ["--enable-threads"],
        ["--threads", "2"],
        pytest.param(
            ["--py-call-osafterfork"], marks=pytest.mark.skipif(sys.version_info >= (3, 13), reason="stock workers abort")
        ),
        ["--py-call-uwsgi-fork-hooks"],
        ["--py-call-uwsgi-fork-hooks", "--enable-threads"],
    ],
)
def test_option(tmpdir, options):
    with Server(tmpdir, "count install family hook", *(MASTER + options)) as server:
        seen = server.seen(2)
        assert_repaired(seen, "worker", "worker")  # once, also where uWSGI calls the at-fork hooks
        assert server.request() in [one["pid"] for one in seen]


def test_no_master(tmpdir):
    # the first worker is the process that has imported the program
    with Server(tmpdir, "count install family hook", "--processes", "2") as server:
        first, second = sorted(server.seen(2), key=lambda one: one["pid"] != server.process.pid)
        assert (first["pid"], first["repairs"], first["lies"]) == (server.process.pid, 0, []), first
        assert_repaired([second], "worker")


def test_lazy_apps(tmpdir):
    with Server(tmpdir, "count install family hook", "--lazy-apps", "--shared-import", "uwsgi_app", *MASTER) as server:
        assert_repaired(server.seen(2), "worker", "worker")


@pytest.mark.parametrize("steps, lies", [("report", ["native_id is another"]), ("install report", [])])
def test_install_in_the_worker(tmpdir, steps, lies):
    # the program is loaded in the worker, after the post-fork hook
    with Server(tmpdir, steps, "--lazy-apps", "--shared-import", "threading", *MASTER) as server:
        assert [one["lies"] for one in server.seen(2)] == [lies, lies]


def test_mule_and_spooler(tmpdir):
    spool = tmpdir.mkdir("spool")
    options = ["--master", "--mule", "--spooler", str(spool)]
    with Server(tmpdir, "count install family hook", *options) as server:
        assert_repaired(server.seen(3), "worker", "mule", "spooler")


AT_ONCE = ["--max-requests", "1", "--min-worker-lifetime", "0"]


def test_max_requests(tmpdir):
    with Server(tmpdir, "count install family hook", "--master", *AT_ONCE) as server:
        (first,) = server.seen(1)
        assert server.request() == first["pid"]
        assert_repaired(server.seen(2), "worker", "worker")


def test_reload(tmpdir):
    with Server(tmpdir, "count install family hook", "--master") as server:
        server.seen(1)
        os.kill(server.process.pid, signal.SIGHUP)
        assert_repaired(server.seen(2), "worker", "worker")
