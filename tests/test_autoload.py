"""run, enable and auto alike: they patch when threading is first imported, and import nothing but the helper before.
They raise nothing. SAFETHREAD_PATCH=0 switches them off, SAFETHREAD_PATCH_DEBUG=1 makes them say what they do.
"""
import os
import sys

import pytest
from conftest import PY2, run
from environments import PATCHED, PRINT_MODULES, PRINT_NEW_MODULES, assert_one_message, assert_printed

PYPY = hasattr(sys, "pypy_version_info")

needs_lazy_imports = pytest.mark.skipif(sys.version_info < (3, 15), reason="no lazy imports (PEP 810)")

# The switch


@pytest.mark.parametrize(
    "value, is_patched",
    [("0", False), ("off", False), ("NO", False), ("False", False), ("", True), ("1", True), ("maybe", True)],
)
def test_switch(environment, value, is_patched):
    environment.command("enable")
    env = {"SAFETHREAD_PATCH": value}
    program = PATCHED + "print('wrapt' in sys.modules or 'safethread_patch' in sys.modules)"
    assert_printed(environment.python("-c", program, env=env), is_patched, is_patched)
    assert_printed(environment.run_code(program, env=env), is_patched, is_patched)
    assert_printed(environment.python("-c", "import safethread_patch.auto" + PATCHED, env=env), is_patched)


@pytest.mark.parametrize(
    "value, message", [("1", "is patched, by enable"), ("0", "SAFETHREAD_PATCH=0: nothing is loaded")]
)
def test_debug_says_what_happened_in_one_line(environment, value, message):
    environment.command("enable")
    env = {"SAFETHREAD_PATCH_DEBUG": "1", "SAFETHREAD_PATCH": value}
    assert_one_message(environment.python("-c", PATCHED, env=env), message)


# What it says on stderr


@pytest.mark.parametrize("command", ["run", "run no-such-program", "bench --rounds 0", "no-such-command", "enable"])
def test_full_stderr_does_not_change_the_exit_status(environment, command):
    command = command.split()
    if command == ["enable"]:
        environment.uninstall("wrapt")  # it is refused
    status = environment.command(*command).status
    assert status not in (0, 120)
    assert with_full_stderr(environment, ["-m", "safethread_patch"] + command).status == status


@pytest.mark.parametrize("broken", ["no module", "_install.py", "_bootstrap/_safethread_patch_autoload.py"])
def test_line_on_a_full_stderr_does_not_change_the_exit_status(environment, broken):
    program = ["-m", "safethread_patch", "run", environment.write("program.py", "import threading; print('fine')")]
    if broken.startswith("_bootstrap"):
        program = [program[-1]]
        env = {"PYTHONPATH": os.path.join(environment.site, "safethread_patch", "_bootstrap")}
    else:
        env = {"SAFETHREAD_PATCH_DEBUG": "1"}
    if broken != "no module":
        environment.write(os.path.join(environment.site, "safethread_patch", broken), "1/0")
    assert environment.python(*program, env=env).err.count("safethread_patch: ") == 1
    ended = with_full_stderr(environment, program, env)
    assert (ended.status, ended.out) == (0, "fine\n"), ended


def with_full_stderr(environment, command, env=()):
    """Run the interpreter with a stderr that cannot be written to. PYTHONUNBUFFERED would hide what is left in its buffer."""
    shell = 'exec "$0" "$@" 2>/dev/full'
    env = dict(environment.env, PYTHONUNBUFFERED=None, SAFETHREAD_PATCH=None, **dict(env))
    return run(["sh", "-c", shell, environment.executable] + command, env=env, cwd=environment.cwd)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork")
def test_line_comes_once_and_not_again_from_forked_children(environment):
    program = """
import os, sys, threading
if not os.fork():
    sys.exit()
os.wait()
os._exit(0)
"""
    ended = environment.run_code(program, env={"SAFETHREAD_PATCH_DEBUG": "1", "PYTHONUNBUFFERED": None})
    assert_one_message(ended, "is patched, by run")


