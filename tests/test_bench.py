"""``python -m safethread_patch bench``: what it prints and how it ends."""
import json
import os
import platform
import sys

import pytest
from conftest import PY2, run

from safethread_patch import _cli
from safethread_patch._cli import _measure, _shared, bench


def command(*args, **options):
    return run([sys.executable, "-m", "safethread_patch", "bench"] + list(args), **options)


def test_json():
    ended = command("--json", "--rounds", "1")
    assert (ended.status, ended.err) == (0, ""), ended
    report = json.loads(ended.out)
    assert set(report) == set(["interpreter", "rounds", "start_join", "wait", "fork", "wrapt", "memory", "start_up"])
    assert set(report["start_join"]) == set(["stock_us", "patched", "safethread"])
    for spread in [report["start_join"]["patched"], report["wrapt"]] + [row["patched"] for row in report["fork"]]:
        assert set(spread) == set(["median", "low", "high"])
        assert 0 < spread["low"] <= spread["median"] <= spread["high"]
    assert [row["threads"] for row in report["fork"]] == [10, 1000, 10000]
    assert 0 <= report["wait"]["share"] <= 1 and (report["wait"]["us"] is None or report["wait"]["us"] > 0)
    assert (report["memory"] is None) == (PY2 or platform.python_implementation() != "CPython")
    names = ["stock", "off", "enabled", "stock_threading", "wrapt_threading", "enabled_threading"]
    assert set(report["start_up"]) == set(name + "_ms" for name in names)


def test_table_in_a_pipe_has_no_progress():
    ended = command("--rounds", "1")
    assert (ended.status, ended.err) == (0, ""), ended
    assert "\r" not in ended.out and "\033" not in ended.out
    assert ended.out.startswith("safethread_patch bench: " + platform.python_implementation())
    assert "fork with 10000 threads, patched / stock" in ended.out


def test_wrong_rounds(capsys):
    assert _cli.main(["bench", "--rounds", "0"]) == 2
    assert "give a whole number from 1" in capsys.readouterr().err


def test_child_that_crashes_is_named(monkeypatch, capsys):
    monkeypatch.setattr(_shared, "_CHILD", "import os; os.abort()")
    assert _cli.main(["bench", "--rounds", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "measuring starts" in err and "SIGABRT" in err


def test_start_that_fails_is_named(tmpdir):
    with pytest.raises(bench._Failed) as info:
        bench._start("raise SystemExit(3)", None, str(tmpdir))
    assert "status 3" in str(info.value)


def test_median():
    assert _shared.median([3, 1, 2]) == 2 and _shared.median([4, 1, 2, 3]) == 2.5


def test_each_round_has_another_order():
    seen = []
    samples = _measure.pairs(3, lambda mode: seen.append(mode) or len(seen), ["stock", "other"])
    assert seen == ["stock", "other", "other", "stock", "stock", "other", "other", "stock"]
    assert samples == {"stock": [4, 5, 8], "other": [3, 6, 7]}  # without the first round


@pytest.mark.skipif(not hasattr(os, "fork") or PY2 or platform.python_implementation() != "CPython", reason="no tracemalloc")
def test_nothing_is_kept_of_a_thread():
    stock, patched = [json.loads(_shared.run_child("safethread_patch._cli._measure", ["memory", mode], 60)[0][-1]) for mode in "01"]
    # threading's own tables grow and shrink by as much; an entry in a table of ours would be more
    assert patched["ended"] - stock["ended"] < 24
    # and at most a frame, that of run(), which 3.11 has no object for
    assert patched["running"] - stock["running"] < (48 if sys.version_info >= (3, 11) else 512)
