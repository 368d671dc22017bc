"""``status``: whether and how the patch is loaded in this environment."""
import json
import os
import site
import sys

import safethread_patch
from safethread_patch._bootstrap._safethread_patch_autoload import is_off
from safethread_patch._cli import enable
from safethread_patch._cli._shared import package_folder


def add_to(commands):
    """Add the command to argparse's ``commands``."""
    parser = commands.add_parser(
        "status",
        help="say whether and how the patch is loaded in this environment",
        description="Says whether and how the patch is loaded in this environment. Run it with the interpreter, the "
        "options and the environment variables in question.",
    )
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object on stdout")
    parser.set_defaults(function=run)


def run(options):
    """Print the report and return the exit status."""
    report = make_report()
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if options.json else _text(report))
    return 0


def make_report():
    """Return the dict of ``safethread_patch.status()`` with more keys, about automatic loading."""
    report = safethread_patch.status()
    report["way"] = _way() if report["installed"] else None
    report["enabled"], report["leftovers"] = [], []
    try:
        wanted = dict(enable.contents())
    except EnvironmentError:  # a frozen program: what is enabled here is another package's
        wanted = {}
    for folder, _ in enable.folders():
        names = enable.names(folder)
        complete = wanted and all(_is_as_written(os.path.join(folder, name), text) for name, text in wanted.items())
        for name in names:
            report["enabled" if complete and name in wanted else "leftovers"].append(os.path.join(folder, name))
    report["flags"] = [name for name in ("-E", "-I", "-S", "-s") if _flag(name)]
    report["kept_out"] = _kept_out(report)
    return report


def _way():
    """Return how the patch was loaded in this process: "run", "enable", "auto" or "install"."""
    for name in ("_safethread_patch_autoload", "safethread_patch._bootstrap._safethread_patch_autoload"):
        way = getattr(sys.modules.get(name), "way", None)
        if way is not None:
            return way
    return "install"


def _is_as_written(path, text):
    try:
        with open(path) as file:
            return file.read() == text
    except (EnvironmentError, ValueError):
        return False


def _flag(name):
    attribute = {"-E": "ignore_environment", "-I": "isolated", "-S": "no_site", "-s": "no_user_site"}[name]
    return bool(getattr(sys.flags, attribute, False))


def _kept_out(report):
    """Return what keeps automatic loading out of this process, as a list of sentences."""
    reasons = []
    if is_off():
        reasons.append("SAFETHREAD_PATCH=%s switches every automatic way off" % os.environ["SAFETHREAD_PATCH"])
    if "-S" in report["flags"]:
        reasons.append("-S: no start-up file is read and no sitecustomize imported, which keeps run and enable out")
    elif "-E" in report["flags"]:  # -I implies it
        reasons.append("-E or -I: PYTHONPATH is ignored, which keeps run out")
    users = [folder for folder, is_users in enable.folders() if is_users and enable.names(folder)]
    if users and not site.ENABLE_USER_SITE:
        reasons.append("the user's site folder is not looked into, which keeps enable --user out")
    if report["enabled"] and not report["installed"] and not reasons:
        reasons.append("enabled, but not patched in this process: SAFETHREAD_PATCH_DEBUG=1 says why")
    return reasons


def _text(report):
    interpreter = report["interpreter"]
    lines = [
        "safethread_patch %s in %s" % (safethread_patch.__version__, package_folder()),
        "interpreter:  %(implementation)s %(version)s on %(platform)s, %(executable)s" % interpreter,
        "flags:        %s" % (" ".join(report["flags"]) or "none of -E -I -S -s"),
        "patched:      %s" % ("yes, by " + report["way"] if report["installed"] else "no"),
        "in children:  %s" % (report["fork"] or "nothing to repair: there is no os.fork"),
        "defects:      %s" % ", ".join(report["defects"]),
    ]
    for title, entries in (
        ("enabled by", report["enabled"] or ["nothing"]),
        ("leftovers", report["leftovers"]),
        ("kept out", report["kept_out"]),
        ("others", ["%s is patched by %s" % item for item in sorted(report["others"].items())]),
    ):
        lines += ["%-13s %s" % (title + ":" if entry is entries[0] else "", entry) for entry in entries]
    return "".join(line + "\n" for line in lines)