def test_line_goes_to_the_program_s_own_stderr(environment):
    program = """
import sys

class Stream(object):
    def write(self, text):
        self.text = text.partition(" (")[0]

    def flush(self):
        print(self.text)

sys.stderr = Stream()
import threading
sys.stderr = sys.__stderr__
"""
    ended = environment.run_code(program, env={"SAFETHREAD_PATCH_DEBUG": "1"})
    assert_printed(ended, "safethread_patch: threading.Thread is patched, by run")


# When it is patched


def test_nothing_is_imported_before_threading_is(environment):
    environment.command("enable")
    without = environment.python("-c", PRINT_MODULES, env={"SAFETHREAD_PATCH": "0"}).out.split()
    assert "threading" not in without
    assert_printed(environment.python("-c", PRINT_NEW_MODULES, *without), [])
    environment.command("disable")
    # start-up files of another tool: site itself imports something for each kind, on 3.15 a lot
    for name, line in (("another.start", "os:getpid\n"), ("another.pth", "import os\n")):
        environment.write(os.path.join(environment.site, name), line)
    without = environment.python("-c", PRINT_MODULES).out.split()
    assert "threading" not in without
    environment.command("enable")
    ended = environment.python("-c", PRINT_NEW_MODULES, *without)
    assert_printed(ended, ["_safethread_patch_autoload"])


def modules_of(environment, program, env):
    program += "\nimport sys; print(' '.join(sys.modules))"
    return set(environment.run_code(program, env=env).out.split())


@pytest.mark.parametrize("starts", [False, True])
def test_loading_imports_the_package_and_nothing_else(environment, starts):
    # neither wrapt nor what the newest wrapt imports: asyncio, ssl
    program = "import threading, logging, subprocess" + ("" if PY2 else ", concurrent.futures")
    if starts:
        program += "; thread = threading.Thread(target=int); thread.start(); thread.join()"
    stock = modules_of(environment, program, {"SAFETHREAD_PATCH": "0"})
    new = modules_of(environment, program, {}) - stock
    assert "safethread_patch._start" in new
    needed = set(["gc", "__future__", "imp", "contextlib", "functools", "_functools"])  # small ones, most of them by Python 2
    assert not [name for name in new - needed if name.partition(".")[0] != "safethread_patch"], new


NAMES = ["threading", "logging", "subprocess", "multiprocessing", "zipfile", "tempfile", "wrapt"]
NAMES += ["safethread_patch._install", "safethread_patch._facts"]
if PY2:
    NAMES += ["Queue", "SocketServer"]
else:
    NAMES += ["queue", "concurrent.futures", "concurrent.futures.thread", "asyncio", "importlib.util", "urllib.request"]


@pytest.mark.parametrize("lazy", ["normal", pytest.param("all", marks=needs_lazy_imports)])
@pytest.mark.parametrize("name", NAMES)
def test_patched_after_whichever_import_of_threading_is_the_first(environment, name, lazy):
    program = """
import sys
name = sys.argv[1]
assert "threading" not in sys.modules
__import__(name)
spec = getattr(sys.modules[name], "__spec__", None)
assert spec is None or (spec.name, type(spec).__name__) == (name, "ModuleSpec"), spec
threading = sys.modules.get("threading")
if threading is not None:
    assert threading.Thread.start.__code__.co_filename.endswith("_start.py")
    assert sys.modules["safethread_patch"].is_installed()
    loader = type(getattr(threading, "__loader__", None))
    assert "safethread_patch" not in loader.__module__, loader
"""
    assert_printed(environment.run_code(program, name, env={"PYTHON_LAZY_IMPORTS": lazy}))


def test_module_of_the_program_is_not_waited_for(environment):
    environment.write("zoo.py", "import logging" + PATCHED)
    assert_printed(environment.run_code("import zoo"), True)


def test_import_that_fails_after_it_has_imported_threading(environment):
    environment.write("zoo.py", "import threading; 1/0")
    program = """
import sys
try:
    import zoo
except ZeroDivisionError:
    print("failed")
"""
    assert_printed(environment.run_code(program + PATCHED), "failed", True)


def test_threading_that_is_imported_anew(environment):
    # as tools do that unload what they have imported at start-up
    program = """
import sys, threading
for name in list(sys.modules):
    if name == "threading" or name.startswith(("safethread_patch", "_safethread_patch")):
        del sys.modules[name]
"""
    assert_printed(environment.run_code(program + PATCHED), True)


