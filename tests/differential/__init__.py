# SPDX-License-Identifier: MIT
"""Random traces through the engine and the reference model, compared."""
