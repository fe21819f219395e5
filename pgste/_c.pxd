# SPDX-License-Identifier: MIT
"""The old place of the declarations of src_c/pgste.h, for Cython code that is built on it."""

from pgste._engine._c cimport *
