"""safethread-patch run: patches the program and every Python process that it starts, by a sitecustomize in front of
PYTHONPATH. A sitecustomize that this one hides is loaded after it.
"""
import os
import shutil
import sys

import pytest
from conftest import PY2, run
from environments import PATCHED, assert_one_message, assert_printed

import safethread_patch

# What it runs


def test_run_script(environment):
    ended = environment.run_code("import sys; print(sys.argv[1:])\n" + PATCHED, "-x", "--json", "run")
    assert_printed(ended, ["-x", "--json", "run"], True)


def test_run_module(environment):
    environment.write("a_module.py", "import sys; print(sys.argv[1:])" + PATCHED)
    ended = environment.command("run", "-m", "a_module", "-m", "x")
    assert_printed(ended, ["-m", "x"], True)


def test_run_module_of_the_standard_library(environment):
    # the loader waits for the end of an import of the standard library, but __main__ is never imported
    ended = environment.command("run", "-m", "timeit", "-n", "1", "-r", "1", PATCHED.strip().replace("\n", "; "))
    assert ended.status == 0 and "True\n" in ended.out and ended.err == "", ended


def test_run_command(environment):
    assert_printed(environment.command("run", environment.executable, "-c", PATCHED), True)


def test_run_replaces_its_process(environment):
    is_same_process = "import os, sys; print(os.getpid() == int(sys.argv[1]))"
    program = """
import os, sys
command = [sys.executable, "-m", "safethread_patch", "run", sys.executable, "-c", sys.argv[1], str(os.getpid())]
os.execv(sys.executable, command)
"""
    assert_printed(environment.python("-c", program, is_same_process), True)


def test_run_has_the_program_s_status_signals_and_standard_input(environment):
    assert environment.command("run", "sh", "-c", "exit 7").status == 7
    assert environment.command("run", "sh", "-c", "kill -TERM $$").status == -15
    assert environment.command("run", "sh", "-c", "kill -PIPE $$").status == -13
    assert_printed(environment.command("run", "cat", stdin=environment.write("a file", "hello\n")), "hello")


