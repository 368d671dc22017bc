"""Automatic loading: run, enable and disable, status, safethread_patch.auto; in throw-away environments."""
import glob
import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import PY2, run

import safethread_patch
from safethread_patch._cli import enable

PYPY = hasattr(sys, "pypy_version_info")

# says whether threading.Thread is patched here, and by what it was loaded
PATCHED = """
import threading, sys
print(threading.Thread.start.__code__.co_filename.replace("\\\\", "/").endswith("safethread_patch/_start.py"))
"""


class Environment(object):
    """An interpreter that has the package and wrapt in its site folder, and nothing else of ours."""

    def __init__(self, folder):
        self.folder = str(folder)
        if PY2:  # the user's site folder, for there is no venv
            self.python = sys.executable
            self.env = {"PYTHONUSERBASE": self.folder, "PYTHONPATH": None}
        else:
            subprocess.check_call([sys.executable, "-m", "venv", "--without-pip", self.folder])
            self.python = os.path.join(self.folder, "bin", "python")
            self.env = {"PYTHONPATH": None}
        code = "import site, sys; print(site.getusersitepackages() if sys.version_info < (3,) else site.getsitepackages()[0])"
        self.site = run([self.python, "-c", code], env=self.env).out.strip()
        if not os.path.isdir(self.site):
            os.makedirs(self.site)
        self.install("safethread_patch")
        self.install("wrapt")

    def install(self, name):
        source = os.path.dirname(os.path.abspath(__import__(name).__file__))
        shutil.copytree(source, os.path.join(self.site, name), ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))

    def uninstall(self, name):
        shutil.rmtree(os.path.join(self.site, name))

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def __call__(self, *args, **kwargs):
        env = dict(self.env, PYTHONDONTWRITEBYTECODE="1", SAFETHREAD_PATCH=None)
        env.update(kwargs.pop("env", {}))
        return run([self.python] + list(args), env=env, cwd=kwargs.pop("cwd", self.folder), **kwargs)

    def command(self, *args, **kwargs):
        return self("-m", "safethread_patch", *args, **kwargs)

    def run_code(self, code, *args, **kwargs):
        """``run`` this code as a script, which must end with 0."""
        ended = self.command("run", self.write("program.py", code), *args, **kwargs)
        assert ended.status == 0, ended
        return ended


@pytest.fixture(scope="module")
def whole_environment(tmpdir_factory):
    return Environment(tmpdir_factory.mktemp("environment"))


@pytest.fixture
def environment(whole_environment):
    yield whole_environment
    for name in os.listdir(whole_environment.site):
        if "autoload" in name or name.startswith("safethread_patch."):
            path = os.path.join(whole_environment.site, name)
            (shutil.rmtree if os.path.isdir(path) else os.remove)(path)
    for name in ("safethread_patch", "wrapt"):
        if not os.path.isdir(os.path.join(whole_environment.site, name)):
            whole_environment.install(name)


def ours(environment):
    return [name for name in os.listdir(environment.site) if "safethread_patch" in name and name != "safethread_patch"]


# run: what it runs


def test_run_script(environment):
    ended = environment.run_code("import sys; print(sys.argv[1:])\n" + PATCHED, "-x", "--json", "run")
    assert ended.out == "['-x', '--json', 'run']\nTrue\n" and ended.err == "", ended


def test_run_module(environment):
    environment.write("a_module.py", "import sys; print(sys.argv[1:])" + PATCHED)
    ended = environment.command("run", "-m", "a_module", "-m", "x")
    assert (ended.status, ended.out, ended.err) == (0, "['-m', 'x']\nTrue\n", ""), ended


def test_run_module_of_the_standard_library(environment):
    # which is never seen to have been imported
    ended = environment.command("run", "-m", "timeit", "-n", "1", "-r", "1", PATCHED.strip().replace("\n", "; "))
    assert "True\n" in ended.out and ended.err == "", ended


def test_run_command(environment):
    ended = environment.command("run", environment.python, "-c", PATCHED)
    assert (ended.status, ended.out, ended.err) == (0, "True\n", ""), ended


def test_run_replaces_its_process(environment):
    code = "import os, subprocess, sys; print(os.getpid() == int(sys.argv[1]))"
    parent = "import os, sys; os.execv(sys.executable, [sys.executable, '-m', 'safethread_patch', 'run', %r, '-c', %r, str(os.getpid())])"
    ended = environment("-c", parent % (environment.python, code))
    assert ended.out == "True\n", ended


