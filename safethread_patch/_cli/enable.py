"""``enable`` and ``disable``: load the patch at every start of this environment's interpreter."""
import errno
import os
import site
import subprocess
import sys

import safethread_patch
from safethread_patch import _bootstrap, _facts

#: What the start-up file calls: a module beside it, which outlives a ``pip uninstall`` in silence.
HELPER = "_safethread_patch_autoload"

_START_UP = ("safethread_patch.pth", "safethread_patch.start")

_NAMES = (HELPER + ".py",) + _START_UP

_PTH = "# safethread-patch enable wrote this; safethread-patch disable removes it\nimport %s; %s.load()\n" % (HELPER, HELPER)
_START = "# safethread-patch enable wrote this; safethread-patch disable removes it\n%s:load\n" % HELPER


def add_to(commands):
    """Add both commands to argparse's ``commands``."""
    for name, function, text in (
        ("enable", enable, "load the patch at every start of this environment's interpreter"),
        ("disable", disable, "undo enable"),
    ):
        parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        parser.add_argument("--user", action="store_true", help="in the user's site folder, not in the environment's")
        parser.set_defaults(function=function, name=name)


def contents():
    """Return the files that enable writes, ``[(name, text)]``, in the order in which they are written."""
    source = os.path.join(os.path.dirname(os.path.abspath(_bootstrap.__file__)), HELPER + ".py")
    with open(source) as file:
        files = [(HELPER + ".py", file.read())]
    if _facts.STARTUP_FILES:
        files.append(("safethread_patch.start", _START))
    # the last one, which makes the interpreter look at the others
    return files + [("safethread_patch.pth", _PTH)]


def names(folder):
    """Return the names of our files that are in ``folder``, and of what is left of them."""
    found = [name for name in _NAMES if os.path.lexists(os.path.join(folder, name))]
    try:
        entries = os.listdir(folder)
    except OSError:
        return found
    # an interrupted enable's; and Python 2 imports from a .pyc alone
    found += [name for name in entries if name.endswith(".tmp") and name[:-4] in _NAMES or name == HELPER + ".pyc"]
    return found


def folders():
    """Return the folders whose start-up files this interpreter reads: ``[(folder, is it the user's)]``."""
    users = getattr(site, "USER_SITE", None) or (site.getusersitepackages() if hasattr(site, "getusersitepackages") else None)
    if hasattr(site, "getsitepackages"):
        found = site.getsitepackages()
    else:  # the site module of a virtualenv before 20
        from distutils.sysconfig import get_python_lib

        found = [get_python_lib()]
    return [(folder, False) for folder in found] + [(users, True)] * bool(users)


def enable(options):
    """Write the files; return the exit status."""
    try:
        folder = _folder(options)
        _check_import(folder)
        done = []
        try:
            for name, text in contents():
                _write(os.path.join(folder, name), text, done)
        except BaseException:
            for undo in reversed(done):
                undo()
            raise
    except (EnvironmentError, _Refused) as error:
        return _fail(options, error)
    sys.stdout.write("enabled: %s\n" % os.path.join(folder, "safethread_patch.pth"))
    return 0


def disable(options):
    """Remove the files; return the exit status."""
    try:
        folder = _folder(options)
        found = names(folder)
        # the start-up files first, and all of them: they need the helper
        failed = [error for error in map(_remove, [os.path.join(folder, name) for name in _START_UP]) if error]
        if failed:
            raise failed[0]
        for name in found:
            if name not in _START_UP:
                os.remove(os.path.join(folder, name))
        _remove_compiled(folder)
    except (EnvironmentError, _Refused) as error:
        return _fail(options, error)
    sys.stdout.write("disabled: %s\n" % folder if found else "was not enabled: %s\n" % folder)
    for other, _ in folders():
        if other != folder and names(other):
            sys.stdout.write("still enabled: %s\n" % other)
    return 0


class _Refused(Exception):
    """What was tried would not do what was asked for."""


def _fail(options, error):
    rest = " Nothing was changed." if options.name == "enable" else ""
    if getattr(error, "errno", None) in (errno.EACCES, errno.EPERM, errno.EROFS):
        rest += " Run it as the owner of that folder"
        rest += ", or with --user." if site.ENABLE_USER_SITE and not options.user else "."
    sys.stderr.write("safethread-patch %s: %s.%s\n" % (options.name, error, rest))
    return 1


def _folder(options):
    """Return the folder to write to: the user's, or that of the package, or the environment's."""
    found = folders()
    users = [folder for folder, is_users in found if is_users]
    if options.user:
        if not users:
            raise _Refused("this interpreter has no user's site folder")
        if options.name == "enable":
            if not site.ENABLE_USER_SITE:
                raise _Refused(
                    "this interpreter does not look into the user's site folder, be it for -s, -I, PYTHONNOUSERSITE or a "
                    "virtual environment: leave --user out, or use another interpreter"
                )
            if not os.path.isdir(users[0]):
                os.makedirs(users[0])
        return users[0]
    root = os.path.dirname(os.path.dirname(os.path.realpath(safethread_patch.__file__)))
    for folder, _ in found:
        if os.path.realpath(folder) == root:
            return folder
    try:  # an editable installation: where pip installs
        from sysconfig import get_paths

        purelib = get_paths()["purelib"]
    except ImportError:
        purelib = None
    folders_ = [folder for folder, is_users in found if not is_users]
    return purelib if purelib in folders_ else folders_[0]


def _check_import(folder):
    """Raise _Refused if an interpreter that is started elsewhere does not find the package, and what it needs."""
    env = dict(os.environ, SAFETHREAD_PATCH="0")
    env.pop("PYTHONPATH", None)  # which not all that are started need have
    with open(os.devnull, "r+") as null:
        for name in ("safethread_patch", "wrapt"):
            command = [sys.executable, "-c", "import " + name]
            if subprocess.call(command, cwd=folder, env=env, stdin=null, stdout=null, stderr=null):
                raise _Refused(
                    "%s, started elsewhere, does not find %s: install it for this interpreter first, with %s -m pip"
                    % (sys.executable, name, sys.executable)
                )


def _write(path, text, done):
    """Write ``text`` to ``path``, atomically, and add to ``done`` what undoes it."""
    old = None
    if os.path.exists(path):  # a link may lead to nothing
        with open(path, "rb") as file:
            old = file.read()
    new = text.encode("ascii")
    if old == new and not os.path.islink(path) and os.stat(path).st_mode & 0xFFF == _MODE:
        return
    _replace(path, new)
    done.append((lambda: os.remove(path)) if old is None else (lambda: _replace(path, old)))


def _replace(path, content):
    temporary = path + ".tmp"
    if os.path.lexists(temporary):  # an interrupted enable's
        os.remove(temporary)
    # O_EXCL: not through a link that somebody else has put there
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), _MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(temporary, _MODE)  # who else starts this interpreter has to read it, whatever our umask is
        if os.name == "nt" and os.path.exists(path):  # where rename() refuses to replace
            os.remove(path)
        os.rename(temporary, path)
    except BaseException:
        os.remove(temporary)
        raise


_MODE = int("644", 8)


def _remove(path):
    """Remove the file, if there is one; return the error if it is still there."""
    try:
        if os.path.lexists(path):
            os.remove(path)
    except EnvironmentError as error:
        return error
    return None


def _remove_compiled(folder):
    cache = os.path.join(folder, "__pycache__")
    try:
        compiled = [name for name in os.listdir(cache) if name.startswith(HELPER + ".")]
    except EnvironmentError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        return
    for name in compiled:
        os.remove(os.path.join(cache, name))
