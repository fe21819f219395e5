# SPDX-License-Identifier: MIT
"""Rules that files of the project keep, whatever they do."""
