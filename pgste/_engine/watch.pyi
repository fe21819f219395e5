# SPDX-License-Identifier: MIT
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

class Stop:
    def set(self) -> None: ...
    def is_set(self) -> bool: ...
    def run(self, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T: ...

class Progress:
    @property
    def searched(self) -> int: ...
    @property
    def found(self) -> int: ...