def test_run_has_the_program_s_status_signals_and_standard_input(environment):
    assert environment.command("run", "sh", "-c", "exit 7").status == 7
    assert environment.command("run", "sh", "-c", "kill -TERM $$").status == -15
    assert environment.command("run", "sh", "-c", "kill -PIPE $$").status == -13
    ended = environment.command("run", "cat", stdin=environment.write("a file", "hello\n"))
    assert ended.out == "hello\n", ended


@pytest.mark.parametrize(
    "args, status, said",
    [
        ([], 2, "run what?"),
        (["-m"], 2, "run what?"),
        (["--fast", "x"], 2, "no option --fast"),
        (["no-such-program"], 127, "no program no-such-program"),
        (["./no-such-program"], 127, "no program ./no-such-program"),
        (["./not-executable"], 126, "cannot execute ./not-executable"),
        (["./bad-interpreter"], 126, "cannot execute ./bad-interpreter"),
        (["/"], 126, "cannot execute /"),
        (["missing.py"], 2, "no script missing.py"),
        (["./missing.py"], 2, "no script ./missing.py"),
        (["-m", "no_such_module"], 2, "no module named no_such_module"),
        (["-m", "no_such.module"], 2, "no module named no_such.module"),
    ],
)
def test_run_what_cannot_be_run(environment, args, status, said):
    environment.write("not-executable", "")
    os.chmod(environment.write("bad-interpreter", "#!/no/such/interpreter\n"), 0o755)
    ended = environment.command("run", *args)
    assert ended.status == status and ended.out == "", ended
    assert said in ended.err and ended.err.count("\n") == 1, ended


def test_run_help(environment):
    ended = environment.command("run", "--help")
    assert ended.status == 0 and "COMMAND" in ended.out, ended


# run: what it reaches


def test_run_reaches_the_whole_tree(environment):
    code = """
import multiprocessing, os, subprocess, sys
def patched(*ignored):
    import threading
    return threading.Thread.start.__code__.co_filename.endswith("_start.py")
def tell(queue): queue.put(patched())
if __name__ == "__main__":
    print(subprocess.check_output([sys.executable, "-c", %r]).decode().strip())
    methods = multiprocessing.get_all_start_methods() if sys.version_info >= (3, 4) else [None]
    for method in methods:
        context = multiprocessing.get_context(method) if method else multiprocessing
        queue = context.Queue()
        process = context.Process(target=tell, args=(queue,))
        process.start()
        print(queue.get(True, 30))
        process.join()
""" % PATCHED
    ended = environment.run_code(code)
    assert set(ended.out.split()) == set(["True"]) and ended.err == "", ended


def test_run_keeps_pythonpath(environment):
    code = "import os; print(os.environ['PYTHONPATH'])"
    ours = environment.run_code(code).out.strip()
    assert os.path.basename(ours) == "_bootstrap" and os.path.isabs(ours)
    assert environment.run_code(code, env={"PYTHONPATH": ""}).out.strip() == ours
    assert environment.run_code(code, env={"PYTHONPATH": ":/a::/b:"}).out.strip() == ours + ":/a:/b"
    nested = environment.command("run", environment.python, "-m", "safethread_patch", "run", "program.py", env={"PYTHONPATH": "/a"})
    assert nested.out.strip() == ours + ":/a", nested


def test_run_finds_a_package_that_is_not_installed_for_the_program(environment):
    # as in a checkout: the interpreter that runs the program has wrapt, but not the package
    code = environment.write("elsewhere.py", PATCHED)
    command = [sys.executable, "-m", "safethread_patch", "run", environment.python, code]
    environment.uninstall("safethread_patch")
    root = os.path.dirname(os.path.dirname(os.path.abspath(safethread_patch.__file__)))
    env = dict(environment.env, SAFETHREAD_PATCH=None)
    if PY2:
        env["PYTHONPATH"] = os.environ.get("PYTHONPATH")
    ended = run(command, env=env, cwd=root)
    assert (ended.status, ended.out, ended.err) == (0, "True\n", ""), ended


