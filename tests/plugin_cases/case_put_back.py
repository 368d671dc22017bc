"""After each test Thread is as before, also where monkeypatch puts back later than the fixture or the marker."""
import threading

import pytest

START = vars(threading.Thread)["start"]


def replaced_start(self):
    pass


def test_fixture(monkeypatch, safethread):
    monkeypatch.setattr(threading.Thread, "start", replaced_start)


def test_is_stock():
    assert vars(threading.Thread)["start"] is START


@pytest.mark.safethread
def test_marker(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", replaced_start)


def test_is_stock_again():
    assert vars(threading.Thread)["start"] is START