@pytest.mark.parametrize("way", ["run", "auto"])
@pytest.mark.parametrize("removed", [["threading"], ["threading", "_thread"]])
def test_threading_alone_that_is_imported_anew(environment, removed, way):
    # as by ddtrace-run, where gevent is installed; and by eventlet, which puts the first one back
    program = """
import os, sys, threading
import safethread_patch

first = threading
for name in sys.argv[1:]:
    sys.modules.pop(name, None)
import threading
assert threading is not first

def patched():
    names = [module.Thread.start.__code__.co_filename for module in (first, threading)]
    return [os.path.basename(name) == "_start.py" for name in names]

both, none = [True, True], [False, False]
assert patched() == both
go = threading.Event()
thread = threading.Thread(target=go.wait)
thread.daemon = True
other = first.Thread(target=go.wait)
other.daemon = True
pid = os.fork()
if not pid:
    thread.start()
    other.start()
    os._exit(0 if thread.is_alive() and other.is_alive() else 1)  # 3.6 to 3.13.3 alone: dead, or "already started"
assert os.waitpid(pid, 0)[1] == 0
for now in (threading, first):
    sys.modules["threading"] = now
    import safethread_patch
    assert safethread_patch.is_installed() and not safethread_patch.install() and patched() == both
    assert safethread_patch.uninstall() and patched() == none and not safethread_patch.is_installed()
    with safethread_patch.installed():
        assert patched() == both
    assert patched() == none
    assert safethread_patch.install() and patched() == both
print("done")
"""
    if way == "auto":
        ended = environment.python("-c", "import safethread_patch.auto\n" + program, *removed)
    else:
        ended = environment.run_code(program, *removed)
    assert_printed(ended, "done")


def test_threading_that_is_imported_anew_after_uninstall(environment):
    program = """
import sys, threading
import safethread_patch
safethread_patch.uninstall()
del sys.modules["threading"]
"""
    install = "safethread_patch.install()"
    assert_printed(environment.run_code(program + PATCHED + install + PATCHED), False, True)


@pytest.mark.skipif(PY2, reason="the thread of Python 2 has another name")
def test_copy_of_threading_with_greenlets_is_left_alone(environment):
    # as eventlet makes, and puts the first one back
    program = """
import sys, threading, types
import _thread
first = threading
green = types.ModuleType("eventlet.green.thread")
vars(green).update((name, value) for name, value in vars(_thread).items() if not name.startswith("__"))
sys.modules["_thread"] = green
del sys.modules["threading"]
import threading as copy
sys.modules["_thread"], sys.modules["threading"] = _thread, first
assert copy.Thread.start.__code__.co_filename == copy.__file__
import safethread_patch
print(safethread_patch.uninstall())
print(threading.Thread.start.__code__.co_filename == threading.__file__)
"""
    assert_printed(environment.run_code(program), True, True)


@pytest.mark.skipif(not (3, 7) <= sys.version_info < (3, 13) or PYPY, reason="no such fork")  # 3.13 dies of it
def test_child_of_c_code_is_right_before_any_start(environment):
    # it calls PyOS_AfterFork_Child() alone: nothing that is done before a fork has been done
    program = """
import ctypes, os, sys, threading

class OverridesStart(threading.Thread):
    def start(self):
        threading.Thread.start(self)

threads = [cls(target=threading.Event().wait) for cls in (threading.Thread, OverridesStart)]
before = set(sys.modules)
pid = ctypes.PyDLL(None).fork()
if not pid:
    ctypes.pythonapi.PyOS_AfterFork_Child()
    status = 0 if getattr(threading.current_thread(), "native_id", None) in (os.getpid(), None) else 1
    for thread in threads:
        thread.daemon = True
        thread.start()
        status += 0 if thread.is_alive() else 2
    os._exit(status if set(sys.modules) == before else 8)
print(os.waitpid(pid, 0)[1])
"""
    assert_printed(environment.run_code(program), 0)


def test_uninstall_before_any_start(environment):
    program = """
import os, threading, safethread_patch
print(safethread_patch.is_installed(), safethread_patch.status()["installed"], safethread_patch.status()["others"])
print(safethread_patch.uninstall(), safethread_patch.is_installed())
print(os.path.basename(threading.Thread.start.__code__.co_filename))
"""
    ended = environment.run_code("from __future__ import print_function\n" + program)
    assert_printed(ended, "True True {}", "True False", "threading.py")


