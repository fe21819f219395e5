# SPDX-License-Identifier: MIT
"""Processes that make calls for this one, and of which each can die alone.

`concurrent.futures.ProcessPoolExecutor` ends all its processes when one dies, and every call
that waited is lost.  Here a call that took its process along is the only one to fail.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from typing import Any

from pgste._checks import count_of
from pgste._engine.live import die_with_parent

__all__ = ["MAX_WORKERS", "WorkerDied", "Workers", "serve"]

MAX_WORKERS = 1024
_START = "import sys; from pgste.study.workers import serve; serve(int(sys.argv[1]))"

Job = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...]]


class WorkerDied(Exception):
    """The process that made a call ended before it answered."""


class Workers(Executor):
    """An executor of processes; what is submitted is pickled, so functions must have a module.

    A process starts with its first call, as a program of its own: nothing of this process is
    copied, and its main module is not imported.
    """

    def __init__(self, workers: int | None = None) -> None:
        """``workers``: how many processes, 1 .. 1,024; by default one a CPU."""
        if workers is None:
            workers = min(len(os.sched_getaffinity(0)), MAX_WORKERS)
        self._most = count_of("workers", workers, MAX_WORKERS)
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._down = self._killed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if kwargs:
            raise TypeError("Workers: calls take no keyword arguments")
        future: Future[Any] = Future()
        with self._lock:
            if self._down:
                raise RuntimeError("Workers: they were shut down")
            self._jobs.put((future, fn, args))
            if len(self._threads) < self._most:
                thread = threading.Thread(target=self._attend, daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of any executor; with ``cancel_futures`` the calls that run are ended, too."""
        with self._lock:
            self._down = True
        if cancel_futures:
            self._cancel_waiting()
            with self._lock:
                self._killed = True
                for process in self._processes:
                    process.kill()
        for _ in self._threads:
            self._jobs.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def pids(self) -> list[int]:
        """Processes that there are now."""
        with self._lock:
            return [process.pid for process in self._processes]

    def _cancel_waiting(self) -> None:
        while not self._jobs.empty():
            job = self._jobs.get()
            if job:
                job[0].cancel()

    def _attend(self) -> None:
        """A thread: one process and the calls that it makes, one after another."""
        # Ctrl-C goes to all of a terminal, also to a process that is not yet at `serve`
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        process: subprocess.Popen[bytes] | None = None
        mine: Connection[Any, Any] | None = None
        while (job := self._jobs.get()) is not None:
            future, fn, args = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if process is None or mine is None:
                    process, mine = self._start()
                mine.send((fn, args))
                good, answer = mine.recv()
            except (EOFError, ConnectionError):
                assert process is not None
                status = self._end(process, mine)
                process = mine = None
                future.set_exception(WorkerDied(f"its process ended, {_told(status)}"))
            except BaseException as error:  # what cannot be pickled, a process that cannot start
                future.set_exception(error)
            else:
                if good:
                    future.set_result(answer)
                else:
                    future.set_exception(answer)
        if process is not None:
            self._end(process, mine)

    def _start(self) -> tuple[subprocess.Popen[bytes], Connection[Any, Any]]:
        mine, theirs = Pipe()
        path = os.pathsep.join(filter(None, sys.path))  # it finds what this process finds
        with self._lock:
            if self._killed:
                raise RuntimeError("Workers: they were shut down")
            process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": path},
            )
            self._processes.add(process)
        theirs.close()
        return process, mine

    def _end(self, process: subprocess.Popen[bytes], mine: Connection[Any, Any] | None) -> int:
        if mine:
            mine.close()  # a process that waits for a call sees this as its end
        status = process.wait()
        with self._lock:
            self._processes.discard(process)
        return status


def _told(status: int) -> str:
    if status < 0:
        return f"killed by signal {-status} ({signal.Signals(-status).name})"
    return f"exit status {status}"


def serve(descriptor: int) -> None:
    """The life of a process: calls in, answers out, until the other side is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the one in charge decides
    die_with_parent()  # its SIGKILL, in the middle of a call
    connection: Connection[Any, Any] = Connection(descriptor)
    while True:
        try:
            fn, args = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            answer = (True, fn(*args))
        except BaseException as error:
            answer = (False, error)
        try:
            connection.send(answer)
        except ConnectionError:
            return
        except Exception as error:  # an answer that cannot be pickled
            connection.send((False, TypeError(f"an answer that cannot be sent: {error}")))
