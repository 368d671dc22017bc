from contextlib import AbstractContextManager
from typing import Literal, TypedDict

__version__: str
__all__ = [
    "SafeThreadWarning",
    "UnsupportedInterpreter",
    "install",
    "installed",
    "is_installed",
    "repair_child",
    "status",
    "uninstall",
]

class UnsupportedInterpreter(RuntimeError): ...
class SafeThreadWarning(UserWarning): ...

class _Interpreter(TypedDict):
    version: str
    implementation: str
    platform: str
    executable: str

class _Status(TypedDict):
    interpreter: _Interpreter
    installed: bool
    fork: Literal["os.register_at_fork", "threading._after_fork"] | None
    defects: list[str]
    others: dict[str, str]

def install() -> bool: ...
def uninstall() -> bool: ...
def is_installed() -> bool: ...
def installed() -> AbstractContextManager[None]: ...
def repair_child() -> bool: ...
def status() -> _Status: ...
