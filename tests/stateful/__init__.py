# SPDX-License-Identifier: MIT
"""Long runs of the engine beside the reference model, whole state compared at each step."""