def test_run_without_wrapt_is_silent(environment):
    environment.uninstall("wrapt")
    ended = environment.run_code(PATCHED)
    assert (ended.out, ended.err) == ("False\n", ""), ended
    ended = environment.run_code(PATCHED, env={"SAFETHREAD_PATCH_DEBUG": "1"})
    assert "has no wrapt" in ended.err and ended.err.count("\n") == 1, ended


# The sitecustomize that ours hides


def hidden(environment, text):
    folder = os.path.join(environment.folder, "hidden")
    if not os.path.isdir(folder):
        os.makedirs(folder)
    environment.write(os.path.join("hidden", "sitecustomize.py"), text)
    return {"PYTHONPATH": folder}


def test_hidden_sitecustomize_is_loaded(environment):
    code = PATCHED + "print(sys.modules['sitecustomize'].who)\nimport sitecustomize; print(sitecustomize.who)"
    ended = environment.run_code(code, env=hidden(environment, "who = 'theirs'"))
    assert (ended.out, ended.err) == ("True\ntheirs\ntheirs\n", ""), ended


def test_hidden_sitecustomize_that_loads_what_it_hides_itself(environment):
    text = """
import os, sys
sys.loads = getattr(sys, "loads", 0) + 1
here = os.path.dirname(os.path.abspath(__file__))
if sys.loads < 10:
    ours = sys.modules.pop("sitecustomize")
    path = sys.path[:]
    sys.path[:] = [entry for entry in path if os.path.abspath(entry) != here]
    try: import sitecustomize
    except ImportError: sys.modules["sitecustomize"] = ours
    finally: sys.path[:] = path
"""
    env = hidden(environment, text)
    code = PATCHED + "print(sys.loads)"
    ended = environment.run_code(code, env=env)
    assert (ended.out, ended.err) == ("True\n1\n", ""), ended
    # the other one in front: it hides ours
    bootstrap = environment.run_code("import os; print(os.environ['PYTHONPATH'])").out.strip()
    ended = environment("-c", code, env={"PYTHONPATH": env["PYTHONPATH"] + ":" + bootstrap})
    assert (ended.out, ended.err) == ("True\n1\n", ""), ended


def test_sitecustomize_that_is_not_on_the_path(environment):
    path = os.path.join(environment.site, "safethread_patch", "_bootstrap", "sitecustomize.py")
    ended = environment("-c", "import runpy; runpy.run_path(%r)" % path + PATCHED)
    assert ended.status == 0 and "Traceback" not in ended.err, ended


@pytest.mark.parametrize("text", ["1/0", "import no_such_module_of_theirs", "def"])
def test_broken_sitecustomize_is_reported_as_python_would(environment, text):
    env = hidden(environment, text)
    alone = environment("-c", "pass", env=env)
    ended = environment.run_code(PATCHED, env=env)
    # once for run's own process, and once for the program
    assert ended.out == "True\n" and ended.err == 2 * alone.err, (ended, alone)


def test_hidden_sitecustomize_is_loaded_where_ours_fails(environment):
    env = hidden(environment, "import sys; sys.stderr.write('theirs\\n')")
    environment.uninstall("wrapt")
    os.makedirs(os.path.join(environment.site, "wrapt"))
    environment.write(os.path.join(environment.site, "wrapt", "__init__.py"), "1/0")
    try:
        ended = environment.run_code("import threading; print('fine')", env=env)
    finally:
        environment.uninstall("wrapt")
    assert ended.out == "fine\n", ended
    lines = ended.err.splitlines()[1:]  # the first is from run's own process
    assert lines[0] == "theirs" and "safethread_patch: not loaded: ZeroDivisionError" in lines[1], ended
    assert len(lines) == 2, ended


def test_sitecustomize_that_imports_threading(environment):
    # patched there and then: it may start threads
    text = PATCHED.replace("print(", "setattr(sys, 'patched', ").replace("import threading", "import logging, threading")
    ended = environment.run_code(PATCHED + "print(sys.patched)", env=hidden(environment, text))
    assert (ended.out, ended.err) == ("True\nTrue\n", ""), ended


# The switch