@pytest.mark.skipif(PY2, reason="no such finder, and one import lock")
@pytest.mark.parametrize("name", ["logging", "concurrent.futures", "asyncio", "wrapt"])
def test_first_start_within_an_import(environment, name):
    # and in another thread, while the import waits for that: nothing is imported then that could wait for the import
    program = """
import _thread, sys

def start():
    import threading
    assert threading.Thread.start.__code__.co_filename.endswith("_start.py")
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()

def start_and_release(lock):
    start()
    lock.release()

class Finder(object):
    is_done = False

    def find_spec(self, wanted, path=None, target=None):
        if sys.argv[1] in sys.modules and wanted != "threading" and not self.is_done:
            self.is_done = True
            start()
            lock = _thread.allocate_lock()
            lock.acquire()
            _thread.start_new_thread(start_and_release, (lock,))
            lock.acquire()
            spec = sys.modules[sys.argv[1]].__spec__
            print("within", spec._initializing)

for lazy in [name for name in sys.modules if name in ("re", "string", "weakref")]:
    del sys.modules[lazy]  # what logging imports before threading is imported within it, whatever site has imported
sys.meta_path.insert(0, Finder())
__import__(sys.argv[1])
"""
    assert_printed(environment.run_code(program, name), "within True")


@pytest.mark.skipif(PY2, reason="no lazy loader")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="its lazy loader imports threading before it has begun")
def test_lazily_loaded_logging(environment):
    program = """
import importlib.util, sys
spec = importlib.util.find_spec("logging")
spec.loader = importlib.util.LazyLoader(spec.loader)
module = importlib.util.module_from_spec(spec)
sys.modules["logging"] = module
spec.loader.exec_module(module)
module.getLogger
import json.tool
"""
    assert_printed(environment.run_code(program + PATCHED), True)


