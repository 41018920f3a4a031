"""Pickles of plain data read as `pickle` itself reads them; everything that would run something is refused."""

import copyreg
import os
import pickle
import struct

import numpy as np
import pytest
from tests.data.labelled import pickles

from fastgoal.data.labelled.unpickle import read_pickle
from fastgoal.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_python_2_pickle_is_read_as_pickle_reads_it(tmp_path):
    content = pickles.record(
        data=pickles.array(PIXELS), labels=pickles.items([b"K\x03", b"K\x01"]), name=pickles.text(b"batch \xe9")
    )
    expected = pickle.loads(content, encoding="bytes")
    read = read_pickle(written(tmp_path / "a", content))
    assert np.array_equal(read["data"], expected[b"data"]) and np.array_equal(read["data"], PIXELS)
    assert (read["labels"], read["name"]) == (expected[b"labels"], expected[b"name"]) == ([3, 1], b"batch \xe9")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("values", [PIXELS, np.asfortranarray(PIXELS), PIXELS[:, ::2], PIXELS[:0]])
def test_every_protocol_of_today(tmp_path, protocol, values):
    content = pickle.dumps({"data": values, "labels": [1, 2], b"raw": b"\xff\x00"}, protocol=protocol)
    read = read_pickle(written(tmp_path / "a", content))
    assert read["data"].dtype == np.uint8 and np.array_equal(read["data"], values)
    assert (read["labels"], read["raw"]) == ([1, 2], b"\xff\x00")


class Calls:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_what_would_run_is_refused_and_does_not_run(tmp_path, protocol):
    trap = tmp_path / "trap"
    for number, evil in enumerate(
        (
            Calls(os.system, f"touch {trap}"),
            Calls(eval, f"open({str(trap)!r}, 'w')"),
            Calls(open, str(trap), "w"),
            Calls(getattr, "x", "upper"),
            Calls(np.fromfile, str(tmp_path)),
            [{"deep": [Calls(os.mkdir, str(trap))]}],
        )
    ):
        content = pickle.dumps({"data": evil}, protocol=protocol)
        with pytest.raises(DataError, match=r"the pickle asks for .*may be malicious"):
            read_pickle(written(tmp_path / str(number), content))
    assert not trap.exists()


def test_the_trap_is_a_trap(tmp_path):
    """The same pickle through `pickle` does run: so the test above can fail."""
    pickle.loads(pickle.dumps({"data": Calls(os.mkdir, str(tmp_path / "trap"))}))
    assert (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02}(U\x01a(S'touch trap'\nios\nsystem\nu.",  # INST, of the oldest protocol
        b"\x80\x02U\x02idQ.",  # an object outside the file
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",  # STACK_GLOBAL
        b"\x80\x02cnumpy\nload\n.",
        b"\x80\x02cnumpy.core.multiarray\nscalar\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.",  # a dotted name below an allowed one
        pickle.dumps({"data": np.array([[object]], dtype=object)}),
        pickle.dumps({"data": np.zeros(3)}),
    ],
)
def test_other_ways_to_a_function_or_another_array(tmp_path, content):
    with pytest.raises(DataError, match="the pickle asks for"):
        read_pickle(written(tmp_path / "a", content))


def test_a_registered_function_is_not_reached_by_its_number(tmp_path):
    copyreg.add_extension("os", "system", 200)
    try:
        with pytest.raises(DataError, match="asks for the registered function 200"):
            read_pickle(written(tmp_path / "a", b"\x80\x02\x82\xc8."))
    finally:
        copyreg.remove_extension("os", "system", 200)


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        pickle.dumps({"data": PIXELS})[:-500],
        pickle.dumps([1, 2]),
        b"\x80\x02}r" + struct.pack("<I", 2**31) + b"0.",  # the C unpickler would set aside 16 GiB for this
        b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x.",  # an exabyte of bytes
        RECONSTRUCT + b"}S'__call__'\nNsb.",  # changes one of the stand-ins
        b"cnumpy\nndarray\n}S'__setstate__'\nNsb.",
        RECONSTRUCT + b"(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x02\x85Nh\x00U\x01atb.",
        pickles.record(data=pickles.array(PIXELS).replace(pickles.number(3072), pickles.number(3071))),
        b"(" * 100_000 + b"t" * 100_000 + b".",
        b"]" * 50_000 + b"a" * 49_999 + b".",
    ],
    ids=range(12),
)
def test_damaged_pickles_are_one_line(tmp_path, content):
    with pytest.raises(DataError, match=r"not a pickle|not a pickled dict"):
        read_pickle(written(tmp_path / "a", content))


def test_no_file_and_one_that_is_too_large(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="cannot be read"):
        read_pickle(tmp_path / "gone")
    monkeypatch.setattr("fastgoal.data.labelled.unpickle.MOST_BYTES", 10)
    with pytest.raises(DataError, match="larger than"):
        read_pickle(written(tmp_path / "a", pickle.dumps({"data": PIXELS})))
