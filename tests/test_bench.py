"""``python -m safethread_patch bench``: what it prints and how it ends."""
import json
import os
import platform
import sys

import pytest
from conftest import PY2, in_child, run

import safethread_patch
from safethread_patch import _cli
from safethread_patch._cli import _measure, _process, _shared, bench, enable


def command(*args, **options):
    return run([sys.executable, "-m", "safethread_patch", "bench"] + list(args), **options)


def test_json():
    ended = command("--json", "--rounds", "1")
    assert (ended.status, ended.err) == (0, ""), ended
    report = json.loads(ended.out)
    assert set(report) == set(["interpreter", "start_join", "join", "wait", "fork", "wrapt", "memory", "start_up"])
    assert set(report["start_join"]) == set(["stock_us", "patched", "safethread"])
    assert set(report["join"]) == set(["ended", "running"])
    rows = [report["start_join"]] + list(report["join"].values()) + report["fork"]
    for spread in [report["wrapt"]] + [row["patched"] for row in rows]:
        assert set(spread) == set(["median", "low", "high", "rounds"])
        assert 0 < spread["low"] <= spread["median"] <= spread["high"]
    assert [row["threads"] for row in report["fork"]] == [10, 1000, 10000]
    assert 0 <= report["wait"]["share"] <= 1 and (report["wait"]["us"] is None or report["wait"]["us"] > 0)
    assert (report["memory"] is None) == (PY2 or platform.python_implementation() != "CPython")
    names = ["stock", "off", "enabled", "off_threading", "wrapt_threading", "enabled_threading"]
    names += ["off_starting", "enabled_starting"]
    assert set(report["start_up"]) == set(["enabled_here"] + [name + "_ms" for name in names])


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
    monkeypatch.setattr(_process, "_CHILD", "import os; os.abort()")
    assert _cli.main(["bench", "--rounds", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "measuring starts" in err and "SIGABRT" in err


@pytest.fixture
def start_up_folder(tmpdir):
    tmpdir.mkdir("empty")
    tmpdir.mkdir("enabled")
    for name, text in enable.contents():
        tmpdir.join("enabled", name).write(text)
    return str(tmpdir)


def test_start_that_fails_is_named(start_up_folder):
    with pytest.raises(bench._Failed) as info:
        bench._start("raise SystemExit(3)", None, start_up_folder)
    assert "status 3" in str(info.value)


def test_start_is_what_its_name_says(start_up_folder):
    for name, program, switch, _ in bench._STARTS:
        # safethread_patch itself would import threading
        program += "; import sys; loaded = sys.modules.get('safethread_patch._state')"
        program += "; assert (loaded is not None and loaded.state.is_active) is %r" % name.startswith("enabled_")
        program += "; assert ('threading' in sys.modules) is %r" % ("_" in name)
        program += "; assert ('wrapt' in sys.modules) is %r" % ("wrapt" in name)
        program += "; assert ('asyncio' in sys.modules) <= %r" % ("wrapt" in name)
        program += "; assert ('_safethread_patch_autoload' in sys.modules) is %r" % (switch is not None)
        bench._start(program, switch, start_up_folder)


def test_ratios_are_to_stock():
    row = bench._compare({"stock": [1, 2, 4], "other": [2, 4, 2]})
    assert row["stock_us"] == 2e6 and row["other"]["median"] == 2 and row["other"]["rounds"] == 3


def test_median():
    assert _shared.median([3, 1, 2]) == 2 and _shared.median([4, 1, 2, 3]) == 2.5


def test_each_round_has_another_order(monkeypatch):
    monkeypatch.setattr(_measure, "still_here", int)  # the real one sets an alarm
    seen = []
    samples = _measure.pairs(3, lambda mode: seen.append(mode) or len(seen), ["stock", "other"])
    assert seen == ["stock", "other", "other", "stock", "other", "stock", "stock", "other"]
    assert samples == {"stock": [4, 6, 7], "other": [3, 5, 8]}  # without the first round
    orders = [_measure.ordered(["a", "b", "c"], turn) for turn in range(6)]
    assert sorted(order[0] for order in orders) == sorted(order[-1] for order in orders) == list("aabbcc")
    followed = [pair for order in orders for pair in zip(order, order[1:])]
    assert all(followed.count((one, other)) == 2 for one in "abc" for other in "abc" if one != other)


@in_child  # pairs() sets an alarm
def test_patched_is_patched_and_nothing_else_is():
    samples = _measure.pairs(2, lambda mode: safethread_patch.is_installed(), ["stock", "patched", "safethread"])
    assert samples == {"stock": [False] * 2, "patched": [True] * 2, "safethread": [False] * 2}, samples


@pytest.mark.skipif(
    not hasattr(os, "fork") or PY2 or platform.python_implementation() != "CPython", reason="no tracemalloc"
)
def test_nothing_is_kept_of_a_thread():
    stock, patched = [
        json.loads(_process.run_main("safethread_patch._cli._measure", ["memory", mode], 60)[0][-1]) for mode in "01"
    ]
    # two runs on stock 3.11 or 3.12 differ by up to 12; an entry in a table of the patch would be more than that
    assert abs(patched["ended"] - stock["ended"]) < 36
    # a running thread may have one frame more, that of run(), for which 3.11 and later make no object; and up to 3.12 an empty
    # dict, see _new_thread.is_over(), of 240 bytes before 3.8 and 64 from then on
    limit = 48 if sys.version_info >= (3, 13) else 128 if sys.version_info >= (3, 11) else 768
    assert patched["running"] - stock["running"] < limit
