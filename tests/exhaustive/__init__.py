# SPDX-License-Identifier: MIT
"""Every state of a page, every operation, every form of a call, every CPU variant."""
