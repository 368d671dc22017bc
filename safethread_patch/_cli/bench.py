"""``bench``: what the patch costs on this interpreter."""
from __future__ import division

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import safethread_patch
from safethread_patch import _bootstrap, _facts
from safethread_patch._cli._shared import Progress, median, positive, run_child

#: Rounds of each measurement, unless asked otherwise.
ROUNDS = 31

#: Numbers of Thread objects at a fork.
COUNTS = (10, 1000, 10000)

#: Seconds after which one measurement is taken for a hang.
DEADLINE = 120


def add_to(commands):
    """Add the command to argparse's ``commands``."""
    parser = commands.add_parser(
        "bench",
        help="measure what the patch costs on this interpreter",
        description="Measures what the patch costs on this interpreter: medians of paired rounds, and in brackets the "
        "middle half of them.",
    )
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object on stdout")
    parser.add_argument("--rounds", type=positive, default=ROUNDS, metavar="N", help="rounds of each measurement (%(default)s)")
    parser.set_defaults(function=run)


class _Failed(Exception):
    """A measurement did not come to its end."""


def run(options):
    """Measure, print what came out, and return the exit status."""
    rounds = options.rounds
    report = {"interpreter": _facts.interpreter(), "rounds": rounds, "fork": None, "wrapt": None}
    try:
        with safethread_patch.installed():
            pass
        with Progress(5 + len(COUNTS)) as progress:
            progress.step("start and join")
            report["start_join"] = _compare(_measure("starts", rounds), "us")
            progress.step("the wait in start()")
            wait = _measure("wait", rounds)
            report["wait"] = {"share": wait["share"], "us": wait["seconds"] and wait["seconds"] * 1e6}
            if _facts.FORK:
                report["fork"] = []
                for count in COUNTS:
                    progress.step("fork with %d threads" % count)
                    row = _compare(_measure("forks", rounds, count), "us")
                    report["fork"].append(dict(row, threads=count))
                progress.step("fork with wrapt imported")
                bare = [(_measure("bare_fork", 0), _measure("bare_fork", 1)) for _ in range(1 + rounds // 4)]
                report["wrapt"] = _spread([loaded / without for without, loaded in bare])
            progress.step("memory")
            stock, patched = _measure("memory", 0), _measure("memory", 1)
            report["memory"] = stock and dict((when, {"stock": stock[when], "patched": patched[when]}) for when in stock)
            progress.step("start-up")
            report["start_up"] = _start_up(1 + rounds // 2)
    except (safethread_patch.UnsupportedInterpreter, ImportError, _Failed) as error:
        sys.stderr.write("safethread-patch bench: %s\n" % error)
        return 1
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if options.json else _text(report))
    return 0


def _measure(what, *args):
    lines, end = run_child("safethread_patch._cli._measure", [what] + [str(arg) for arg in args], DEADLINE)
    if end is not None:
        raise _Failed("measuring %s on %s, a child process %s" % (what, sys.executable, end))
    return json.loads(lines[-1])


def _compare(samples, unit):
    """Return the median of stock, in ``unit``, and the ratios of the others to it."""
    stock = samples.pop("stock")
    row = dict((mode, _spread([one / base for one, base in zip(seconds, stock)])) for mode, seconds in samples.items())
    row["stock_" + unit] = median(stock) * 1e6
    return row


def _spread(values):
    values = sorted(values)
    return {"median": median(values), "low": values[len(values) // 4], "high": values[-1 - len(values) // 4]}


# Start-up

_NOTHING, _THREADING = "pass", "import threading"

#: What is started: name, the program, SAFETHREAD_PATCH, and what it is compared with.
_STARTS = (
    ("stock", _NOTHING, None, None),
    ("off", _NOTHING, "0", "stock"),
    ("enabled", _NOTHING, "1", "stock"),
    ("stock_threading", _THREADING, None, None),
    ("wrapt_threading", _THREADING + ", wrapt", None, "stock_threading"),
    ("enabled_threading", _THREADING, "1", "stock_threading"),
)


def _start_up(rounds):
    """Return the milliseconds of a start, or those that it takes more than the one it is compared with."""
    samples = dict((name, []) for name, _, _, _ in _STARTS)
    folder = tempfile.mkdtemp()
    try:
        for turn in range(rounds + 1):
            for name, program, switch, _ in _STARTS[turn % len(_STARTS) :] + _STARTS[: turn % len(_STARTS)]:
                samples[name].append(_start(program, switch, folder))
    finally:
        shutil.rmtree(folder)
    result = {}
    for name, _, _, base in _STARTS:
        # not the first round, which compiles
        differences = [one - (samples[base][turn] if base else 0) for turn, one in enumerate(samples[name])][1:]
        result[name + "_ms"] = _spread([1000 * seconds for seconds in differences])
    return result


def _start(program, switch, folder):
    """Return the seconds of one start. ``folder``: an empty one, so that all have as many to look into."""
    bootstrap = os.path.dirname(os.path.abspath(_bootstrap.__file__))
    root = os.path.dirname(os.path.dirname(bootstrap))
    path = [folder if switch is None else bootstrap, root] + sys.path
    env = dict(os.environ, SAFETHREAD_PATCH=switch or "0")
    env["PYTHONPATH"] = os.pathsep.join(entry for entry in path if entry)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # to compile at every start is not what is measured
    begin = time.time()
    with open(os.devnull, "r+") as null:
        status = subprocess.call([sys.executable, "-c", program], env=env, stdin=null, stdout=null, stderr=null)
    seconds = time.time() - begin
    if status:
        raise _Failed("starting %s, it ended with status %d" % (sys.executable, status))
    return seconds


# What is printed


def _text(report):
    interpreter, rows = report["interpreter"], []
    start = report["start_join"]
    rows.append(("start and join, patched / stock", _ratio(start["patched"]), "stock %.0f us" % start["stock_us"]))
    rows.append(("start and join, SafeThread / stock", _ratio(start["safethread"]), ""))
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
    for when, row in sorted((report["memory"] or {}).items(), reverse=True):
        more = "%+.0f bytes" % (row["patched"] - row["stock"])
        rows.append(("memory of a thread, %s" % when, more, "stock %.0f bytes" % row["stock"]))
    times = report["start_up"]
    for name, title, base in (
        ("off", "start-up, switched off", "stock"),
        ("enabled", "start-up, enabled", "stock"),
        ("wrapt_threading", "start-up with threading, and wrapt", "stock_threading"),
        ("enabled_threading", "start-up with threading, enabled", "stock_threading"),
    ):
        more = "%(median)+.1f ms (%(low)+.1f to %(high)+.1f)" % times[name + "_ms"]
        rows.append((title, more, "%s %.1f ms" % (base.replace("_", " with "), times[base + "_ms"]["median"])))
    lines = [
        "safethread_patch bench: %(implementation)s %(version)s on %(platform)s, %(executable)s" % interpreter,
        "Medians of %d paired rounds; in brackets the middle half of them." % report["rounds"],
        "",
    ]
    lines += ["%-38s %-24s %s" % row for row in rows]
    return "".join(line.rstrip() + "\n" for line in lines)


def _ratio(spread):
    return "%(median).2f (%(low).2f to %(high).2f)" % spread