@pytest.mark.parametrize("value, patched", [("0", 0), ("off", 0), ("NO", 0), ("False", 0), ("", 1), ("1", 1), ("maybe", 1)])
def test_switch(environment, value, patched):
    environment.command("enable")
    env = {"SAFETHREAD_PATCH": value}
    code = PATCHED + "print('wrapt' in sys.modules or 'safethread_patch' in sys.modules)"
    expected = "%s\n%s\n" % (bool(patched), bool(patched))
    ended = environment("-c", code, env=env)
    assert (ended.out, ended.err) == (expected, ""), ended
    ended = environment.run_code(code, env=env)
    assert (ended.out, ended.err) == (expected, ""), ended
    ended = environment("-c", "import safethread_patch.auto" + PATCHED, env=env)
    assert (ended.out, ended.err) == ("%s\n" % bool(patched), ""), ended


def test_debug_says_what_happened_in_one_line(environment):
    environment.command("enable")
    for value, said in (("1", "is patched, by enable"), ("0", "SAFETHREAD_PATCH=0: nothing is loaded")):
        ended = environment("-c", PATCHED, env={"SAFETHREAD_PATCH_DEBUG": "1", "SAFETHREAD_PATCH": value})
        assert said in ended.err and ended.err.count("\n") == 1, ended


# When it is patched


@pytest.mark.parametrize(
    "name",
    ["threading", "logging", "subprocess", "multiprocessing", "zipfile", "tempfile", "wrapt", "safethread_patch._install", "safethread_patch._facts"]
    + (["Queue", "SocketServer"] if PY2 else ["queue", "concurrent.futures", "concurrent.futures.thread", "asyncio", "importlib.util", "urllib.request"]),
)
def test_patched_after_whichever_import_of_threading_is_the_first(environment, name):
    # wrapt imports many of these itself, and cannot be imported in the middle of them
    code = """
import sys
assert "threading" not in sys.modules
__import__(%r)
threading = sys.modules.get("threading")
print(threading is None or threading.Thread.start.__code__.co_filename.endswith("_start.py"))
module = sys.modules[%r]
print(getattr(module, "__spec__", None) is None or (module.__spec__.name, type(module.__spec__).__name__) == (%r, "ModuleSpec"))
if threading is not None: print(sys.modules["safethread_patch"].is_installed(), type(getattr(threading, "__loader__", None)).__name__)
""" % ((name,) * 3)
    ended = environment.run_code(code)
    assert "False" not in ended.out and "_Loader" not in ended.out and ended.err == "", ended


def test_module_of_the_program_is_not_waited_for(environment):
    environment.write("zoo.py", "import logging" + PATCHED)
    ended = environment.run_code("import zoo")
    assert (ended.out, ended.err) == ("True\n", ""), ended


@pytest.mark.skipif(PY2, reason="no find_spec")
def test_search_for_threading_that_imports_nothing(environment):
    code = "import importlib.util, sys; [finder.find_spec('threading', None) for finder in list(sys.meta_path)]"
    ended = environment.run_code(code + PATCHED)
    assert (ended.out, ended.err) == ("True\n", ""), ended


def test_threading_that_is_imported_anew(environment):
    # as tools do that unload what they have imported at start-up
    code = """
import sys, threading
for name in list(sys.modules):
    if name == "threading" or name.startswith(("safethread_patch", "_safethread_patch")): del sys.modules[name]
"""
    ended = environment.run_code(code + PATCHED)
    assert (ended.out, ended.err) == ("True\n", ""), ended


@pytest.mark.skipif(PY2 or PYPY, reason="no finder is asked twice, or no such builtin module")
def test_import_while_another_finder_imports_threading(environment):
    code = """
import sys
class Finder(object):
    def find_spec(self, name, path=None, target=None):
        if name == "_symtable": import threading
sys.meta_path.insert(1, Finder())
import _symtable, this_one_is_missing
"""
    ended = environment.command("run", environment.write("program.py", code))
    assert "No module named 'this_one_is_missing'" in ended.err, ended


@pytest.mark.skipif(PY2, reason="no specs")
def test_finder_whose_specs_are_of_another_layout(environment):
    code = """
import importlib.machinery, sys
names = "name loader origin submodule_search_locations loader_state cached parent has_location".split()
class Spec(object):
    __slots__ = names + ["_cached", "_set_fileattr", "_initializing", "_uninitialized_submodules"]
class Finder(object):
    def find_spec(self, name, path=None, target=None):
        if name == "threading":
            found, spec = importlib.machinery.PathFinder.find_spec(name), Spec()
            for name in Spec.__slots__:
                if hasattr(found, name): setattr(spec, name, getattr(found, name))
            return spec
sys.meta_path.insert(1, Finder())  # after ours
import threading
"""
    ended = environment.command("run", environment.write("program.py", code))
    assert ended.status == 0 and ended.err.count("\n") == 1 and "safethread_patch: not loaded: TypeError" in ended.err, ended


