"""``check``: each defect, stock beside patched, on this interpreter."""
from __future__ import division

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import safethread_patch
from safethread_patch import _facts
from safethread_patch._defects._run import BROKEN, CANNOT, CLEAN, DEADLINE, HIT

#: Rounds of a trial, unless asked otherwise.
ROUNDS = 20

#: A trial that crashes or hangs is started anew for the rounds that are left, but not more often.
RESTARTS = 4

# The child gets our sys.path, and not only PYTHONPATH: -I and -E ignore that one.
_CHILD = "import sys; sys.path[:] = sys.argv[4:]; from safethread_patch._defects._run import main; main(*sys.argv[1:4])"


def add_to(commands):
    """Add the command to argparse's ``commands``."""
    parser = commands.add_parser(
        "check",
        help="show each defect on this interpreter, stock beside patched",
        description="Tries each defect on this interpreter, stock beside patched, in child processes with deadlines. "
        "The exit status is 0 only if none is left with the patch.",
    )
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object on stdout")
    parser.add_argument("--rounds", type=_rounds, default=ROUNDS, metavar="N", help="rounds of each trial (%(default)s)")
    parser.set_defaults(function=run)


def _rounds(text):
    import argparse

    try:
        rounds = int(text)
    except ValueError:
        rounds = 0
    if rounds < 1:
        raise argparse.ArgumentTypeError("%r is no number of rounds: give a whole number from 1" % text)
    return rounds


def run(options):
    """Try all defects, print what came out, and return the exit status."""
    try:
        with safethread_patch.installed():
            pass
    except (safethread_patch.UnsupportedInterpreter, ImportError) as error:
        sys.stderr.write("safethread-patch check: %s\n" % error)
        return 1
    report = {"interpreter": _facts.interpreter(), "ok": True, "defects": []}
    with _Progress(2 * len(_facts.DEFECTS)) as progress:
        for defect in _facts.DEFECTS:
            row = {"id": defect.id, "title": defect.title, "healed_upstream": defect.healed_upstream}
            for mode in ("stock", "patched"):
                progress.step("%s, %s" % (defect.id, mode))
                row[mode] = _try(defect.id, mode, options.rounds)
            report["defects"].append(row)
            report["ok"] = report["ok"] and not row["patched"]["hits"]
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if options.json else _table(report))
    return 0 if report["ok"] else 1


def _try(defect_id, mode, rounds):
    """Return ``hits`` and ``rounds``, and where there is more to say a ``note``."""
    hits, done, notes = 0, 0, []
    for _ in range(RESTARTS):
        lines, end = _child(defect_id, mode, rounds - done)
        words = []
        for line in lines:
            word, _, text = line.partition(" ")
            if word == CANNOT:
                return {"hits": 0, "rounds": 0, "note": text}
            if word in (CLEAN, HIT, BROKEN):  # and what a sitecustomize writes is no round
                words.append(word)
                notes.append(text)
        done += len(words)
        hits += len(words) - words.count(CLEAN)
        if end is None and done < rounds:
            end = "ends early, with status 0"
        if end is not None and BROKEN not in words:
            notes.append(end)
            if done < rounds:  # the round that it did not come back from
                done += 1
                hits += 1
            elif words[-1] == CLEAN:  # all done, and then it did not get out
                hits += 1
        if done >= rounds:
            break
    result = {"hits": hits, "rounds": done}
    notes = sorted(set(note for note in notes if note))
    if notes:
        result["note"] = "; ".join(notes)
    return result


def _child(defect_id, mode, rounds):
    """Run ``rounds`` rounds in a child process; return its lines, and in words how it ended if not well."""
    env = dict(os.environ, SAFETHREAD_PATCH="0")  # stock is stock, also where the patch loads by itself
    path = [entry for entry in sys.path if isinstance(entry, (type(""), type(b"".decode())))]
    command = [sys.executable, "-W", "ignore", "-c", _CHILD, defect_id, mode, str(rounds)] + path
    # a session of its own, so that what it forks can be killed with it
    if not _facts.FORK:
        session = {}
    elif _facts.PY2:
        session = {"preexec_fn": os.setsid}
    else:
        session = {"start_new_session": True}
    # files, not pipes: what a killed child leaves behind could keep a pipe open
    with tempfile.TemporaryFile() as out:
        with tempfile.TemporaryFile() as err:
            with open(os.devnull) as null:
                process = subprocess.Popen(command, stdin=null, stdout=out, stderr=err, env=env, **session)
            try:
                in_time = _wait(process, out)
            finally:
                _kill(process)
            lines, errors = _text(out).splitlines(), _text(err).strip().splitlines()
    if not in_time:
        return lines, "hangs: no answer for %d s" % DEADLINE
    if process.returncode < 0:
        return lines, "crashes: %s" % _signal_name(-process.returncode)
    if process.returncode > 0:
        return lines, "ends with status %d: %s" % (process.returncode, errors[-1] if errors else "no message")
    return lines, None


def _wait(process, out):
    """Return True when ``process`` has ended; False if it neither ends nor writes to ``out`` for DEADLINE."""
    size, waited = 0, 0
    while waited < DEADLINE:
        if process.poll() is not None:
            return True
        time.sleep(0.01)
        waited += 0.01
        if os.fstat(out.fileno()).st_size != size:
            size, waited = os.fstat(out.fileno()).st_size, 0
    return False


def _kill(process):
    try:
        if _facts.FORK:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except OSError:  # all gone
        pass
    process.wait()


def _text(file):
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _signal_name(number):
    for name in dir(signal):
        if name.startswith("SIG") and not name.startswith("SIG_") and getattr(signal, name) == number:
            return "%s, signal %d" % (name, number)
    return "signal %d" % number


def _table(report):
    interpreter = report["interpreter"]
    lines = [
        "safethread_patch check: %(implementation)s %(version)s on %(platform)s, %(executable)s" % interpreter,
        "Times that each defect was seen: stock, and with the patch.",
        "",
        _LINE % ("defect", "stock", "patched", "healed upstream"),
    ]
    for row in report["defects"]:
        lines.append(
            _LINE % (row["id"], _seen(row["stock"]), _seen(row["patched"]), row["healed_upstream"] or "not yet")
        )
        for mode in ("stock", "patched"):
            if "note" in row[mode]:
                lines.append("    %s: %s" % (mode if row[mode]["rounds"] else "not tried", row[mode]["note"]))
            if not row[mode]["rounds"]:
                break
    lines += ["", "clean with the patch" if report["ok"] else "NOT clean with the patch: this is a bug, please report it"]
    return "".join(line.rstrip() + "\n" for line in lines)


_LINE = "%-24s %9s %9s   %s"


def _seen(column):
    return "%d of %d" % (column["hits"], column["rounds"]) if column["rounds"] else "-"


class _Progress(object):
    """A line on the terminal that says what runs; nothing where the output is piped."""

    def __init__(self, steps):
        self._steps = steps
        self._step = 0
        self._on = sys.stdout.isatty() and sys.stderr.isatty()

    def step(self, text):
        self._step += 1
        self._write("[%d/%d] %s" % (self._step, self._steps, text))

    def _write(self, text):
        if self._on:
            sys.stderr.write("\r\033[K" + text)
            sys.stderr.flush()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._write("")
