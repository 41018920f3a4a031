"""Pickles as Python 2 wrote them, put together opcode by opcode: so the published CIFAR batches look."""

import struct

import numpy as np


def text(value: bytes) -> bytes:
    return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def array(value: np.ndarray) -> bytes:
    shape = b"(" + b"".join(map(number, value.shape)) + b"t"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    kind = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03U\x01|NNN" + number(-1) * 2 + b"K\x00tb"
    return empty + b"(K\x01" + shape + kind + b"\x89" + text(value.tobytes()) + b"tb"


def items(values: list[bytes]) -> bytes:
    return b"](" + b"".join(values) + b"e"


def record(**fields: bytes) -> bytes:
    return b"\x80\x02}(" + b"".join(text(name.encode()) + value for name, value in fields.items()) + b"u."