@pytest.mark.skipif(PY2, reason="no lazy loader")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="its lazy loader imports threading before it has begun")
def test_lazily_loaded_logging(environment):
    code = """
import importlib.util, sys
spec = importlib.util.find_spec("logging")
spec.loader = importlib.util.LazyLoader(spec.loader)
module = importlib.util.module_from_spec(spec)
sys.modules["logging"] = module
spec.loader.exec_module(module)
module.getLogger
import json.tool
"""
    ended = environment.run_code(code + PATCHED)
    assert (ended.out, ended.err) == ("True\n", ""), ended


def test_zipped_threading_is_imported(environment):
    # 3.6 to 3.9 load it in the old way, which is not patched
    import zipfile

    with zipfile.ZipFile(os.path.join(environment.folder, "z.zip"), "w") as archive:
        import threading

        archive.write(os.path.splitext(threading.__file__)[0] + ".py", "threading.py")
    env = {"PYTHONPATH": os.path.join(environment.folder, "z.zip")}
    ended = environment.run_code("import threading; threading.Thread(target=int).start(); print('fine')", env=env)
    assert (ended.out, ended.err) == ("fine\n", ""), ended


def test_start_up_leaves_sys_path_as_it_is(environment):
    env = hidden(environment, "")
    without = environment("-c", "import sys; print(sys.path[1:])", env=env).out
    ended = environment.run_code("import threading, sys; print(sys.path[2:])", env=env)
    bootstrap = environment.run_code("import sys; print(sys.path[1])").out.strip()
    assert ended.out == without and os.path.basename(bootstrap) == "_bootstrap", (ended, without)


@pytest.mark.skipif(sys.version_info < (3, 13) or PYPY, reason="no _interpreters")
def test_subinterpreter_is_left_alone(environment):
    # with a GIL of its own: whoever looks at the frames of all interpreters from there corrupts the memory
    code = """
import _interpreters, threading
def deep(depth):
    if depth: return deep(depth - 1)
    interpreter = _interpreters.create()
    assert _interpreters.exec(interpreter, \'\'\'if True:
        import threading, sys
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        assert "wrapt" not in sys.modules
        \'\'\') is None
    _interpreters.destroy(interpreter)
for _ in range(20): deep(100)
""" + PATCHED
    ended = environment.run_code(code)
    assert (ended.out, ended.err) == ("True\n", ""), ended


def test_import_that_fails_after_it_has_imported_threading(environment):
    environment.write("zoo.py", "import threading; 1/0")
    code = "import sys\ntry: import zoo\nexcept ZeroDivisionError: pass\n" + PATCHED
    ended = environment.run_code(code)
    assert (ended.out, ended.err) == ("True\n", ""), ended


def test_nothing_is_imported_before_threading_is(environment):
    environment.command("enable")
    code = "import sys; print(sorted(set(sys.modules) - set(sys.argv)))"
    without = environment("-c", "import sys; print(' '.join(sys.modules))", env={"SAFETHREAD_PATCH": "0"}).out.split()
    assert environment("-c", code, *without).out == "[]\n"
    environment.command("disable")
    # another tool's start-up files: site itself imports something for each kind, 3.15 a lot
    others = [os.path.join(environment.site, name) for name in ("another.start", "another.pth")]
    for path, line in zip(others, ("os:getpid\n", "import os\n")):
        environment.write(path, line)
    try:
        without = environment("-c", "import sys; print(' '.join(sys.modules))").out.split()
        environment.command("enable")
        assert "threading" not in without
        assert environment("-c", code, *without).out == "['_safethread_patch_autoload']\n"
    finally:
        for path in others:
            os.remove(path)


# enable and disable


