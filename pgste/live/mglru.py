# SPDX-License-Identifier: MIT
"""Whether this kernel reclaims by the multi-gen LRU, which no model here is of.

Facts: Documentation/admin-guide/mm/multigen_lru.rst of the kernel.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["ENABLED", "mglru_on"]

ENABLED = Path("/sys/kernel/mm/lru_gen/enabled")
_CORE = 1
"""The bit of the LRU itself; the others are of how it looks at page tables."""


def mglru_on(text: str | None = None) -> bool:
    """Whether the multi-gen LRU is on; a kernel without it (CONFIG_LRU_GEN) has no such file.

    text: what the file says, for tests; a number such as 0x0007.
    """
    if text is None:
        try:
            text = ENABLED.read_text()
        except OSError:
            return False
    try:
        return bool(int(text, 0) & _CORE)
    except ValueError:
        return False
