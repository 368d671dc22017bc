"""The environment in which the tests load the patch automatically: an interpreter with the package and wrapt alone.

A plugin of pytest, so that the test files share one environment in each process: making it is expensive.
"""
import os
import shutil
import sys

import pytest
from conftest import PY2, run

PACKAGES = ("safethread_patch", "wrapt")

# prints whether threading.Thread is patched
PATCHED = """
import threading, sys
print(threading.Thread.start.__code__.co_filename.replace("\\\\", "/").endswith("safethread_patch/_start.py"))
"""

# prints what has been imported that is not among the arguments; PRINT_MODULES lists it for such a call
PRINT_MODULES = "import sys; print(' '.join(sys.modules))"
PRINT_NEW_MODULES = "import sys; print(sorted(set(sys.modules) - set(sys.argv)))"


class Environment(object):
    """An interpreter with a site folder of its own, and the working directory of the current test."""

    def __init__(self, folder):
        self.folder = folder
        self.cwd = folder
        if PY2:  # it has no venv: the site folder is the user's
            self.executable = sys.executable
            self.env = {"PYTHONUSERBASE": folder, "PYTHONPATH": None}
        else:
            made = run([sys.executable, "-m", "venv", "--without-pip", folder], deadline=120)
            assert made.status == 0, made
            self.executable = os.path.join(folder, "bin", "python")
            self.env = {"PYTHONPATH": None}
        site_folder = "site.getusersitepackages()" if PY2 else "site.getsitepackages()[0]"
        self.site = self.python("-c", "import site; print(%s)" % site_folder).out.strip()

    def reset(self, cwd):
        """Put both packages, and nothing else, into the site folder; run everything in ``cwd`` from now on."""
        self.cwd = cwd
        shutil.rmtree(self.site, ignore_errors=True)
        os.makedirs(self.site)
        for name in PACKAGES:
            self.install(name)

    def install(self, name):
        source = os.path.dirname(os.path.abspath(__import__(name).__file__))
        shutil.copytree(source, os.path.join(self.site, name), ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))

    def uninstall(self, name):
        shutil.rmtree(os.path.join(self.site, name))

    def write(self, name, text):
        """Write a file in the working directory, and return its path."""
        path = os.path.join(self.cwd, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def python(self, *args, **kwargs):
        """Run the interpreter with these arguments, and return how it ended."""
        env = dict(self.env, PYTHONDONTWRITEBYTECODE="1", SAFETHREAD_PATCH=None)
        env.update(kwargs.pop("env", {}))
        return run([self.executable] + list(args), env=env, cwd=kwargs.pop("cwd", self.cwd), **kwargs)

    def command(self, *args, **kwargs):
        """Run the command line tool with these arguments."""
        return self.python("-m", "safethread_patch", *args, **kwargs)

    def run_code(self, code, *args, **kwargs):
        """``run`` this code as a script, which must end with 0."""
        __tracebackhide__ = True
        ended = self.command("run", self.write("program.py", code), *args, **kwargs)
        assert ended.status == 0, ended
        return ended

    def names_from_enable(self):
        """Return what is in the site folder of what enable writes, whole or partial, sorted."""
        return sorted(name for name in os.listdir(self.site) if "safethread_patch" in name and name not in PACKAGES)


def assert_printed(ended, *values):
    """Check that a program ended well, printed these values, one a line, and wrote nothing to stderr."""
    __tracebackhide__ = True
    expected = "".join("%s\n" % (value,) for value in values)
    assert (ended.status, ended.out, ended.err) == (0, expected, ""), ended


def assert_one_message(ended, *texts):
    """Check that a program wrote one line to stderr, and that these texts are in it."""
    __tracebackhide__ = True
    assert ended.err.count("\n") == 1 and ended.err.endswith("\n"), ended
    for text in texts:
        assert text in ended.err, ended


@pytest.fixture(scope="session")
def whole_environment(tmpdir_factory):
    return Environment(str(tmpdir_factory.mktemp("environment")))


@pytest.fixture
def environment(whole_environment, tmpdir):
    whole_environment.reset(str(tmpdir.mkdir("cwd")))
    return whole_environment