def test_enable_and_disable(environment):
    assert environment("-c", PATCHED).out == "False\n"
    expected = ["_safethread_patch_autoload.py", "safethread_patch.pth"]
    if sys.version_info >= (3, 15):
        expected.append("safethread_patch.start")
    for _ in range(2):
        ended = environment.command("enable")
        assert ended.status == 0 and ended.err == "" and "safethread_patch.pth" in ended.out, ended
        assert sorted(ours(environment)) == expected
        assert [os.stat(os.path.join(environment.site, name)).st_mode & 0o777 for name in expected] == [0o644] * len(expected)
    for flags in ([], ["-E"], ["-W", "error"], ["-O"]) + (([],) if PY2 else (["-I"],)):
        ended = environment(*(flags + ["-c", PATCHED]))
        assert (ended.out, ended.err) == ("True\n", ""), (flags, ended)
    assert environment("-S", "-c", "pass").err == ""
    environment("-c", "pass", env={"PYTHONDONTWRITEBYTECODE": ""})  # what it compiles goes, too
    for said in ("disabled", "was not enabled"):
        ended = environment.command("disable")
        assert ended.status == 0 and ended.out.startswith(said) and ended.err == "", ended
        assert ours(environment) == []
        assert glob.glob(os.path.join(environment.site, "__pycache__", "*autoload*")) == []
    assert environment("-c", PATCHED).out == "False\n"


def test_enabled_and_run_patch_once(environment):
    environment.command("enable")
    ended = environment.run_code(PATCHED + "import safethread_patch; print(safethread_patch.uninstall())")
    assert (ended.out, ended.err) == ("True\nTrue\n", ""), ended


@pytest.mark.parametrize("gone", ["safethread_patch", "wrapt"])
def test_enabled_and_then_uninstalled_is_silent(environment, gone):
    environment.command("enable")
    environment.uninstall(gone)
    ended = environment("-c", PATCHED)
    assert (ended.status, ended.out, ended.err) == (0, "False\n", ""), ended


def test_folder_that_cannot_be_written(environment):
    # root may write everywhere: what is in the way here is a folder
    os.makedirs(os.path.join(environment.site, "safethread_patch.pth", "x"))
    ended = environment.command("enable")
    assert ended.status == 1 and ended.out == "", ended
    assert ended.err.count("\n") == 1 and "safethread_patch.pth" in ended.err and "Nothing was changed" in ended.err, ended
    assert ours(environment) == ["safethread_patch.pth"]
    assert os.listdir(os.path.join(environment.site, "safethread_patch.pth")) == ["x"]


def test_enable_without_wrapt_is_refused(environment):
    environment.uninstall("wrapt")
    ended = environment.command("enable")
    assert ended.status == 1 and "does not find wrapt" in ended.err and "-m pip" in ended.err, ended
    assert ours(environment) == []


@pytest.mark.parametrize("leads_to", ["nothing", "what enable writes"])
def test_link_in_the_place_of_a_file_is_replaced(environment, tmpdir, leads_to):
    path = os.path.join(environment.site, "safethread_patch.pth")
    environment.command("enable")
    with open(path) as file:
        text = file.read()
    os.remove(path)
    target = tmpdir.join("target")
    if leads_to != "nothing":
        target.write(text)
    os.symlink(str(target), path)
    ended = environment.command("enable")
    assert ended.status == 0 and not os.path.islink(path) and open(path).read() == text, ended
    assert target.check() is (leads_to != "nothing")


def test_folder_that_others_own(tmpdir, monkeypatch, capsys):
    def refuse(source, target):
        raise OSError(13, "Permission denied", target)

    monkeypatch.setattr(enable, "_folder", lambda options: str(tmpdir))
    monkeypatch.setattr(enable, "_check_import", lambda folder: None)
    monkeypatch.setattr(os, "rename", refuse)

    class Options(object):
        name, user = "enable", False

    assert enable.enable(Options) == 1
    assert "Permission denied" in capsys.readouterr()[1].partition("Run it as the owner of that folder")[0]
    assert os.listdir(str(tmpdir)) == []


def test_write_that_fails_halfway_puts_back_what_was_there(tmpdir, monkeypatch):
    names = [name for name, _ in enable.contents()]
    tmpdir.join(names[0]).write("an older helper")
    real = os.rename
    renames = []

    def rename(source, target):
        renames.append(target)
        if len(renames) == len(names):
            raise OSError(28, "No space left on device", target)
        real(source, target)

    monkeypatch.setattr(enable, "_folder", lambda options: str(tmpdir))
    monkeypatch.setattr(enable, "_check_import", lambda folder: None)
    monkeypatch.setattr(os, "rename", rename)

    class Options(object):
        name = "enable"

    assert enable.enable(Options) == 1
    assert os.listdir(str(tmpdir)) == [names[0]] and tmpdir.join(names[0]).read() == "an older helper"