def test_zipped_threading_is_imported(environment):
    # 3.6 to 3.9 load it in the old way, which is not patched
    import threading
    import zipfile

    path = os.path.join(environment.cwd, "z.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(os.path.splitext(threading.__file__)[0] + ".py", "threading.py")
    program = """
import threading
threading.Thread(target=int).start()
print("z.zip" in threading.__file__)
"""
    assert_printed(environment.run_code(program, env={"PYTHONPATH": path}), True)


def test_enabled_and_run_patch_once(environment):
    environment.command("enable")
    program = PATCHED + "import safethread_patch; print(safethread_patch.uninstall())" + PATCHED
    assert_printed(environment.run_code(program), True, True, False)


# Lazy imports


@needs_lazy_imports
@pytest.mark.parametrize("way", ["run", "auto", "enable", "install()"])
def test_lazy_imports_are_resolved_by_then(environment, way):
    # and not within start(), or in a forked child
    program = """
import os, sys

class Finder(object):
    seen = []

    def find_spec(self, name, path=None, target=None):
        self.seen.append(name)

import threading
threading.Thread  # imported by now, and patched
sys.meta_path.insert(0, Finder())
before = list(sys.modules)
thread = threading.Thread(target=int)
lazy = [
    (module, name)
    for module in sorted(sys.modules)
    if module == "threading" or module.startswith("safethread_patch.") and "auto" not in module
    for name, value in list(vars(sys.modules[module]).items())
    if type(value).__name__ == "lazy_import"
]
print(lazy)
os.register_at_fork(after_in_child=lambda: os.write(1, ("%s\\n" % [n for n in sys.modules if n not in before]).encode()))
thread.start()
thread.join()
sys.stdout.flush()
if not os.fork():
    os._exit(0)
os.wait()
print(Finder.seen)
print(threading.Thread.start.__code__.co_filename.endswith("safethread_patch/_start.py"))
"""
    env = {"PYTHON_LAZY_IMPORTS": "all"}
    if way == "run":
        ended = environment.run_code(program, env=env)
    else:
        if way == "enable":
            environment.command("enable")
        elif way == "auto":
            program = "from safethread_patch import auto; auto\n" + program
        else:
            program = "import safethread_patch; safethread_patch.install()\n" + program
        ended = environment.python("-c", program, env=env)
    assert_printed(ended, [], [], [], True)


# The finder


@pytest.mark.skipif(PY2, reason="no find_spec")
def test_finder_that_raises_is_asked_by_the_import_system(environment):
    program = """
import sys

class Strange(Exception):
    def __str__(self):
        raise ZeroDivisionError

class Finder(object):
    def find_spec(self, name, path=None, target=None):
        if name == "threading":
            raise Strange

sys.meta_path.insert(1, Finder())  # the patch's own is the first
try:
    import threading
except Strange:
    print("as on stock")
del sys.meta_path[1]
"""
    ended = environment.run_code(program + PATCHED)
    assert ended.out == "as on stock\nTrue\n", ended
    assert_one_message(ended, "not loaded: Strange")


@pytest.mark.skipif(PY2, reason="no find_spec")
def test_search_for_threading_that_imports_nothing(environment):
    program = "import importlib.util, sys; [finder.find_spec('threading', None) for finder in list(sys.meta_path)]"
    assert_printed(environment.run_code(program + PATCHED), True)


@pytest.mark.skipif(PY2 or PYPY, reason="no finder is asked twice, or no such builtin module")
def test_import_while_another_finder_imports_threading(environment):
    program = """
import sys

class Finder(object):
    def find_spec(self, name, path=None, target=None):
        if name == "_symtable":
            import threading

sys.meta_path.insert(1, Finder())
import _symtable, this_one_is_missing
"""
    ended = environment.command("run", environment.write("program.py", program))
    assert ended.status == 1 and "No module named 'this_one_is_missing'" in ended.err, ended


@pytest.mark.skipif(PY2, reason="no find_spec")
def test_finder_that_asks_all_others(environment):
    # the patch's own does the same: neither may ask the other without end
    program = """
import sys

class Finder(object):
    def find_spec(self, name, path=None, target=None):
        if name != "threading":
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in others)
        return next(spec for spec in specs if spec is not None)

sys.meta_path.insert(1, Finder())  # the patch's own is the first
"""
    assert_printed(environment.run_code(program + PATCHED), True)


@pytest.mark.skipif(PY2, reason="no specs")
def test_finder_whose_specs_are_of_another_layout(environment):
    program = """
import importlib.machinery, sys
names = "name loader origin submodule_search_locations loader_state cached parent has_location".split()

class Spec(object):
    __slots__ = names + ["_cached", "_set_fileattr", "_initializing", "_uninitialized_submodules"]

class Finder(object):
    def find_spec(self, name, path=None, target=None):
        if name != "threading":
            return None
        plain, spec = importlib.machinery.PathFinder.find_spec(name), Spec()
        for name in Spec.__slots__:
            if hasattr(plain, name):
                setattr(spec, name, getattr(plain, name))
        return spec

sys.meta_path.insert(1, Finder())  # the patch's own is the first
import threading
"""
    assert_one_message(environment.run_code(program), "safethread_patch: not loaded: TypeError")


# All commands


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(environment, closed):
    shell = 'exec "$0" -m safethread_patch "$@" ' + closed
    program = "open('ran', 'w').close()"
    for command in (["run", environment.executable, "-c", program], ["enable"], ["status"], ["disable"]):
        ended = run(["sh", "-c", shell, environment.executable] + command, env=environment.env, cwd=environment.cwd)
        assert "Traceback" not in ended.err, (command, ended)
        if not PY2:  # a closed stdout is an error to it, at exit at the latest
            assert ended.status == 0, (command, ended)
    assert os.path.exists(os.path.join(environment.cwd, "ran"))


# Subinterpreters


@pytest.mark.skipif(sys.version_info < (3, 13) or PYPY, reason="no _interpreters")
def test_subinterpreter_is_left_alone(environment):
    # it has a GIL of its own: code in it that looks at the frames of all interpreters corrupts the memory
    program = """
import _interpreters, threading

def deep(depth):
    if depth:
        return deep(depth - 1)
    interpreter = _interpreters.create()
    assert _interpreters.exec(interpreter, '''if True:
        import threading, sys
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        assert "safethread_patch" not in sys.modules
        ''') is None
    _interpreters.destroy(interpreter)

for _ in range(20):
    deep(100)
"""
    assert_printed(environment.run_code(program + PATCHED), True)
