#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the small .npz files of tests/testdata/eval, which tests/eval/npz_test.cc reads.

usage: make_npz_goldens.py [output directory]        needs numpy
"""

import pathlib
import sys
import zipfile

import numpy as np


def main():
    root = pathlib.Path(__file__).resolve().parents[1]
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else root / "tests/testdata/eval")
    out.mkdir(parents=True, exist_ok=True)
    arrays = dict(
        names=np.array(["one", "three"]),
        f4=np.array([[1.5, -2.25, 3e38], [0.0, 1e-45, -0.5]], "<f4"),
        f8=np.array([np.pi, -1e300]),
        i4=np.array([0, -1, 2**31 - 1], "<i4"),
        i8=np.arange(6, dtype="<i8").reshape(1, 2, 3) - 2**40,
        scalar=np.float64(7.5),
        empty=np.zeros((0, 64), "<f4"),
    )
    np.savez_compressed(out / "compressed.npz", **arrays)
    np.savez(out / "stored.npz", **arrays)
    np.savez(out / "fortran.npz", a=np.asfortranarray(np.ones((2, 3), "<f4")))
    np.savez(out / "big_endian.npz", a=np.ones(2, ">f4"))
    for name, entry in malformed().items():
        with zipfile.ZipFile(out / f"{name}.npz", "w") as archive:
            archive.writestr("a.npy", entry)


def npy(header, data=b"", length=None):
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + (len(text) if length is None else length).to_bytes(2, "little") + text + data


def malformed():
    """What no NumPy writes, by the fault."""
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }"
    return {
        "not_npy": b"hello, I am no array at all",
        "tiny": b"\x93NUMPY",
        "header_past_end": npy(head % "(2,)", length=60000),
        "no_shape": npy("{'descr': '<f4', 'fortran_order': False, }", bytes(8)),
        "no_descr_value": npy("{'fortran_order': False, 'shape': (2,), 'descr':"),
        "short_data": npy(head % "(3,)", bytes(8)),
        "huge_shape": npy(head % "(4611686018427387904,)", bytes(8)),
        "wrapping_shape": npy(head % "(4294967296, 4294967296, 2)", bytes(8)),
    }


if __name__ == "__main__":
    main()
