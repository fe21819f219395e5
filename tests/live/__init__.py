# SPDX-License-Identifier: MIT
"""Live memory, recording and calibration on the real kernel of this machine."""
