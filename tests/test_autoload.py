"""run, enable and auto alike: they patch when threading is first imported, and import nothing but the helper before.
They raise nothing. SAFETHREAD_PATCH=0 switches them off, SAFETHREAD_PATCH_DEBUG=1 makes them say what they do.
"""
import os
import sys

import pytest
from conftest import PY2, run
from environments import PATCHED, PRINT_MODULES, PRINT_NEW_MODULES, assert_one_message, assert_printed

PYPY = hasattr(sys, "pypy_version_info")

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


NAMES = ["threading", "logging", "subprocess", "multiprocessing", "zipfile", "tempfile", "wrapt"]
NAMES += ["safethread_patch._install", "safethread_patch._facts"]
if PY2:
    NAMES += ["Queue", "SocketServer"]
else:
    NAMES += ["queue", "concurrent.futures", "concurrent.futures.thread", "asyncio", "importlib.util", "urllib.request"]


@pytest.mark.parametrize("name", NAMES)
def test_patched_after_whichever_import_of_threading_is_the_first(environment, name):
    # wrapt imports many of these itself, and cannot be imported in the middle of them
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
    assert_printed(environment.run_code(program, name))


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


# The finder


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
        assert "wrapt" not in sys.modules
        ''') is None
    _interpreters.destroy(interpreter)

for _ in range(20):
    deep(100)
"""
    assert_printed(environment.run_code(program + PATCHED), True)
