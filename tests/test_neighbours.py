"""The patch beside libraries that patch threads or use threads and forks.

A test is skipped where its library is not installed. nox -s neighbours installs all of them.
"""
import functools
import os
import sys
import threading
import time
import warnings

import pytest
from conftest import in_child, run, start_in_child
from helpers import error_of, held_start, nothing_seen

import safethread_patch
from safethread_patch import _threads
from safethread_patch._defects._hold import in_forked_child, wait_for, witnessed

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork")

#: The options of a child in which libraries are imported: what those warn of is not tested here.
NO_WARNINGS = ["-W", "ignore"]

#: Which of the two is the first to patch threads, or to undo its patch.
ORDERS = ["safethread_patch first", "library first"]


def skip_without(library):
    if "NEIGHBOURS" in os.environ:  # nox -s neighbours has installed all of them
        __import__(library)
    pytest.importorskip(library)


def needs(library):
    """Decorate a test: it is skipped where ``library`` is not installed."""

    def decorate(test):
        @functools.wraps(test)
        def test_or_skip(**arguments):
            skip_without(library)
            test(**arguments)

        test_or_skip.__wrapped__ = getattr(test, "__wrapped__", test)  # Python 2 does not set it, see in_child()
        return test_or_skip

    return decorate


def install_in_order(order, patch_by_library):
    """Patch threads with both, in the given order."""
    if order == "safethread_patch first":
        assert safethread_patch.install()
        patch_by_library()
    else:
        patch_by_library()
        assert safethread_patch.install()


# What the patch promises of whatever threading.Thread is now


def start_and_note(thread, outcomes):
    try:
        thread.start()
    except RuntimeError:
        outcomes.append("refused")
    else:
        outcomes.append("ok")


def check_patched():
    for _ in range(20):
        thread = threading.Thread(target=int)
        thread.start()
        assert not _threads.is_in_limbo(thread), "start() returned while the thread was in limbo"
        thread.join()
        error_of(RuntimeError, thread.start)
    thread, alive = witnessed(threading.Thread)  # not the default: gevent has replaced the class since

    def look():
        assert not thread.is_alive()
        thread.start()
        thread.join()
        assert alive == [True] and not thread.is_alive(), alive

    nothing_seen(in_forked_child(look))
    for _ in range(10):
        ran = []
        outcomes = []
        thread = threading.Thread(target=ran.append, args=(1,))
        starters = [threading.Thread(target=start_and_note, args=(thread, outcomes)) for _ in range(2)]
        for starter in starters:
            starter.start()
        for starter in starters:
            starter.join()
        thread.join()
        assert (sorted(outcomes), ran) == (["ok", "refused"], [1]), (outcomes, ran)


def check_unpatched():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert not thread.is_alive()


# Greenlets, whose hub must not block


class Gevent(object):
    def patch(self):
        import gevent.monkey

        gevent.monkey.patch_all()
        self.spawn = gevent.spawn
        self.sleep = gevent.sleep

    def call_in_real_thread(self, function):
        from gevent.threadpool import ThreadPool

        return ThreadPool(2).apply(function)


class Eventlet(object):
    def patch(self):
        import eventlet

        eventlet.monkey_patch()
        self.spawn = eventlet.spawn
        self.sleep = eventlet.sleep

    def call_in_real_thread(self, function):
        from eventlet import tpool

        return tpool.execute(function)


GREENLET_LIBRARIES = {"eventlet": Eventlet, "gevent": Gevent}


