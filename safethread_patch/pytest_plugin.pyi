from collections.abc import Callable, Generator
from types import ModuleType
from typing import Any

import pytest

class Outcome:
    value: Any
    exception: BaseException | None
    traceback: str | None
    exitcode: int | None
    signal: int | None
    timed_out: bool
    stdout: str
    stderr: str
    threads: list[str]

@pytest.fixture
def safethread() -> Generator[ModuleType]: ...
@pytest.fixture
def safethread_fork() -> Callable[..., Outcome]: ...
def pytest_addoption(parser: pytest.Parser) -> None: ...
def pytest_configure(config: pytest.Config) -> None: ...
def pytest_report_header(config: pytest.Config) -> str | None: ...
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None: ...
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None]: ...
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None: ...
