"""The project's tests, on every interpreter that is found: PATH first, then what pyenv has.

    nox                   all tests on all interpreters
    nox -s tests-3.11     one of them
    nox -s tests -- -k storm
    nox -s neighbours       with the libraries that patch threads, too
    nox -s uwsgi            in a real uWSGI, which pip builds
    nox -s frozen           compiled and frozen programs: minutes
    nox -s cpython          CPython's own tests, stock and with the patch: long
    nox -s soak             ten minutes on each of four interpreters; nox -s soak -- 20: seconds
    nox -s lint types       ruff, and that Python 2.7 can compile it; mypy and stubtest
    nox -s package          wheel and sdist: what they hold, and that they show well

The wheel is what is tested, not the checkout.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import zipfile

import nox

# every list of versions: [versions]
PYTHONS = ["3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15", "3.13t", "pypy3"]

# beside which our own has to work
OTHER_PLUGINS = ["pytest-xdist", "pytest-timeout", "pytest-randomly", "pytest-cov"]

HERE = os.path.dirname(os.path.abspath(__file__))

# beside nox; on PATH it need not be
UV = [sys.executable, "-m", "uv"]

nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False  # named and skipped, on CI too
nox.options.sessions = ["lint", "types", "package", "tests", "tests-2.7", "uwsgi"]

# pyenv's shims answer to every name, also to those that they then refuse to run
_PYENV = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
_BINS = sorted(glob.glob(os.path.join(_PYENV, "versions", "*", "bin")))
os.environ["PATH"] = os.pathsep.join(
    [entry for entry in os.environ["PATH"].split(os.pathsep) if entry != os.path.join(_PYENV, "shims")] + _BINS
)


def executable(python):
    return shutil.which(python if python.startswith("pypy") else "python" + python)


def wheel(session):
    """Build the wheel, once in a run of nox, with nox's own interpreter, and return its path."""
    if not _wheels:
        folder = os.path.join(HERE, ".nox", "dist")
        shutil.rmtree(folder, ignore_errors=True)
        session.run(*UV, "build", "-q", "--wheel", "--python", sys.executable, "-o", folder, HERE, external=True)
        _wheels.extend(glob.glob(os.path.join(folder, "*.whl")))
    return _wheels[0]


_wheels = []


def run_tests(session, python, env=None, tests=()):
    session.chdir(os.path.join(HERE, "tests"))  # from here the checkout cannot be imported
    env = dict(env or {}, PYTHONDONTWRITEBYTECODE="1")
    options = ["-q", "-ra", "-p", "no:cacheprovider", "-p", "no:randomly", "-n", "2", "--dist", "loadfile"]
    session.run(python, "-m", "pytest", *options, *tests, *session.posargs, env=env, external=True)


@nox.session(python=PYTHONS)
def tests(session):
    """The tests, on one interpreter."""
    # pytest-forked 1.7.5 cannot marshal the reports of pytest 9.2
    session.install(wheel(session), "pytest <9.2", "pytest-forked", *OTHER_PLUGINS)
    run_tests(session, "python")


@nox.session(python=["3.11", "3.13", "3.15"])  # [versions]
def neighbours(session):
    """Libraries that patch threads, too, or use threads and forks."""
    libraries = ["gevent", "eventlet", "sentry-sdk", "opentelemetry-sdk"]
    libraries.append("opentelemetry-instrumentation-threading >=0.60b0")  # all of its versions are beta ones
    libraries += ["gunicorn", "celery", "uvloop", "coverage", "freezegun", "ddtrace"]
    session.install(wheel(session), "pytest <9.2", "pytest-forked", "pytest-xdist", *libraries)
    env = {"NEIGHBOURS": "1", "PYTEST_ADDOPTS": "-p no:ddtrace"}  # its plugin imports it before the tests
    run_tests(session, "python", env, ["test_neighbours.py"])


@nox.session(python=["3.8", "3.11", "3.13"])  # [versions]
def uwsgi(session):
    """Workers, mules and spoolers of a real uWSGI."""
    session.install(wheel(session), "pytest <9.2", "pytest-xdist", "uwsgi")
    run_tests(session, "python", tests=["test_uwsgi.py"])


@nox.session(python=["3.11", "3.13"])  # [versions]
def frozen(session):
    """Programs that Nuitka, Cython and PyInstaller have made."""
    session.install(wheel(session), "pytest <9.2", "pytest-xdist", "nuitka", "cython", "setuptools", "pyinstaller")
    run_tests(session, "python", tests=["test_frozen.py"])


@nox.session(python=["3.8", "3.11", "3.13", "3.15"])  # [versions]
def cpython(session):
    """CPython's own tests, stock and with the patch; "-- TEST ..." for some of them."""
    session.install(wheel(session))
    run_cpython(session, "python", session.posargs)


@nox.session(name="cpython-2.7", venv_backend="none")
def cpython_27(session):
    """The same on Python 2.7."""
    python, env = environment_27(session)
    run_cpython(session, python, session.posargs, env)