@pytest.mark.parametrize(
    "args, status, message",
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
def test_run_what_cannot_be_run(environment, args, status, message):
    environment.write("not-executable", "")
    os.chmod(environment.write("bad-interpreter", "#!/no/such/interpreter\n"), 0o755)
    ended = environment.command("run", *args)
    assert ended.status == status and ended.out == "", ended
    assert_one_message(ended, message)


def test_run_help(environment):
    ended = environment.command("run", "--help")
    assert ended.status == 0 and "COMMAND" in ended.out, ended


# What it reaches


def test_run_reaches_the_whole_tree(environment):
    program = """
import multiprocessing
import subprocess
import sys

def is_patched():
    import threading
    return threading.Thread.start.__code__.co_filename.endswith("_start.py")

def tell(queue):
    queue.put(is_patched())

if __name__ == "__main__":
    print("subprocess " + subprocess.check_output([sys.executable, "-c", sys.argv[1]]).decode().strip())
    for method in multiprocessing.get_all_start_methods() if sys.version_info >= (3, 4) else [None]:
        context = multiprocessing.get_context(method) if method else multiprocessing
        queue = context.Queue()
        process = context.Process(target=tell, args=(queue,))
        process.start()
        print("%s %s" % (method, queue.get(True, 30)))
        process.join()
"""
    methods = ["None"]
    if not PY2:
        import multiprocessing

        methods = multiprocessing.get_all_start_methods()
    ended = environment.run_code(program, PATCHED)
    assert_printed(ended, *["%s True" % name for name in ["subprocess"] + methods])


def test_run_keeps_pythonpath(environment):
    program = "import os; print(os.environ['PYTHONPATH'])"
    bootstrap = environment.run_code(program).out.strip()
    assert os.path.basename(bootstrap) == "_bootstrap" and os.path.isabs(bootstrap)
    assert_printed(environment.run_code(program, env={"PYTHONPATH": ""}), bootstrap)
    assert_printed(environment.run_code(program, env={"PYTHONPATH": ":/a::/b:"}), bootstrap + ":/a:/b")
    nested = [environment.executable, "-m", "safethread_patch", "run", "program.py"]
    assert_printed(environment.command("run", *nested, env={"PYTHONPATH": "/a"}), bootstrap + ":/a")


def test_run_finds_a_package_that_is_not_installed_for_the_program(environment):
    # as in a checkout: the interpreter that runs the program has wrapt, but not the package
    anew = "\ndel sys.modules['threading']"
    program = environment.write("elsewhere.py", PATCHED + anew + PATCHED)
    environment.uninstall("safethread_patch")
    root = os.path.dirname(os.path.dirname(os.path.abspath(safethread_patch.__file__)))
    env = dict(environment.env, SAFETHREAD_PATCH=None)
    if PY2:
        env["PYTHONPATH"] = os.environ.get("PYTHONPATH")
    command = [sys.executable, "-m", "safethread_patch", "run", environment.executable, program]
    assert_printed(run(command, env=env, cwd=root), True, True)


@pytest.mark.parametrize("args", [["program.py"], ["-m", "program"], ["sh", "-c", "exit 3"]])
def test_package_in_a_folder_that_pythonpath_cannot_hold(environment, args):
    environment.write("program.py", "")
    folder = os.path.join(environment.cwd, "a:b")
    shutil.copytree(os.path.join(environment.site, "safethread_patch"), os.path.join(folder, "safethread_patch"))
    program = "import sys; sys.path.insert(0, 'a:b'); from safethread_patch._cli import main; sys.exit(main(sys.argv[1:]))"
    ended = environment.python("-c", program, "run", *args)
    assert ended.status == 1 and ended.out == "", ended
    assert_one_message(ended, "a:b", "PYTHONPATH cannot hold", "Install safethread_patch elsewhere")


def test_start_up_leaves_sys_path_as_it_is(environment):
    env = with_sitecustomize(environment, "")
    without = environment.python("-c", "import sys; print(sys.path[1:])", env=env).out
    ended = environment.run_code("import threading, sys; print(sys.path[2:])", env=env)
    bootstrap = environment.run_code("import sys; print(sys.path[1])").out.strip()
    assert ended.out == without and os.path.basename(bootstrap) == "_bootstrap", (ended, without)


# The sitecustomize that it hides


def with_sitecustomize(environment, text):
    """Write a sitecustomize, and return the variables with which an interpreter has it."""
    folder = os.path.join(environment.cwd, "hidden")
    os.makedirs(folder)
    environment.write(os.path.join(folder, "sitecustomize.py"), text)
    return {"PYTHONPATH": folder}


def test_hidden_sitecustomize_is_loaded(environment):
    env = with_sitecustomize(environment, "is_hidden = True")
    program = PATCHED + """
print(sys.modules["sitecustomize"].is_hidden)
import sitecustomize
print(sitecustomize.is_hidden)
"""
    assert_printed(environment.run_code(program, env=env), True, True, True)


def test_hidden_sitecustomize_that_loads_what_it_hides_itself(environment):
    env = with_sitecustomize(
        environment,
        """
import os, sys
sys.loads = getattr(sys, "loads", 0) + 1
here = os.path.dirname(os.path.abspath(__file__))
if sys.loads < 10:
    this = sys.modules.pop("sitecustomize")
    path = sys.path[:]
    sys.path[:] = [entry for entry in path if os.path.abspath(entry) != here]
    try:
        import sitecustomize
    except ImportError:
        sys.modules["sitecustomize"] = this
    finally:
        sys.path[:] = path
""",
    )
    program = PATCHED + "print(sys.loads)"
    assert_printed(environment.run_code(program, env=env), True, 1)
    # the other way round: it is in front, and hides that of run
    bootstrap = environment.run_code("import os; print(os.environ['PYTHONPATH'])").out.strip()
    env = {"PYTHONPATH": env["PYTHONPATH"] + ":" + bootstrap}
    assert_printed(environment.python("-c", program, env=env), True, 1)


def test_sitecustomize_that_is_not_on_the_path(environment):
    path = os.path.join(environment.site, "safethread_patch", "_bootstrap", "sitecustomize.py")
    ended = environment.python("-c", "import runpy; runpy.run_path(%r)" % path + PATCHED)
    assert ended.status == 0 and "Traceback" not in ended.err, ended


@pytest.mark.parametrize("text", ["1/0", "import no_such_module", "def"])
def test_broken_sitecustomize_is_reported_as_python_would(environment, text):
    env = with_sitecustomize(environment, text)
    alone = environment.python("-c", "pass", env=env)
    assert alone.err or PY2 and text.startswith("import")  # Python 2 ignores every ImportError of a sitecustomize
    ended = environment.run_code(PATCHED, env=env)
    # once for run's own process, and once for the program
    assert ended.out == "True\n" and ended.err == 2 * alone.err, (ended, alone)


def test_hidden_sitecustomize_is_loaded_where_the_patch_cannot_be(environment):
    env = with_sitecustomize(environment, "import sys; sys.stderr.write('hidden\\n')")
    environment.write(os.path.join(environment.site, "safethread_patch", "_install.py"), "1/0")
    ended = environment.run_code("import threading; print('fine')", env=env)
    assert ended.out == "fine\n", ended
    from_run, first, second = ended.err.splitlines()  # the first is from run's own process
    assert from_run == first == "hidden" and "safethread_patch: not loaded: ZeroDivisionError" in second, ended


def test_sitecustomize_that_imports_threading(environment):
    # patched at once: it may start threads
    env = with_sitecustomize(
        environment,
        """
import logging, threading, sys
sys.is_patched = threading.Thread.start.__code__.co_filename.endswith("_start.py")
""",
    )
    assert_printed(environment.run_code(PATCHED + "print(sys.is_patched)", env=env), True, True)
