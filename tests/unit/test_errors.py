# SPDX-License-Identifier: MIT
"""Every error code of the core has its exception."""

from __future__ import annotations

import inspect
import pickle

import pytest

import pgste
from pgste import _engine, errors
from pgste.errors import BY_CODE, ErrorCode, PgsteError

EXCEPTIONS = [
    thing
    for _, thing in inspect.getmembers(errors, inspect.isclass)
    if issubclass(thing, PgsteError)
]


def test_every_code_to_the_last_has_an_exception_and_a_sentence() -> None:
    codes = range(-1, _engine.ERROR_LAST - 1, -1)
    assert sorted(BY_CODE) == sorted(codes)
    assert sorted(ErrorCode) == sorted(codes)
    unknown = _engine.strerror(_engine.ERROR_LAST - 1)
    sentences = [_engine.strerror(code) for code in codes]
    assert unknown not in sentences
    assert len(set(sentences)) == len(sentences)
    assert len(set(BY_CODE.values())) == len(BY_CODE)


@pytest.mark.parametrize("error", EXCEPTIONS, ids=lambda error: error.__name__)
def test_each_is_also_a_builtin_exception(error: type[PgsteError]) -> None:
    builtin = [
        base
        for base in error.__mro__
        if base.__module__ == "builtins" and base not in (Exception, BaseException, object)
    ]
    assert error is PgsteError or builtin
    assert error.__doc__
    assert getattr(pgste, error.__name__) is error
    assert error.__name__ in errors.__all__
    again = pickle.loads(pickle.dumps(error("why")))
    assert type(again) is error
    assert str(again) == "why"


def test_program_interruptions_have_the_codes_of_the_machine() -> None:
    """z/Architecture: operation 1, privileged operation 2, addressing 5, specification 6."""
    codes = {
        errors.OperationException: 1,
        errors.PrivilegedOperationException: 2,
        errors.AddressingException: 5,
        errors.SpecificationException: 6,
    }
    assert {error: error.code for error in codes} == codes
    assert all(issubclass(error, errors.ProgramInterruption) for error in codes)
