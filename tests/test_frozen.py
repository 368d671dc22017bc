"""Compiled, frozen and zipped programs: the patch works there, or install() refuses and changes nothing.

``nox -s frozen`` installs what makes them, and runs these tests. Without it they are skipped.
"""
import os
import shutil
import subprocess
import sys

import pytest
from conftest import run

import safethread_patch

PROGRAM = """
import os, sys, threading
import safethread_patch
before = threading.Thread.start
try:
    print(safethread_patch.install())
except safethread_patch.UnsupportedInterpreter as error:
    print(error)
    print(threading.Thread.start is before)
thread = threading.Thread(target=sys.stdout.write, args=("ran\\n",))
thread.start()
thread.join()
sys.stdout.flush()
pid = os.fork()
if not pid:
    thread = threading.Thread(target=sys.stdout.write, args=("ran in a child\\n",))
    thread.start()
    thread.join()
    sys.stdout.flush()
    os._exit(0)
os.waitpid(pid, 0)
"""

AUTO = """
import safethread_patch.auto
import threading
print(safethread_patch.is_installed())
threading.Thread(target=print, args=("ran",)).start()
"""

PACKAGE = os.path.dirname(os.path.abspath(safethread_patch.__file__))


def need(name):
    import importlib.util

    if importlib.util.find_spec(name) is None:
        pytest.skip("no " + name)


pytestmark = pytest.mark.skipif(sys.version_info < (3, 8), reason="the freezers need a newer Python")


@pytest.fixture
def program(tmpdir):
    """A program in a folder of its own, which becomes the working directory."""
    tmpdir.join("program.py").write(PROGRAM)
    with tmpdir.as_cwd():
        yield "program.py"


def make(*command):
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert made.returncode == 0, made.stdout.decode("utf-8", "replace")[-4000:]


def assert_works(*command):
    ended = run(list(command), env={"PYTHONPATH": None})
    assert (ended.status, ended.out, ended.err) == (0, "True\nran\nran in a child\n", ""), ended


def assert_refuses(*command, **options):
    ended = run(list(command), **options)
    lines = ended.out.splitlines()
    assert ended.status == 0 and lines[1:] == ["True", "ran", "ran in a child"] and not ended.err, ended
    assert "safethread_patch compiled" in lines[0] and "ship its .py files" in lines[0], ended


def copy_packages(folder):
    import wrapt

    for path in (PACKAGE, os.path.dirname(wrapt.__file__)):
        shutil.copytree(path, os.path.join(str(folder), os.path.basename(path)), ignore=shutil.ignore_patterns("__pycache__"))


def test_zipapp(program, tmpdir):
    import zipapp

    folder = tmpdir.mkdir("folder")
    copy_packages(folder)
    os.rename(program, str(folder.join("__main__.py")))
    zipapp.create_archive(str(folder), "program.pyz")
    assert_works(sys.executable, "-S", "program.pyz")


@pytest.mark.parametrize("mode", ["--onedir", "--onefile"])
def test_pyinstaller(program, mode):
    need("PyInstaller")
    make(sys.executable, "-m", "PyInstaller", mode, "--log-level", "WARN", program)
    assert_works(os.path.join("dist", "program", "program") if mode == "--onedir" else os.path.join("dist", "program"))


def test_pyinstaller_and_auto(program):
    need("PyInstaller")
    with open(program, "w") as file:
        file.write(AUTO)
    make(sys.executable, "-m", "PyInstaller", "--onedir", "--log-level", "WARN", program)
    ended = run([os.path.join("dist", "program", "program")], env={"SAFETHREAD_PATCH": None})
    assert (ended.status, ended.out, ended.err) == (0, "True\nran\n", ""), ended


def nuitka(*arguments):
    make(sys.executable, "-m", "nuitka", "--output-dir=out", "--assume-yes-for-downloads", *arguments)


def test_nuitka_compiles_the_package(program):
    need("nuitka")
    left_out = ",".join("safethread_patch." + name for name in ("_cli", "_defects", "_pytest_fork", "pytest_plugin"))
    nuitka("--mode=module", "--include-package=safethread_patch", "--nofollow-import-to=" + left_out, PACKAGE)
    assert_refuses(sys.executable, program, env={"PYTHONPATH": os.path.abspath("out")})


def test_nuitka_leaves_the_package_out(program):
    need("nuitka")
    allowed = "--no-deployment-flag=excluded-module-usage"
    needed = ["--include-package=wrapt"] + ["--include-module=" + name for name in ("asyncio", "contextlib", "warnings")]
    nuitka("--mode=standalone", "--nofollow-import-to=safethread_patch", allowed, *(needed + [program]))
    folder = os.path.join("out", "program.dist")
    shutil.copytree(PACKAGE, os.path.join(folder, "safethread_patch"))
    assert_works(os.path.join(folder, "program.bin"))


def test_cython(program, tmpdir):
    need("Cython")
    copy_packages(tmpdir)
    modules = [os.path.join("safethread_patch", name + ".py") for name in ("_start", "_announce", "_fork", "_install", "_ledger")]
    tmpdir.join("setup.py").write(
        "from setuptools import setup\nfrom Cython.Build import cythonize\n"
        "setup(name='x', packages=[], ext_modules=cythonize(%r, language_level=3))\n" % modules
    )
    make(sys.executable, "setup.py", "-q", "build_ext", "--inplace")
    for path in modules:
        os.remove(path)
    assert_refuses(sys.executable, program, env={"PYTHONPATH": "."})
