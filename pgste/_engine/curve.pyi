# SPDX-License-Identifier: MIT
import numpy as np
import numpy.typing as npt

RULES: tuple[str, ...]
FIELDS: tuple[str, ...]

def one_pass(
    events: npt.NDArray[np.uint64],
    rule: str,
    sizes: npt.NDArray[np.uint64],
    *,
    guests: int = 1,
    samples: npt.NDArray[np.uint64],
    given: npt.NDArray[np.uint64],
    given_at: npt.NDArray[np.uint64],
    share: int = 4294967296,
) -> dict[str, npt.NDArray[np.uint64]]: ...
