# SPDX-License-Identifier: MIT
"""What `_numpy.pxd` says of NumPy's ABI, against NumPy's headers and NumPy's arrays."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import pgste
from pgste.errors import ArgumentTypeError

PXD = Path(pgste.get_library()) / "_engine/_numpy.pxd"
HEADERS = Path(np.get_include())
PROGRAM = """
#define PY_SSIZE_T_CLEAN
#include <stddef.h>
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/arrayobject.h>
%s
#define SAME(a, b) _Static_assert((a) == (b), #a " is not " #b)
#define ARRAY(ours, theirs) \\
	SAME(offsetof(pgste_array, ours), offsetof(PyArrayObject_fields, theirs)); \\
	SAME(sizeof(((pgste_array *)0)->ours), sizeof(((PyArrayObject_fields *)0)->theirs))
#define DTYPE(ours, theirs) \\
	SAME(offsetof(pgste_dtype, ours), offsetof(PyArray_Descr, theirs)); \\
	SAME(sizeof(((pgste_dtype *)0)->ours), sizeof(((PyArray_Descr *)0)->theirs))
ARRAY(data, data);
ARRAY(nd, nd);
ARRAY(shape, dimensions);
ARRAY(strides, strides);
ARRAY(base, base);
ARRAY(dtype, descr);
ARRAY(flags, flags);
DTYPE(type, typeobj);
DTYPE(kind, kind);
DTYPE(letter, type);
DTYPE(byteorder, byteorder);
DTYPE(number, type_num);
SAME(PGSTE_NPY_BOOL, NPY_BOOL);
SAME(PGSTE_NPY_INT8, NPY_INT8);
SAME(PGSTE_NPY_UINT8, NPY_UINT8);
SAME(PGSTE_NPY_UINT32, NPY_UINT32);
SAME(PGSTE_NPY_UINT64, NPY_UINT64);
SAME(PGSTE_NPY_LAST_INTEGER, NPY_ULONGLONG);
SAME(PGSTE_NPY_CONTIGUOUS, NPY_ARRAY_C_CONTIGUOUS);
SAME(PGSTE_NPY_ALIGNED, NPY_ARRAY_ALIGNED);
SAME(PGSTE_NPY_WRITEABLE, NPY_ARRAY_WRITEABLE);
SAME(sizeof(npy_intp), sizeof(Py_ssize_t));
_Static_assert(NPY_ABI_VERSION == PGSTE_NPY_ABI_1 || NPY_ABI_VERSION == PGSTE_NPY_ABI_2, "ABI");
"""


def test_the_declarations_are_those_of_numpys_headers(tmp_path: Path) -> None:
    [block] = re.findall(r'"""\n(    #ifndef.*?)"""', PXD.read_text(), re.S)
    file = tmp_path / "abi.c"
    file.write_text(PROGRAM % block)
    folders = [sysconfig.get_path("include"), str(HEADERS)]
    done = subprocess.run(
        ["cc", "-std=c11", "-fsyntax-only", *(f"-I{folder}" for folder in folders), str(file)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("ABI", "PyArray_GetNDArrayCVersion"), ("NEW", "PyArray_New")],
)
def test_functions_have_the_places_of_numpys_headers(ours: str, theirs: str) -> None:
    table = (HEADERS / "numpy/__multiarray_api.h").read_text()
    [place] = re.findall(rf"#define {theirs}\s.*?PyArray_API\[(\d+)\]", table, re.S)
    [number] = re.findall(rf"PGSTE_NPY_{ours} = (\d+)", PXD.read_text())
    assert number == place


@pytest.mark.parametrize("code", np.typecodes["AllInteger"])
@pytest.mark.parametrize("order", "<>")
def test_every_integer_of_numpys_is_a_gfn(code: str, order: Literal["<", ">"]) -> None:
    guest = pgste.Guest(200)
    gfns = np.array([3, 100, 7], dtype=np.dtype(code).newbyteorder(order))
    guest.essa(pgste.Orc.SET_UNUSED, gfns)
    assert np.flatnonzero(guest.states() & 3 == pgste.Usage.UNUSED).tolist() == [3, 7, 100]
    for changed in (gfns[::-1], gfns[::2], np.array([gfns, gfns])[:, 0]):
        assert list(guest.essa(pgste.Orc.GET_STATE, changed)) == [
            guest.essa(pgste.Orc.GET_STATE, int(gfn))[0] for gfn in changed
        ]


@pytest.mark.parametrize("code", "?fdgFDGSUVOMm")
def test_every_other_dtype_is_refused(code: str) -> None:
    guest = pgste.Guest(10)
    dtype = np.dtype({"S": "S4", "U": "U4", "V": "V8", "M": "M8[s]", "m": "m8[s]"}.get(code, code))
    with pytest.raises(ArgumentTypeError, match=r"^gfns: an array of dtype .* is neither"):
        guest.essa(pgste.Orc.SET_UNUSED, np.zeros(3, dtype))
    assert guest.count_states()["unused"]["resident"] == 0