def check_greenlets(library, order):
    greenlets = GREENLET_LIBRARIES[library]()
    install_in_order(order, greenlets.patch)
    ticks = []

    def tick():
        while True:
            ticks.append(1)
            greenlets.sleep(0.001)

    greenlets.spawn(tick)
    check_patched()
    assert held_start(threading.Thread(target=int)) is False  # start() waits without blocking the hub
    before = len(ticks)
    thread = threading.Thread(target=time.sleep, args=(0.3,))
    thread.start()
    thread.join()
    assert len(ticks) - before > 30, "the hub stood still"
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    threads = [thread] + [threading.Thread(target=thread.join) for _ in range(3)]
    for one in threads:
        one.start()
    if library != "eventlet" or not _threads.HAS_HANDLE:  # whose join() raises Timeout then, from 3.13 on, also without the patch
        thread.join(0.01)
    assert all(one.is_alive() for one in threads)
    over.set()
    for one in threads:
        one.join()
    assert not any(one.is_alive() for one in threads)
    assert greenlets.call_in_real_thread(lambda: 42) == 42
    assert safethread_patch.uninstall() is True
    check_unpatched()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("library", sorted(GREENLET_LIBRARIES))
def test_greenlets(library, order):
    skip_without(library)
    # gevent's own waitpid() may miss the end of a child that ended a moment before, and then never returns: 10 of 150
    # runs on a busy 3.14 without the patch, 0 of 400 with this variable
    env = {"GEVENT_NOWAITPID": "1"}
    ended = start_in_child(check_greenlets, library, order, flags=NO_WARNINGS, env=env)
    assert (ended.status, ended.out) == (0, "done None\n"), ended


@pytest.mark.parametrize("patch", ["gevent.monkey; gevent.monkey.patch_all()", "eventlet; eventlet.monkey_patch()"])
def test_greenlets_under_run(tmpdir, patch):
    # eventlet imports threading twice more, and puts the first one back; it reports each RLock that it has not reached
    skip_without(patch.partition(";")[0])
    program = tmpdir.join("program.py")
    program.write("import %s\n" % patch + """
import os, threading
import safethread_patch
owner = next(cls for cls in threading.Thread.__mro__ if "start" in vars(cls))

def file():
    return os.path.basename(owner.start.__code__.co_filename)

thread = threading.Thread(target=int)
thread.start()
thread.join()
assert safethread_patch.is_installed() and file() == "_start.py", file()
assert safethread_patch.uninstall() and file() == "threading.py", file()
thread = threading.Thread(target=int)
thread.start()
thread.join()
print("done")
""")
    command = [sys.executable, "-m", "safethread_patch", "run", str(program)]
    ended = run(command, env={"PYTHONWARNINGS": "ignore"})
    assert (ended.status, ended.out, ended.err) == (0, "done\n", ""), ended


def pool_of_greenlets(library):
    from concurrent.futures import ThreadPoolExecutor

    install_in_order("safethread_patch first", GREENLET_LIBRARIES[library]().patch)
    pool, go = ThreadPoolExecutor(1), threading.Event()
    running, queued = pool.submit(go.wait), pool.submit(int)

    pid = os.fork()
    if not pid:
        assert pool.submit(abs, -3).result() == 3
        error_of(RuntimeError, queued.result)
        go.set()  # the worker lives on, and finds the parent's work in its queue
        time.sleep(0.1)
        os._exit(7)
    ends = []  # not in_forked_child(): gevent's select() misses the end of a child that has run its hub
    wait_for(lambda: ends.append(os.waitpid(pid, os.WNOHANG)) or ends[-1][0], "the child ends")
    assert ends[-1][1] == 7 << 8
    go.set()
    assert running.result() is True and queued.result() == 0
    safethread_patch.uninstall()


@pytest.mark.parametrize("library", sorted(GREENLET_LIBRARIES))
def test_pool_of_greenlets(library):
    skip_without(library)
    ended = start_in_child(pool_of_greenlets, library, flags=NO_WARNINGS, env={"GEVENT_NOWAITPID": "1"})
    assert (ended.status, ended.out) == (0, "done None\n") and "CRITICAL" not in ended.err, ended


# Tools that patch the same methods


