"""``check``: each defect, stock beside patched, on this interpreter."""
import json
import sys

import safethread_patch
from safethread_patch import _facts
from safethread_patch._bootstrap._safethread_patch_autoload import say
from safethread_patch._cli._process import run_main
from safethread_patch._cli._shared import Progress, add_options
from safethread_patch._defects._run import BROKEN, CANNOT, CLEAN, DEADLINE, HIT

#: Rounds of a trial, unless asked otherwise.
ROUNDS = 20

#: A child that crashes or hangs is replaced by another for the remaining rounds. So many children at most.
RESTARTS = 4


def add_to(commands):
    """Add the command to argparse's ``commands``."""
    parser = commands.add_parser(
        "check",
        help="show each defect on this interpreter, stock beside patched",
        description="Tries each defect on this interpreter, stock beside patched, in child processes with deadlines. "
        "The exit status is 0 only if none is left with the patch.",
    )
    add_options(parser, ROUNDS, "trial")
    parser.set_defaults(function=run)


def run(options):
    """Try all defects, print the result, and return the exit status."""
    try:
        with safethread_patch.installed():
            pass
    except (safethread_patch.UnsupportedInterpreter, ImportError) as error:
        say("safethread-patch check: %s\n" % error)
        return 1
    report = {"interpreter": _facts.interpreter(), "ok": True, "defects": []}
    with Progress(2 * len(_facts.DEFECTS)) as progress:
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
    """Return a dict of ``hits``, ``rounds`` and, if there is more to say, ``note``."""
    hits, done, notes = 0, 0, []
    for _ in range(RESTARTS):
        lines, end = run_main("safethread_patch._defects._run", [defect_id, mode, str(rounds - done)], DEADLINE)
        words = []
        for line in lines:
            word, _, text = line.partition(" ")
            if word == CANNOT:
                return {"hits": 0, "rounds": 0, "note": text}
            if word in (CLEAN, HIT, BROKEN):  # other lines are a sitecustomize's
                words.append(word)
                notes.append(text)
        done += len(words)
        hits += len(words) - words.count(CLEAN)
        if end is None and done < rounds:
            end = "ends early, with status 0"
        if end is not None and BROKEN not in words:
            notes.append(end)
            if done < rounds:  # the round in which it ended
                done += 1
                hits += 1
            elif words[-1] == CLEAN:  # it ended badly after the last round
                hits += 1
        if done >= rounds:
            break
    result = {"hits": hits, "rounds": done}
    notes = sorted(set(note for note in notes if note))
    if notes:
        result["note"] = "; ".join(notes)
    return result


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
    lines += ["", "clean with the patch" if report["ok"] else "NOT clean with the patch: this is a bug of safethread_patch"]
    return "".join(line.rstrip() + "\n" for line in lines)


_LINE = "%-24s %9s %9s   %s"


def _seen(column):
    return "%d of %d" % (column["hits"], column["rounds"]) if column["rounds"] else "-"
