"""``python -m safethread_patch check``: what it prints and how it ends."""
import json
import os
import sys
import threading

import pytest
from conftest import run, start_in_child

import safethread_patch
from safethread_patch import _cli
from safethread_patch._cli import _process, check

IDS = [
    "unregistered-start",
    "zombie-after-fork",
    "zombie-fork-during-start",
    "unstarted-after-fork",
    "inflight-after-fork",
    "spoiled-child",
    "dead-pool-after-fork",
    "double-start",
    "hung-start",
    "refused-start",
    "stale-native-id",
    "interrupted-join",
]


def command(*args, **options):
    return run([sys.executable, "-m", "safethread_patch"] + list(args), **options)


def test_json():
    ended = command("check", "--json", "--rounds", "3")
    assert (ended.status, ended.err) == (0, ""), ended
    report = json.loads(ended.out)
    assert set(report) == set(["interpreter", "ok", "defects"])
    assert set(report["interpreter"]) == set(["version", "implementation", "platform", "executable"])
    assert report["interpreter"]["executable"] == sys.executable
    assert report["ok"] is True
    assert [row["id"] for row in report["defects"]] == IDS
    for row in report["defects"]:
        assert set(row) == set(["id", "title", "healed_upstream", "stock", "patched"])
        for mode in ("stock", "patched"):
            assert row[mode]["rounds"] == 3 or row[mode]["rounds"] == 0 and row[mode]["note"], row
        assert row["patched"]["hits"] == 0
    hit = set(row["id"] for row in report["defects"] if row["stock"]["hits"])
    assert hit == set(safethread_patch.status()["defects"])


def test_table_in_a_pipe_has_no_progress():
    ended = command("check", "--rounds", "1")
    assert (ended.status, ended.err) == (0, ""), ended
    for defect in IDS:
        assert defect in ended.out
    assert "\r" not in ended.out and "\033" not in ended.out
    assert ended.out.splitlines()[-1] == "clean with the patch"


def check_on_a_terminal():
    import pty

    sys.exit(pty.spawn([sys.executable, "-m", "safethread_patch", "check", "--rounds", "1"]))


def test_progress_on_a_terminal():
    pytest.importorskip("pty")
    ended = start_in_child(check_on_a_terminal)
    assert "[1/%d] unregistered-start, stock" % (2 * len(IDS)) in ended.out, ended
    assert "clean with the patch" in ended.out


def test_with_isolated_interpreter_flags():
    # -E and -I ignore PYTHONPATH: the children get the path of their parent
    code = "import sys; sys.path[:] = %r; from safethread_patch._cli import main; sys.exit(main(%r))"
    ended = run([sys.executable, "-E", "-s", "-c", code % (sys.path, ["check", "--rounds", "1"])])
    assert ended.status == 0, ended


def test_crash_and_hang_are_hits_and_named(monkeypatch, capsys):
    defects = check._facts.DEFECTS
    monkeypatch.setattr(check._facts, "DEFECTS", defects[:1])
    monkeypatch.setattr(check, "DEADLINE", 1)
    for end, note in (
        ("os.kill(os.getpid(), 11)", "SIGSEGV, signal 11"),
        ("import time; time.sleep(60)", "hangs: no answer for 1 s"),
        ("print('clean '); sys.stdout.flush(); os._exit(3)", "ends with status 3"),
        ("print('noise'); print('clean '); sys.exit(0)", "ends early, with status 0"),
        ("print('hit it'); print('broken it'); sys.stdout.flush(); os._exit(1)", "it"),
    ):
        monkeypatch.setattr(_process, "_CHILD", "import os, sys; " + end)
        assert _cli.main(["check", "--rounds", "2", "--json"]) == 1
        report = json.loads(capsys.readouterr().out)
        assert report["ok"] is False
        for mode in ("stock", "patched"):
            column = report["defects"][0][mode]
            assert column["rounds"] == 2 and column["hits"] in (1, 2) and note in column["note"], column
        assert _cli.main(["check", "--rounds", "2"]) == 1
        out = capsys.readouterr().out
        assert note in out and "NOT clean with the patch" in out


def test_patch_that_heals_nothing_is_not_clean(monkeypatch, capsys):
    heals_nothing = "import safethread_patch; safethread_patch.install = int\n__import__("
    monkeypatch.setattr(_process, "_CHILD", _process._CHILD.replace("__import__(", heals_nothing))
    assert _cli.main(["check", "--rounds", "1", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    dirty = set(row["id"] for row in report["defects"] if row["patched"]["hits"])
    assert dirty == set(safethread_patch.status()["defects"])


def test_stock_is_stock_where_the_patch_is_loaded_automatically():
    ended = command("check", "--json", "--rounds", "1", env={"SAFETHREAD_PATCH": "1"})
    assert json.loads(ended.out)["defects"][0]["stock"]["hits"] == 1


@pytest.mark.parametrize(
    "args",
    [[], ["nonsense"], ["check", "--rounds", "0"], ["check", "--rounds", "x"], ["check", "--nonsense"], ["check", "x"]],
)
def test_wrong_usage(args):
    ended = command(*args)
    assert ended.status == 2 and ended.out == "" and "usage" in ended.err, ended
    assert "Traceback" not in ended.err


def test_help_and_version():
    for args in (["--help"], ["check", "--help"]):
        ended = command(*args)
        assert ended.status == 0 and "check" in ended.out, ended
    ended = command("--version")
    assert ended.status == 0 and safethread_patch.__version__ in ended.out + ended.err, ended


def test_ctrl_c(monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "_try", interrupted)
    assert _cli.main(["check"]) == 130


def check_without_limbo():
    limbo = threading._limbo
    del threading._limbo
    status = _cli.main(["check"])
    threading._limbo = limbo
    sys.exit(status)


def test_unsupported_interpreter_is_said_in_one_line():
    ended = start_in_child(check_without_limbo)
    assert ended.status == 1 and ended.out == "", ended
    assert len(ended.err.splitlines()) == 1 and "threading._limbo" in ended.err, ended


def check_into_a_closed_pipe():
    # as "check | head" does when the reader has seen enough
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)
    sys.exit(_cli.main(["check", "--rounds", "1"]))


def test_output_to_a_closed_pipe():
    ended = start_in_child(check_into_a_closed_pipe)
    assert (ended.status, ended.err) == (1, ""), ended