@needs("sentry_sdk")
@pytest.mark.parametrize("order", ORDERS)
@in_child(flags=NO_WARNINGS)
def test_sentry(order):
    import sentry_sdk
    from sentry_sdk.integrations.threading import ThreadingIntegration
    from sentry_sdk.transport import Transport

    events = []

    class ListTransport(Transport):
        def capture_envelope(self, envelope):
            events.append(envelope.get_event())

    def init():
        sentry_sdk.init(
            "http://key@127.0.0.1:9/1",
            transport=ListTransport,
            default_integrations=False,
            integrations=[ThreadingIntegration(propagate_scope=True)],
        )

    def check_sentry():
        sentry_sdk.set_tag("who", "the parent")
        del events[:]
        original = threading.excepthook
        threading.excepthook = lambda args: None
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        threading.excepthook = original
        assert [event["exception"]["values"][0]["type"] for event in events] == ["ZeroDivisionError"]
        assert events[0]["tags"] == {"who": "the parent"}

    install_in_order(order, init)
    check_patched()
    check_sentry()
    warnings.simplefilter("ignore")
    safethread_patch.uninstall()
    check_sentry()
    assert safethread_patch.install()
    check_patched()
    check_sentry()


@needs("opentelemetry.instrumentation.threading")
@pytest.mark.parametrize("undone", ORDERS)
@pytest.mark.parametrize("order", ORDERS)
@in_child(flags=NO_WARNINGS)
def test_opentelemetry(order, undone):
    from opentelemetry import context
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor

    def context_is_propagated():
        token = context.attach(context.set_value("key", "a value"))
        values = []
        thread = threading.Thread(target=lambda: values.append(context.get_value("key")))
        thread.start()
        thread.join()
        context.detach(token)
        return values == ["a value"]

    stock = [vars(threading.Thread)[name] for name in ("start", "run")]
    instrumentor = ThreadingInstrumentor()
    install_in_order(order, instrumentor.instrument)
    check_patched()
    assert context_is_propagated()
    warnings.simplefilter("ignore")
    if undone == "library first":
        instrumentor.uninstrument()
        check_patched()
        # it does not see its own patch under another one, and leaves it there
        assert context_is_propagated() is (order == "library first")
        assert safethread_patch.uninstall()
    else:
        safethread_patch.uninstall()
        assert context_is_propagated()
        instrumentor.uninstrument()
        assert not context_is_propagated()
        safethread_patch.uninstall()
    if (order, undone) != ("library first", "library first"):
        assert all(vars(threading.Thread)[name] is method for name, method in zip(("start", "run"), stock))
        assert safethread_patch.status()["others"] == {}
    check_unpatched()


# Launchers


@needs("gevent")
@pytest.mark.parametrize("monkey", ["gevent", "no"])
@pytest.mark.parametrize("order", ORDERS)
def test_ddtrace_run(tmpdir, order, monkey):
    # where gevent is installed, it removes threading and _thread from sys.modules, and the program imports them anew
    launcher = os.path.join(os.path.dirname(sys.executable), "ddtrace-run")
    if not os.path.exists(launcher) and "NEIGHBOURS" not in os.environ:
        pytest.skip("no ddtrace")
    # it is to trace nothing, and to connect to nobody
    switches = ("DD_TRACE_ENABLED", "DD_INSTRUMENTATION_TELEMETRY_ENABLED", "DD_REMOTE_CONFIGURATION_ENABLED")
    env = dict((name, "false") for name in switches)
    alone = run([launcher, sys.executable, "-c", "import threading"], env=env)
    if "This version of CPython is not supported yet" in alone.err:
        pytest.skip("ddtrace does not know this interpreter")
    program = tmpdir.join("program.py")
    program.write("""
import sys
if sys.argv[1] == "gevent":
    import gevent.monkey
    gevent.monkey.patch_all()
import threading
thread = threading.Thread(target=int)
thread.start()
thread.join()
owner = next(cls for cls in threading.Thread.__mro__ if "start" in vars(cls))
print(owner.start.__code__.co_filename.endswith("safethread_patch/_start.py"))
import safethread_patch
print(safethread_patch.is_installed())
""")
    patched = [sys.executable, "-m", "safethread_patch", "run"]
    if order == "safethread_patch first":
        command = patched + [launcher, sys.executable]
    else:
        command = [launcher] + patched
    ended = run(command + [str(program), monkey], env=env)
    assert (ended.status, ended.out) == (0, "True\nTrue\n"), ended


