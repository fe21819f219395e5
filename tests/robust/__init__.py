# SPDX-License-Identifier: MIT
"""Whatever is done to the package: it does not crash, hang or leave anything behind."""
