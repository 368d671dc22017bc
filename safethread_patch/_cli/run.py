"""``run``: a program, with the patch in every process of its tree."""
import errno
import os
import signal
import subprocess
import sys

from safethread_patch import _bootstrap
from safethread_patch._bootstrap._safethread_patch_autoload import say

_USAGE = "%(prog)s [-m MODULE | SCRIPT | COMMAND] [ARGS ...]"

_DESCRIPTION = """\
Runs a program with the patch in every process of its tree, by a sitecustomize in front of PYTHONPATH. The program
replaces this process, so that exit status, signals and standard streams are its own.
127: the program does not exist; 126: it cannot be executed; 2: a script or module is missing, or wrong usage.
"""


def add_to(commands):
    """Add the command to argparse's ``commands``."""
    parser = commands.add_parser(
        "run", help="run a program with the patch in every process of its tree", usage=_USAGE, description=_DESCRIPTION
    )
    parser.set_defaults(function=run)


def run(options):
    """Replace this process by the program ``options.rest``. Returns the exit status if that fails."""
    rest = options.rest
    if rest[:1] == ["--"]:
        del rest[0]
    if not rest or not rest[0] or rest[0] == "-m" and not "".join(rest[1:2]):
        return _say("run what? Give -m MODULE, a SCRIPT, or a COMMAND", 2)
    if rest[0] == "-m":
        if not _module_exists(rest[1]):
            return _say("no module named %s" % rest[1], 2)
        command = [sys.executable] + rest
    elif rest[0].startswith("-"):
        return _say("there is no option %s before the program; see run --help" % rest[0], 2)
    elif _is_script(rest[0]):
        if not os.path.exists(rest[0]):
            return _say("no script %s" % rest[0], 2)
        command = [sys.executable] + rest
    else:
        command = rest
    entries = python_path(os.environ.get("PYTHONPATH", ""))
    if os.pathsep in entries[0]:
        return _say(
            "the package is in %s, and PYTHONPATH cannot hold a folder with %r in its name: nothing would be patched. "
            "Install safethread_patch elsewhere, or call install() in the program" % (os.path.dirname(entries[0]), os.pathsep),
            1,
        )
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(entries))
    return _replace_by(command, env)


def python_path(path):
    """Return the entries of PYTHONPATH ``path`` with the folder _bootstrap in front; without empty ones, and each once."""
    folder = os.path.dirname(os.path.abspath(_bootstrap.__file__))
    return [folder] + [entry for entry in path.split(os.pathsep) if entry and entry != folder]


def _module_exists(name):
    try:
        from importlib.util import find_spec as find
    except ImportError:  # before 3.4
        from pkgutil import find_loader as find
    sys.path.insert(0, "")
    try:
        return find(name.partition(".")[0]) is not None  # the rest of the name is not looked up, because that imports the package
    except (ImportError, ValueError):
        return False
    finally:
        del sys.path[0]


def _is_script(program):
    if os.path.isdir(program):
        return os.path.exists(os.path.join(program, "__main__.py"))
    if not program.endswith((".py", ".pyc", ".pyw", ".pyz", ".zip")):
        return False
    return os.sep in program or os.path.exists(program) or not _find(program)


def _find(program):
    """Return the files that a shell considers for ``program``."""
    if os.path.dirname(program):
        places = [""]
    else:
        places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return [path for path in (os.path.join(place, program) for place in places) if os.path.exists(path)]


def _replace_by(command, env):
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":  # there the shell does not wait for a program that was started by exec
        return subprocess.call(command, env=env)
    # the interpreter ignores these signals, and exec would pass that on to the program
    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, env)
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        if number in (errno.ENOENT, errno.ENOTDIR) and not _find(command[0]):
            return _say("no program %s" % command[0], 127)
        return _say("cannot execute %s: %s" % (command[0], getattr(error, "strerror", None) or error), 126)


def _say(text, status):
    say("safethread-patch run: %s\n" % text)
    return status