@needs("opentelemetry.instrumentation.threading")
@needs("sentry_sdk")
@in_child(flags=NO_WARNINGS)
def test_pool_whose_submit_both_patch():
    from concurrent.futures import ThreadPoolExecutor

    import sentry_sdk
    from opentelemetry import context
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor
    from sentry_sdk.integrations.threading import ThreadingIntegration

    safethread_patch.install()
    stock = vars(ThreadPoolExecutor)["submit"]
    ThreadingInstrumentor().instrument()
    sentry_sdk.init("http://key@127.0.0.1:9/1", default_integrations=False, integrations=[ThreadingIntegration()])
    assert vars(ThreadPoolExecutor)["submit"] is not stock
    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()

    def look():
        context.attach(context.set_value("key", "a value"))
        assert pool.submit(context.get_value, "key").result() == "a value"

    nothing_seen(in_forked_child(look))
    pool.shutdown()
    safethread_patch.uninstall()


# Servers that fork

# a module that gunicorn imports
APP = """
import os
import threading

over = threading.Event()
thread = threading.Thread(target=over.wait)
thread.daemon = True
threading.Thread(target=int).start()


def app(environ, start_response):
    try:
        if environ["PATH_INFO"] == "/start":
            thread.start()
        body = "%d %s" % (os.getpid(), thread.is_alive())
    except RuntimeError as error:
        body = "%d %s" % (os.getpid(), error)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "close")])
    return [body.encode("ascii")]
"""


# the same with a pool that was used at import, and asyncio's default executor
POOLS = """
import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(2)
list(pool.map(abs, range(9)))
loop = asyncio.new_event_loop()
for _ in range(2):
    loop.run_until_complete(loop.run_in_executor(None, int))


def ask(path):
    if path == "/pool":
        return pool.submit(abs, -3).result(timeout=5)
    if path == "/asyncio":
        return loop.run_until_complete(asyncio.wait_for(loop.run_in_executor(None, abs, -4), 5))
    return 0


def app(environ, start_response):
    try:
        answer = ask(environ["PATH_INFO"])
    except Exception as error:  # a TimeoutError
        answer = type(error).__name__
    body = "%d %s" % (os.getpid(), answer)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "close")])
    return [body.encode("ascii")]
"""


def free_port():
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def get(port, path):
    """Return the body of the answer."""
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(("GET %s HTTP/1.0\r\n\r\n" % path).encode("ascii"))
        answer = b""
        while True:
            part = connection.recv(4096)
            if not part:
                return answer.decode("ascii").rpartition("\r\n\r\n")[2]
            answer += part


class Server(object):
    """gunicorn --preload with three workers, on the loopback address."""

    def __init__(self, tmpdir, launcher, *options, **app):
        import subprocess

        tmpdir.join("app.py").write(app.get("app", APP))
        self.port = free_port()
        self._log = open(str(tmpdir.join("log")), "w+")
        command = [sys.executable, "-m"] + launcher + ["gunicorn", "--preload", "--workers=3"]
        command += ["--bind=127.0.0.1:%d" % self.port] + list(options) + ["app:app"]
        env = dict(os.environ, PYTHONPATH=os.environ.get("PYTHONPATH", ""), PYTHONDONTWRITEBYTECODE="1")
        self._process = subprocess.Popen(
            command, cwd=str(tmpdir), stdout=self._log, stderr=self._log, env=env, start_new_session=True
        )

    def __enter__(self):
        for _ in range(300):
            try:
                get(self.port, "/")
                return self
            except EnvironmentError:
                time.sleep(0.1)
        raise RuntimeError("no answer: " + self.log())

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def __exit__(self, *exc_info):
        self._process.terminate()
        self._process.wait()
        self._log.close()


def answers(server, path, workers=3):
    """Ask until each of the workers has answered; return the first answer of each, by its pid."""
    first_answers = {}
    for _ in range(2000):
        pid, _, answer = get(server.port, path).partition(" ")
        first_answers.setdefault(pid, answer)
        if len(first_answers) == workers:
            return first_answers
    raise RuntimeError("only %r answered" % first_answers)


