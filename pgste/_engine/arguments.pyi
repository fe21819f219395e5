# SPDX-License-Identifier: MIT
"""Types of arguments."""

from collections.abc import Sequence
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = Sequence[int] | npt.NDArray[np.integer[Any]]
Gfns: TypeAlias = SupportsIndex | range | slice | Integers
Flag: TypeAlias = bool | np.bool_
Values: TypeAlias = SupportsIndex | Integers

def as_array(value: object, name: str) -> npt.NDArray[Any]: ...
