# SPDX-License-Identifier: MIT
"""Signals as a terminal has them: nohup, and a shell's background jobs, ignore some.

An ignored signal stays ignored in every process that a test starts, where it could not end what
the test is about.
"""

from __future__ import annotations

import signal

for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)