@needs("gunicorn")
@pytest.mark.parametrize("worker", [[], ["--worker-class=gthread", "--threads=2"]], ids=["sync", "gthread"])
def test_gunicorn(tmpdir, worker):
    with Server(tmpdir, ["safethread_patch", "run", "-m"], *worker) as server:
        assert set(answers(server, "/").values()) == set(["False"])
        # a worker may be asked to start it twice before each has answered once
        started = answers(server, "/start")
        assert set(started.values()) <= set(["True", "threads can only be started once"]), started
        assert set(answers(server, "/").values()) == set(["True"])
    if (3, 7) <= sys.version_info < (3, 13):
        with Server(tmpdir, [], *worker) as server:  # stock: the thread runs, and is_alive() says False
            answers(server, "/start")
            assert "False" in answers(server, "/").values()


@needs("gunicorn")
@pytest.mark.parametrize("worker", [[], ["--worker-class=gthread", "--threads=2"]], ids=["sync", "gthread"])
def test_pool_under_gunicorn(tmpdir, worker):
    with Server(tmpdir, ["safethread_patch", "run", "-m"], *worker, app=POOLS) as server:
        assert set(answers(server, "/pool").values()) == set(["3"]), server.log()
        if not worker:  # one loop for two threads is not asyncio's way
            assert set(answers(server, "/asyncio").values()) == set(["4"]), server.log()
    with Server(tmpdir, [], *worker, app=POOLS) as server:  # stock: the pool does nothing
        assert get(server.port, "/pool").endswith("TimeoutError"), server.log()


# a program: the worker imports it by the name of its file
TASKS = """
import os
import threading

from celery import Celery
from celery.signals import worker_ready

app = Celery("tasks", broker="memory://", backend="cache+memory://")
over = threading.Event()
thread = threading.Thread(target=over.wait, daemon=True)
threading.Thread(target=int).start()


@app.task
def start(path):
    thread.start()
    with open(path, "w") as file:
        file.write(str(thread.is_alive()))


def stop_after_answer(path):
    for _ in range(300):
        if os.path.exists(path) and os.path.getsize(path):
            break
        over.wait(0.1)
    app.control.shutdown()
    os.kill(os.getpid(), 15)


if __name__ == "__main__":
    path = os.path.join(os.getcwd(), "answer")

    @worker_ready.connect
    def ready(sender, **kwargs):
        start.apply_async(args=[path])
        threading.Thread(target=stop_after_answer, args=(path,), daemon=True).start()

    app.worker_main(
        ["worker", "--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle", "--loglevel=ERROR"]
    )
"""


@needs("celery")
def test_celery_prefork(tmpdir):
    tmpdir.join("tasks.py").write(TASKS)
    command = [sys.executable, "-W", "ignore", "-m", "safethread_patch", "run", "tasks.py"]
    ended = run(command, cwd=str(tmpdir), env={"C_FORCE_ROOT": "1"}, deadline=90)
    assert tmpdir.join("answer").check() and tmpdir.join("answer").read() == "True", ended


# The standard library, and an event loop


def sum_of_executor(loop):
    """Let the loop's executor call abs() in its threads, and return the sum."""
    import asyncio

    futures = [loop.run_in_executor(None, abs, number) for number in range(100)]
    return sum(loop.run_until_complete(asyncio.gather(*futures)))


