"""The error of every reader of traces."""

from __future__ import annotations

__all__ = ["TraceError"]


class TraceError(ValueError):
    """A trace file that is damaged, cut off, or of no known format.

    ``path`` names the file, ``line`` (text) or ``offset`` (binary, in bytes) the place, as far
    as they are known; ``reason`` says what is wrong there.
    """

    def __init__(
        self,
        reason: str,
        *,
        path: str | None = None,
        line: int | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.line = line
        self.offset = offset

    def __str__(self) -> str:
        where = [] if self.path is None else [self.path]
        if self.line is not None:
            where.append(f"line {self.line}")
        if self.offset is not None:
            where.append(f"byte {self.offset}")
        return ": ".join([", ".join(where), self.reason]) if where else self.reason

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.reason, self.path, self.line, self.offset)


def _rebuild(reason: str, path: str | None, line: int | None, offset: int | None) -> TraceError:
    return TraceError(reason, path=path, line=line, offset=offset)
