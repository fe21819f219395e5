# SPDX-License-Identifier: MIT
"""QEMU's migration stream of page states: the section s390-storage_attributes.

`save` writes the attributes of a guest that goes on running, `load` sets them in another, and
`records` shows what a stream holds.  docs/stream.md says what the bytes are.
"""

from __future__ import annotations

from pgste.errors import StreamError
from pgste.migration.reader import Loaded, load, records
from pgste.migration.saver import Pass, Saved, Saver, save
from pgste.migration.wire import Flag, Record

__all__ = [
    "Flag",
    "Loaded",
    "Pass",
    "Record",
    "Saved",
    "Saver",
    "StreamError",
    "load",
    "records",
    "save",
]