@pytest.mark.skipif(sys.version_info < (3, 7), reason="3.7 and later")
@in_child(flags=NO_WARNINGS)
def test_pools_executors_and_subprocesses():
    import asyncio
    import multiprocessing
    import subprocess
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

    safethread_patch.install()
    executor = ThreadPoolExecutor(4)
    assert sum(executor.map(int, range(100))) == 4950
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            assert sum(pool.map(abs, range(100))) == 4950
        if hasattr(sys, "pypy_version_info") and method != "fork":
            continue  # PyPy 7.3.11 has no _adjust_process_count, on stock either
        with ProcessPoolExecutor(2, mp_context=context) as processes:
            assert sum(processes.map(abs, range(100))) == 4950

    def look():
        answer = ThreadPoolExecutor(1).submit(abs, -3).result()
        return None if answer == 3 else "the executor says %r" % answer

    nothing_seen(in_forked_child(look))
    loop = asyncio.new_event_loop()
    assert sum_of_executor(loop) == 4950
    if sys.version_info >= (3, 9):
        loop.run_until_complete(loop.shutdown_default_executor())  # joins the executor in a thread
    loop.close()
    options = {"preexec_fn": os.getpid}  # with it, subprocess calls the at-fork hooks
    threads = [threading.Thread(target=subprocess.check_call, args=(["true"],), kwargs=options) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_patched()


@needs("uvloop")
@in_child(flags=NO_WARNINGS)
def test_uvloop():
    import asyncio

    import uvloop

    safethread_patch.install()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    assert sum_of_executor(loop) == 4950
    process = loop.run_until_complete(asyncio.create_subprocess_exec("true"))
    assert loop.run_until_complete(process.wait()) == 0
    check_patched()


@needs("freezegun")
@in_child(flags=NO_WARNINGS)
def test_frozen_clock():
    safethread_patch.install()
    import freezegun

    with freezegun.freeze_time("2013-01-01"):
        check_patched()


# Debuggers and tracers


@in_child
def test_traceback_of_a_thread_has_few_frames_of_the_patch():
    import traceback

    safethread_patch.install()
    stack = []
    thread = threading.Thread(target=lambda: stack.extend(traceback.extract_stack()))
    thread.start()
    thread.join()
    frames = [(os.path.basename(frame[0]), frame[2]) for frame in stack]
    assert [name for file, name in frames if file == "_announce.py"] == ["run"], frames
    try:
        threading.Thread(target=int).start(0)
    except TypeError:
        text = traceback.format_exc()
    else:
        raise AssertionError("start() took an argument")
    assert text.count("_start.py") <= 1, text


@in_child
def test_tracers_see_the_code_of_the_user():
    safethread_patch.install()
    traced = []
    profiled = []

    def trace(frame, event, argument):
        traced.append(frame.f_code.co_name)
        return trace

    def target():
        return 1

    threading.settrace(trace)
    threading.setprofile(lambda frame, event, argument: profiled.append(frame.f_code.co_name))
    sys.settrace(trace)
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    sys.settrace(None)
    threading.settrace(None)
    threading.setprofile(None)
    assert "target" in traced and "target" in profiled and "start" in traced


@needs("faulthandler")
@in_child
def test_faulthandler_dump():
    import faulthandler
    import tempfile

    safethread_patch.install()
    over = threading.Event()

    def a_function_of_the_user():
        over.wait()

    def dump():
        with tempfile.TemporaryFile("w+") as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            return file.read()

    thread = threading.Thread(target=a_function_of_the_user)
    thread.start()
    wait_for(lambda: "a_function_of_the_user" in dump(), "the dump shows the thread")
    assert dump().count("_announce.py") == 1
    over.set()


PROGRAM = """\
import threading

def target():
    number = 41
    return number + 1

thread = threading.Thread(target=target)
thread.start()
thread.join()
print("fine")
"""


@needs("coverage")
def test_coverage(tmpdir):
    tmpdir.join("program.py").write(PROGRAM)
    command = [sys.executable, "-m", "safethread_patch", "run", "-m", "coverage", "run", "--include=program.py"]
    ended = run(command + ["program.py"], cwd=str(tmpdir))
    assert ended.status == 0 and ended.err == "", ended
    ended = run([sys.executable, "-m", "coverage", "report"], cwd=str(tmpdir))
    assert "100%" in ended.out, ended


def test_pdb(tmpdir):
    tmpdir.join("program.py").write(PROGRAM)
    tmpdir.join("commands").write("break target\ncontinue\ncontinue\ncontinue\nquit\n")
    command = [sys.executable, "-m", "safethread_patch", "run", "-m", "pdb", "program.py"]
    ended = run(command, cwd=str(tmpdir), stdin=str(tmpdir.join("commands")))
    assert "fine" in ended.out and "Traceback" not in ended.out, ended
