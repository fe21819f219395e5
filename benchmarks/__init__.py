# SPDX-License-Identifier: MIT
"""Benchmarks of pgste under pytest-benchmark; README.md tells how to run and read them."""
