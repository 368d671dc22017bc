"""``enable`` and ``disable``: load the patch at every start of this environment's interpreter."""
import errno
import os
import pkgutil
import site
import subprocess
import sys

from safethread_patch import _bootstrap, _facts
from safethread_patch._bootstrap._safethread_patch_autoload import say
from safethread_patch._cli._shared import package_folder

#: The module beside the start-up file, which that calls. It is silent after a ``pip uninstall`` of the package.
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
    """Return the files that enable writes, ``[(name, text)]``, in the order in which they are written.

    Raises EnvironmentError where the package has no source, as in a frozen program.
    """
    source = pkgutil.get_data(_bootstrap.__name__, HELPER + ".py")  # also from a zip
    if source is None:  # the loader of a frozen program gives no data
        raise EnvironmentError("there is no source of %s.%s" % (_bootstrap.__name__, HELPER))
    files = [(HELPER + ".py", source.decode("ascii"))]
    if _facts.STARTUP_FILES:
        files.append(("safethread_patch.start", _START))
    # the last one is what makes the interpreter read the others
    return files + [("safethread_patch.pth", _PTH)]


def names(folder):
    """Return the names of the files in ``folder`` that enable wrote, complete or not."""
    written = [name for name in _NAMES if os.path.lexists(os.path.join(folder, name))]
    try:
        entries = os.listdir(folder)
    except OSError:
        return written
    # what an interrupted enable left; and Python 2 imports a .pyc without its .py
    rest = [name for name in entries if name.endswith(".tmp") and name[:-4] in _NAMES or name == HELPER + ".pyc"]
    return written + rest


def folders():
    """Return the folders whose start-up files this interpreter reads, ``[(folder, whether it is the user's)]``."""
    users = getattr(site, "USER_SITE", None) or (site.getusersitepackages() if hasattr(site, "getusersitepackages") else None)
    if hasattr(site, "getsitepackages"):
        site_folders = site.getsitepackages()
    else:  # the site module of a virtualenv before 20
        from distutils.sysconfig import get_python_lib

        site_folders = [get_python_lib()]
    return [(folder, False) for folder in site_folders] + [(users, True)] * bool(users)


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
        present = names(folder)
        # the start-up files first, and all of them: they need the helper
        failed = [error for error in map(_remove, [os.path.join(folder, name) for name in _START_UP]) if error]
        if failed:
            raise failed[0]
        for name in present:
            if name not in _START_UP:
                os.remove(os.path.join(folder, name))
        _remove_compiled(folder)
    except (EnvironmentError, _Refused) as error:
        return _fail(options, error)
    sys.stdout.write("disabled: %s\n" % folder if present else "was not enabled: %s\n" % folder)
    for other, _ in folders():
        if other != folder and names(other):
            sys.stdout.write("still enabled: %s\n" % other)
    return 0


class _Refused(Exception):
    """What was asked for would have no effect."""


def _fail(options, error):
    number, rest = getattr(error, "errno", None), ""
    if options.name == "enable":
        rest += " Nothing was changed."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        rest += " Make that file system writable" if number == errno.EROFS else " Run it as the owner of that folder"
        if options.name == "disable":
            rest += ", or set SAFETHREAD_PATCH=0 in the environment"
        elif site.ENABLE_USER_SITE and not options.user:
            rest += ", or run it with --user"
        rest += "."
    say("safethread-patch %s: %s.%s\n" % (options.name, error, rest))
    return 1


def _folder(options):
    """Return the folder to write to: the user's, or the package's, or the environment's.

    A virtual environment may also read the folders of the system and of the user, which other environments read as well.
    """
    all_folders = folders()
    users = [folder for folder, is_users in all_folders if is_users]
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
    if getattr(sys, "real_prefix", getattr(sys, "base_prefix", sys.prefix)) != sys.prefix:
        inside = os.path.abspath(sys.prefix) + os.sep
        all_folders = [entry for entry in all_folders if os.path.abspath(entry[0]).startswith(inside)]
        if not all_folders:
            raise _Refused("the virtual environment %s has no site folder" % sys.prefix)
    root = os.path.dirname(os.path.realpath(package_folder()))
    for folder, _ in all_folders:
        if os.path.realpath(folder) == root:
            return folder
    try:  # an editable installation: the folder that pip installs to
        from sysconfig import get_paths

        purelib = get_paths()["purelib"]
    except ImportError:
        purelib = None
    environments = [folder for folder, is_users in all_folders if not is_users]
    return purelib if purelib in environments else environments[0]


def _check_import(folder):
    """Raise _Refused if an interpreter that is started elsewhere cannot import the package and wrapt."""
    env = dict(os.environ, SAFETHREAD_PATCH="0")
    env.pop("PYTHONPATH", None)  # it may differ for the interpreters that are started later
    with open(os.devnull, "r+") as null:
        for name in ("safethread_patch", "wrapt"):
            command = [sys.executable, "-c", "import " + name]
            if subprocess.call(command, cwd=folder, env=env, stdin=null, stdout=null, stderr=null):
                raise _Refused(
                    "%s, started elsewhere, does not find %s: install it for this interpreter first, with %s -m pip"
                    % (sys.executable, name, sys.executable)
                )


def _write(path, text, done):
    """Write ``text`` to ``path``, atomically, and append a function to ``done`` that undoes it."""
    old = None
    if os.path.exists(path):  # not lexists: a link may lead nowhere
        with open(path, "rb") as file:
            old = file.read()
    new = text.encode("ascii")
    if old == new and not os.path.islink(path) and os.stat(path).st_mode & 0xFFF == _MODE:
        return
    _replace(path, new)
    done.append((lambda: os.remove(path)) if old is None else (lambda: _replace(path, old)))


def _replace(path, content):
    temporary = path + ".tmp"
    if os.path.lexists(temporary):  # an interrupted enable has left it
        os.remove(temporary)
    # O_EXCL: never through a link
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), _MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(temporary, _MODE)  # all users of this interpreter read it, whatever the umask is
        if os.name == "nt" and os.path.exists(path):  # there rename() does not replace a file
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
