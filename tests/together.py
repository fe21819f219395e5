# SPDX-License-Identifier: MIT
"""Calls that run together, each on a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable


def run_together(*bodies: Callable[[], object], seconds: float) -> None:
    """Run each in a thread; fails with the first exception, or if one takes longer than that."""
    errors: list[BaseException] = []

    def guarded(body: Callable[[], object]) -> None:
        try:
            body()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads)