@pytest.mark.skipif(PY2, reason="the environment is the user's site folder")
def test_package_that_is_nowhere_installed(environment):
    # found in the current directory alone: no process that is started elsewhere would find it
    environment.uninstall("safethread_patch")
    root = os.path.dirname(os.path.dirname(os.path.abspath(safethread_patch.__file__)))
    ended = environment.command("enable", cwd=root)
    assert ended.status == 1 and "does not find safethread_patch" in ended.err and ended.err.count("\n") == 1, ended
    assert ours(environment) == []


def test_enable_makes_its_files_readable_for_all(environment):
    umask = "import os, sys; os.umask(%d); os.execv(sys.executable, [sys.executable, '-m', 'safethread_patch', 'enable'])"
    assert environment("-c", umask % 0o077).status == 0
    os.chmod(os.path.join(environment.site, "safethread_patch.pth"), 0o600)
    assert environment("-c", umask % 0o077).status == 0
    assert set(os.stat(os.path.join(environment.site, name)).st_mode & 0o777 for name in ours(environment)) == set([0o644])


def test_folder_named_like_the_package_is_not_the_package(environment):
    environment.command("enable")
    environment.uninstall("safethread_patch")
    os.makedirs(os.path.join(environment.folder, "safethread_patch"))
    ended = environment("-c", PATCHED + "print('safethread_patch' in sys.modules)")
    os.rmdir(os.path.join(environment.folder, "safethread_patch"))
    assert (ended.out, ended.err) == ("False\nFalse\n", ""), ended


def test_broken_package_is_not_taken_for_gone(environment):
    environment.command("enable")
    for name in ("_install.py", "__init__.py"):
        with open(os.path.join(environment.site, "safethread_patch", name), "a") as file:
            file.write("from safethread_patch import no_such_thing\n")
        ended = environment("-c", PATCHED)
        assert ended.out == "False\n" and "not loaded: ImportError" in ended.err and ended.err.count("\n") == 1, ended
    environment.uninstall("safethread_patch")


def test_disable_that_fails_leaves_no_start_up_file_without_helper(environment):
    environment.command("enable")
    path = os.path.join(environment.site, "safethread_patch.start")
    if os.path.exists(path):
        os.remove(path)
    os.makedirs(os.path.join(path, "x"))
    ended = environment.command("disable")
    assert ended.status == 1 and ended.err.count("\n") == 1, ended
    assert "_safethread_patch_autoload.py" in ours(environment) and "safethread_patch.pth" not in ours(environment)


def test_closed_streams(environment):
    for command in (["run", environment.python, "-c", "open('ran', 'w').close()"], ["enable"], ["status"], ["disable"]):
        shell = 'exec "$0" -m safethread_patch "$@" %s'
        for closed in (">&-", "2>&-", ">&- 2>&-"):
            ran = os.path.join(environment.folder, "ran")
            if os.path.exists(ran):
                os.remove(ran)
            ended = run(["sh", "-c", shell % closed, environment.python] + command, env=environment.env, cwd=environment.folder)
            assert "Traceback" not in ended.err, (command, closed, ended)
            assert os.path.exists(ran) or command[0] != "run"
            if not PY2:  # to which a closed stdout is an error, at the latest at exit
                assert ended.status == 0, (command, closed, ended)