def run_cpython(session, python, tests, env=None):
    session.chdir(os.path.join(HERE, "tests"))
    folder = os.path.join(HERE, ".nox", "cpython", session.name)
    session.run(python, "cpython.py", folder, *tests, env=env, external=True)


@nox.session(python=["3.11", "3.15", "3.13t"])  # [versions]
def soak(session):
    """Ten minutes of everything at once; "-- SECONDS" for another time."""
    session.install(wheel(session))
    session.chdir(os.path.join(HERE, "tests"))
    session.run("python", "soak.py", *(session.posargs or ["600"]))


@nox.session(name="soak-2.7", venv_backend="none")
def soak_27(session):
    """The same on Python 2.7."""
    python, env = environment_27(session)
    session.chdir(os.path.join(HERE, "tests"))
    session.run(python, "soak.py", *(session.posargs or ["600"]), env=env, external=True)


@nox.session
def lint(session):
    """Ruff; and every source file of the package compiles on Python 2.7."""
    session.install("ruff")
    session.run("ruff", "check", "--no-cache", HERE)
    python = executable("2.7")
    if python is None:
        session.skip("Python interpreter 2.7 not found")
    compiles = "import sys; [compile(open(path).read(), path, 'exec') for path in sys.argv[1:]]"
    sources = [
        os.path.join(folder, name)
        for room in ("safethread_patch", "tests")
        for folder, _, names in os.walk(os.path.join(HERE, room))
        for name in sorted(names)
        if name.endswith(".py")
    ]
    session.run(python, "-c", compiles, *sources, external=True)


@nox.session
def types(session):
    """The stubs of the public face, by themselves and against the code."""
    session.install(wheel(session), "mypy", "pytest <9.2")
    folder = os.path.abspath(session.create_tmp())
    session.chdir(folder)  # from here the checkout cannot be imported, and what mypy keeps is out of the way
    config = os.path.join(HERE, "pyproject.toml")
    session.run("mypy", "--config-file", config, "-p", "safethread_patch")
    allowed = os.path.join(folder, "allowed")
    with open(allowed, "w") as file:
        file.write("safethread_patch\\._.*\n")  # what is private has no stubs
    env = {"SAFETHREAD_PATCH": "0"}
    session.run("stubtest", "--mypy-config-file", config, "--allowlist", allowed, "safethread_patch", env=env)


@nox.session
def package(session):
    """The wheel and the sdist: the same from each, nothing in them that users do not need, and a page to show."""
    session.install("twine")
    folder = os.path.join(session.create_tmp(), "dist")
    shutil.rmtree(folder, ignore_errors=True)
    # the sdist, and from it the wheel
    session.run(*UV, "build", "-q", "--python", sys.executable, "-o", folder, HERE, external=True)
    (from_sdist,) = glob.glob(os.path.join(folder, "*.whl"))
    with open(wheel(session), "rb") as ours, open(from_sdist, "rb") as theirs:
        if ours.read() != theirs.read():
            session.error("the sdist builds another wheel than the checkout: %s, %s" % (_wheels[0], from_sdist))
    with zipfile.ZipFile(from_sdist) as file:
        names = [name for name in file.namelist() if ".dist-info/" not in name]
    wrong = [name for name in names if not re.match(r"safethread_patch/(.*\.pyi?|py\.typed)$", name)]
    if wrong or "safethread_patch/py.typed" not in names:
        session.error("the wheel should hold the package alone, with py.typed, and holds %s" % (wrong or names))
    session.run("twine", "check", "--strict", *glob.glob(os.path.join(folder, "*")))


@nox.session(name="tests-2.7", venv_backend="none")
def tests_27(session):
    """The tests on Python 2.7, for which neither uv nor a current virtualenv makes an environment."""
    run_tests(session, *environment_27(session))


def environment_27(session):
    """Return the interpreter, and the environment in which it finds the wheel and what the tests need."""
    python = executable("2.7")
    if python is None:
        session.skip("Python interpreter 2.7 not found")
    if subprocess.call([python, "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        session.skip("%s has no pip" % python)
    target = os.path.join(HERE, ".nox", session.name.replace(".", "-"))
    shutil.rmtree(target, ignore_errors=True)
    session.run(
        python, "-m", "pip", "install", "-q", "--disable-pip-version-check",
        "--target", target, wheel(session), "pytest==4.6.11", "pytest-forked==1.3.0", "pytest-xdist==1.34.0",
        "pytest-timeout==1.4.2", "pytest-randomly==1.2.3", "pytest-cov==2.12.1", "futures==3.4.0",
    )  # fmt: skip
    return python, {"PYTHONPATH": target, "PYTHONDONTWRITEBYTECODE": "1"}


_missing = [python for python in ["2.7"] + PYTHONS if executable(python) is None]
if _missing:
    sys.stderr.write("noxfile: no interpreter found for %s\n" % ", ".join(_missing))
