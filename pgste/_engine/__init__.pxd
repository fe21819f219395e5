# SPDX-License-Identifier: MIT
"""What Cython code of others may use: `Host` and `Guest` with their C objects.

A C call on `Guest.c` or `Host.c` goes between `begin` and `end` of that object, which keep
every other thread out of the host and let go of the GIL when `n` is large.  No Python object
may be touched in between, apart from reading C fields.
"""

from pgste._engine.guest cimport Guest
from pgste._engine.host cimport Host
from pgste._engine.unit cimport PyThreadState
