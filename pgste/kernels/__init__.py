# SPDX-License-Identifier: MIT
"""Linux's releases and commits, which tables of what changed when speak of."""
