"""``bench``: what the patch costs on this interpreter."""
from __future__ import division

import json
import os
import shutil
import sys
import tempfile

import safethread_patch
from safethread_patch import _facts
from safethread_patch._bootstrap._safethread_patch_autoload import say
from safethread_patch._cli import _process, enable
from safethread_patch._cli._measure import DEADLINE, ordered
from safethread_patch._cli._shared import Progress, add_options, median

#: Rounds of each measurement, unless asked otherwise.
ROUNDS = 31

#: Numbers of Thread objects at a fork.
COUNTS = (10, 1000, 10000)


def add_to(commands):
    """Add the command to argparse's ``commands``."""
    parser = commands.add_parser(
        "bench",
        help="measure what the patch costs on this interpreter",
        description="Measures what the patch costs on this interpreter: medians of paired rounds, and in brackets the "
        "middle half of them.",
    )
    add_options(parser, ROUNDS, "measurement")
    parser.set_defaults(function=run)


class _Failed(Exception):
    """A measurement has failed."""


def run(options):
    """Measure, print what came out, and return the exit status."""
    rounds = options.rounds
    report = {"interpreter": _facts.interpreter(), "fork": None, "wrapt": None}
    try:
        with safethread_patch.installed():
            pass
        with Progress(6 + len(COUNTS) if _facts.FORK else 5) as progress:
            progress.step("start and join")
            report["start_join"] = _compare(_measure("starts", rounds))
            progress.step("join")
            report["join"] = dict(
                (when, _compare(_measure("joins", rounds, is_running))) for is_running, when in enumerate(["ended", "running"])
            )
            progress.step("the wait in start()")
            wait = _measure("wait", rounds)
            report["wait"] = {"share": wait["share"], "us": wait["seconds"] and wait["seconds"] * 1e6}
            if _facts.FORK:
                report["fork"] = []
                for count in COUNTS:
                    progress.step("fork with %d threads" % count)
                    row = _compare(_measure("forks", rounds, count))
                    report["fork"].append(dict(row, threads=count))
                progress.step("fork with wrapt imported")
                report["wrapt"] = _wrapt(1 + rounds // 4)
            progress.step("memory")
            stock, patched = _measure("memory", 0), _measure("memory", 1)
            report["memory"] = stock and dict((when, {"stock": stock[when], "patched": patched[when]}) for when in stock)
            progress.step("start-up")
            report["start_up"] = _start_up(1 + rounds // 2)
    except (safethread_patch.UnsupportedInterpreter, ImportError, _Failed) as error:
        say("safethread-patch bench: %s\n" % error)
        return 1
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if options.json else _text(report))
    return 0


def _measure(what, *args):
    lines, end = _process.run_main("safethread_patch._cli._measure", [what] + [str(arg) for arg in args], DEADLINE)
    if end is not None:
        raise _Failed("measuring %s on %s, a child process %s" % (what, sys.executable, end))
    return json.loads(lines[-1])


def _compare(samples):
    """Return the median of stock in microseconds, and the ratio of each other mode to stock."""
    stock = samples.pop("stock")
    row = dict((mode, _spread([one / base for one, base in zip(seconds, stock)])) for mode, seconds in samples.items())
    row["stock_us"] = median(stock) * 1e6
    return row


def _wrapt(rounds):
    """Return the ratio of a fork with wrapt imported to one without, in processes of their own."""
    ratios = []
    for turn in range(rounds):
        seconds = dict((loaded, _measure("bare_fork", loaded)) for loaded in ordered([0, 1], turn))
        ratios.append(seconds[1] / seconds[0])
    return _spread(ratios)


def _spread(values):
    values = sorted(values)
    quarter = len(values) // 4
    return {"median": median(values), "low": values[quarter], "high": values[-1 - quarter], "rounds": len(values)}


# Start-up

_NOTHING = "pass"
_THREADING = "import threading, logging" + ("" if _facts.PY2 else ", concurrent.futures")
_STARTING = _THREADING + "; threading.Thread(target=int).start()"

#: What is started: its name, the program, SAFETHREAD_PATCH (None: not enabled), and the name of what it is compared with.
_STARTS = (
    ("stock", _NOTHING, None, None),
    ("off", _NOTHING, "0", "stock"),
    ("enabled", _NOTHING, "1", "stock"),
    ("off_threading", _THREADING, "0", None),
    ("wrapt_threading", _THREADING + ", wrapt", "0", "off_threading"),
    ("enabled_threading", _THREADING, "1", "off_threading"),
    ("off_starting", _STARTING, "0", None),
    ("enabled_starting", _STARTING, "1", "off_starting"),
)


def _start_up(rounds):
    """Return the milliseconds of each start, or how many more it takes than the one that it is compared with."""
    samples = dict((start[0], []) for start in _STARTS)
    folder = tempfile.mkdtemp()
    try:
        for name in ("empty", "enabled"):
            os.mkdir(os.path.join(folder, name))
        for name, text in enable.contents():
            with open(os.path.join(folder, "enabled", name), "w") as file:
                file.write(text)
        for turn in range(rounds + 1):
            for name, program, switch, _ in ordered(_STARTS, turn):
                samples[name].append(_start(program, switch, folder))
    finally:
        shutil.rmtree(folder)
    result = {"enabled_here": any(enable.names(place) for place, _ in enable.folders())}
    for name, _, _, base in _STARTS:
        # without the first round, in which the interpreter compiles
        differences = [one - (samples[base][turn] if base else 0) for turn, one in enumerate(samples[name])][1:]
        result[name + "_ms"] = _spread([1000 * seconds for seconds in differences])
    return result


def _start(program, switch, folder):
    """Return the seconds of a start with the start-up files of ``folder``/enabled, or of ``folder``/empty."""
    site_folder = os.path.join(folder, "empty" if switch is None else "enabled")
    code = "import site, sys; sys.path[:] = sys.argv[2:]; site.addsitedir(sys.argv[1]); " + program
    # no PYTHONPATH: the child has the sys.path of this process, but not the sitecustomize of run
    env = {"SAFETHREAD_PATCH": switch or "0", "PYTHONPATH": None}
    if hasattr(sys, "pycache_prefix"):  # compiling at each start is not what is measured
        env.update(PYTHONDONTWRITEBYTECODE=None, PYTHONPYCACHEPREFIX=os.path.join(folder, "cache"))
    command = [sys.executable, "-c", code, site_folder] + _process.search_path()
    ended = _process.run(command, env=env)  # no deadline: looking at the child takes time from it
    if ended.status != 0:
        raise _Failed("starting %s, it ended with status %s" % (sys.executable, ended.status))
    return ended.seconds


# What is printed


def _text(report):
    interpreter, rows = report["interpreter"], []
    start = report["start_join"]
    rows.append(("start and join, patched / stock", _ratio(start["patched"]), "stock %.0f us" % start["stock_us"]))
    rows.append(("start and join, SafeThread / stock", _ratio(start["safethread"]), ""))
    for when, row in sorted(report["join"].items()):
        title = "join(), thread %s, patched / stock" % when
        rows.append((title, _ratio(row["patched"]), "stock %.2f us" % row["stock_us"]))
    wait = report["wait"]
    if wait["share"]:
        rows.append(("the wait in start()", "%.0f us" % wait["us"], "in %.3g %% of starts" % (100 * wait["share"])))
    else:
        rows.append(("the wait in start()", "none", ""))
    for row in report["fork"] or ():
        title = "fork with %d threads, patched / stock" % row["threads"]
        rows.append((title, _ratio(row["patched"]), "stock %.0f us" % row["stock_us"]))
    if report["wrapt"]:
        rows.append(("bare fork, wrapt imported / not", _ratio(report["wrapt"]), ""))
    if report["memory"] is None:
        rows.append(("memory of a thread", "not measured", "there is no tracemalloc"))
    for when, row in sorted((report["memory"] or {}).items(), reverse=True):
        more = "%+.0f bytes" % (row["patched"] - row["stock"])
        rows.append(("memory of a thread, %s" % when, more, "stock %.0f bytes" % row["stock"]))
    times = report["start_up"]
    for name, title, base in (
        ("off", "start-up, switched off", "stock"),
        ("enabled", "start-up, enabled", "stock"),
        ("wrapt_threading", "start-up, threading imported, and wrapt", "off_threading"),
        ("enabled_threading", "start-up, threading imported, enabled", "off_threading"),
        ("enabled_starting", "start-up, a thread started, enabled", "off_starting"),
    ):
        more = "%(median)+.1f ms (%(low)+.1f to %(high)+.1f)" % times[name + "_ms"]
        rows.append((title, more, "%s %.1f ms" % (base.partition("_")[0], times[base + "_ms"]["median"])))
    lines = [
        "safethread_patch bench: %(implementation)s %(version)s on %(platform)s, %(executable)s" % interpreter,
        "Medians of paired rounds, %d of starts; in brackets the middle half of them." % start["patched"]["rounds"],
        "",
    ]
    lines += ["%-41s %-28s %s" % row for row in rows]
    if times["enabled_here"]:
        lines += ["", "This environment is enabled, and stock starts in it, too: measure start-up in another one."]
    return "".join(line.rstrip() + "\n" for line in lines)


def _ratio(spread):
    return "%(median).2f (%(low).2f to %(high).2f)" % spread
