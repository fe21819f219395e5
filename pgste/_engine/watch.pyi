# SPDX-License-Identifier: MIT
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

class Stop:
    def set(self) -> None: ...
    def is_set(self) -> bool: ...
    def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

class Progress:
    @property
    def searched(self) -> int: ...
    @property
    def found(self) -> int: ...