@pytest.mark.skipif(PY2, reason="the environment is the user's site folder")
def test_user_site(environment, tmpdir):
    env = {"PYTHONUSERBASE": str(tmpdir)}
    refused = environment.command("enable", "--user", env=env)
    assert refused.status == 1 and "does not look into the user's site folder" in refused.err, refused
    assert "Nothing was changed" in refused.err and os.listdir(str(tmpdir)) == []
    config = os.path.join(environment.folder, "pyvenv.cfg")
    with open(config) as file:
        text = file.read()
    assert "include-system-site-packages = false" in text
    environment.write(config, text.replace("include-system-site-packages = false", "include-system-site-packages = true"))
    try:
        ended = environment.command("enable", "--user", env=env)
        assert ended.status == 0 and str(tmpdir) in ended.out and ended.err == "", ended
        assert ours(environment) == []
        for flags, enabled in (["-S", False], ["-s", False], ["-B", True]):
            ended = environment(flags, "-c", PATCHED, env=env)
            assert (ended.out, ended.err) == ("%s\n" % enabled, ""), ended
        report = json.loads(environment.command("status", "--json", env=env).out)
        assert len(report["enabled"]) >= 2 and not report["leftovers"] and report["kept_out"] == []
        report = json.loads(environment("-s", "-m", "safethread_patch", "status", "--json", env=env).out)
        assert any("user's site folder" in reason for reason in report["kept_out"])
        assert environment.command("disable", "--user", env=env).status == 0
        assert json.loads(environment.command("status", "--json", env=env).out)["enabled"] == []
    finally:
        environment.write(config, text)


# status


def status(environment, *args, **kwargs):
    ended = environment(*(args + ("-m", "safethread_patch", "status", "--json")), **kwargs)
    assert ended.status == 0 and ended.err == "", ended
    return json.loads(ended.out)


def test_status(environment):
    report = status(environment)
    assert report["installed"] is False and report["way"] is None
    assert report["enabled"] == report["leftovers"] == report["kept_out"] == []
    assert report["others"] == {} and "double-start" in report["defects"]
    environment.command("enable")
    report = status(environment)
    assert report["installed"] is True and report["way"] == "enable"
    assert sorted(os.path.basename(path) for path in report["enabled"]) == sorted(ours(environment))
    report = json.loads(environment.command("run", "-m", "safethread_patch", "status", "--json", env={"SAFETHREAD_PATCH": "1"}).out)
    assert report["installed"] is True
    environment.command("disable")
    report = json.loads(environment.command("run", "-m", "safethread_patch", "status", "--json").out)
    assert report["way"] == "run"


def test_status_says_what_keeps_the_patch_out(environment):
    environment.command("enable")
    report = status(environment, env={"SAFETHREAD_PATCH": "off"})
    assert not report["installed"] and "SAFETHREAD_PATCH=off" in report["kept_out"][0]
    report = status(environment, "-E")
    assert report["installed"] and report["flags"] == ["-E"] and "keeps run out" in report["kept_out"][0]
    if not PY2:  # whose user's site folder it is in
        ended = environment("-S", "-c", "import sys; sys.path.append(%r); sys.argv[1:] = ['status', '--json']; from safethread_patch._cli import main; main()" % environment.site)
        report = json.loads(ended.out)
        assert not report["installed"] and report["flags"] == ["-S"] and "keeps run and enable out" in report["kept_out"][0]


def test_status_names_leftovers(environment):
    environment.command("enable")
    helper = os.path.join(environment.site, "_safethread_patch_autoload.py")
    environment.write(helper, "def load(): pass  # an older version's")
    environment.write(helper + ".tmp", "")
    report = status(environment)
    assert report["enabled"] == [] and not report["installed"]
    assert sorted(os.path.basename(path) for path in report["leftovers"]) == sorted(ours(environment))
    assert helper + ".tmp" in report["leftovers"] and helper in report["leftovers"]
    environment.command("enable")
    assert status(environment)["leftovers"] == []
    environment.command("disable")
    assert ours(environment) == []


def test_status_for_people(environment):
    environment.command("enable")
    ended = environment.command("status")
    assert "patched:      yes, by enable" in ended.out and "safethread_patch.pth" in ended.out, ended


# safethread_patch.auto


def test_auto(environment):
    ended = environment("-c", "import safethread_patch.auto" + PATCHED + "from safethread_patch._cli import status; print(status._way())")
    assert (ended.out, ended.err) == ("True\nauto\n", ""), ended


def test_auto_never_raises(environment):
    environment.uninstall("wrapt")
    ended = environment("-c", "import safethread_patch.auto" + PATCHED)
    assert ended.status == 0 and ended.out == "False\n", ended
    assert "has no wrapt" in ended.err and ended.err.count("\n") == 1, ended
    environment.install("wrapt")
    ended = environment("-c", "import os, threading; del threading._limbo; import safethread_patch.auto; os._exit(0)")
    assert ended.status == 0 and "UnsupportedInterpreter" in ended.err and ended.err.count("\n") == 1, ended
