"""Runs the rounds of one trial in this process, which may crash or hang, and writes a line for each."""
import signal
import sys

import safethread_patch
from safethread_patch._defects import CannotTry, trial_of
from safethread_patch._defects._hold import warm_up

CLEAN, HIT, CANNOT, BROKEN = "clean", "hit", "cannot", "broken"

#: Seconds that one round may take before it counts as a hang.
DEADLINE = 30


def main(defect_id, mode, rounds):
    """Write a line to stdout for each round: one of the words above and, for all but the first, what was seen."""
    trial = trial_of(defect_id)
    if mode == "patched":
        safethread_patch.install()
    warm_up()
    for _ in range(int(rounds)):
        if hasattr(signal, "alarm"):
            signal.alarm(2 * DEADLINE)  # ends a hang if the parent does not live to do it
        try:
            seen = trial()
        except CannotTry as error:
            _say(CANNOT, error)
            break
        except Exception as error:
            _say(BROKEN, ": ".join([type(error).__name__] + [str(error)] * bool(str(error))))
            raise
        if seen is None:
            _say(CLEAN, "")
        else:
            _say(HIT, seen)


def _say(word, text):
    sys.stdout.write("%s %s\n" % (word, str(text).replace("\n", " ")))
    sys.stdout.flush()
