"""Weights that several processes share: the same answers, one copy, and nothing unverified."""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from kaizen.bundle import keys, manifest, shelf
from kaizen.bundle.foreign import ForeignSignature, import_onnx
from kaizen.bundle.load import load
from kaizen.bundle.shelf import Shelf, dense_bytes
from kaizen.bundle.verify import verify
from kaizen.core.errors import SignatureError
from kaizen.graph.frame import feeds, from_rows

from .conftest import AT, FolderBlobs
from .test_foreign import NUMBERS, saved, tensor


def network(path: Path, width: int, depth: int = 2) -> Path:
    """Write a network of dense layers of so many neurons."""
    rng = np.random.default_rng(0)
    sizes = [2, *[width] * depth, 1]
    nodes, constants, last = [], [], "X"
    for layer, shape in enumerate(itertools.pairwise(sizes)):
        weights = (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"w{layer}"))
        constants.append(numpy_helper.from_array(rng.standard_normal(shape[1]).astype(np.float32), f"b{layer}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{layer}"], [f"m{layer}"]))
        nodes.append(helper.make_node("Add", [f"m{layer}", f"b{layer}"], [f"a{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"a{layer}"], [f"h{layer}"]))
        last = f"h{layer}"
    return saved(
        path,
        nodes,
        [tensor("X", TensorProto.FLOAT, [None, 2])],
        [tensor(last, TensorProto.FLOAT, [None, 1])],
        constants,
    )


@pytest.fixture
def packed(tmp_path: Path) -> Any:
    """Packs a network, and returns what `load` needs."""

    def pack(width: int) -> tuple[Any, FolderBlobs, set[str]]:
        keys.create(tmp_path / "keys")
        key, blobs = keys.load(tmp_path / "keys"), FolderBlobs(tmp_path / "blobs")
        bundle = import_onnx(
            network(tmp_path / "net.onnx", width), ForeignSignature(inputs=NUMBERS), task="regression", name="net",
            project="p", blobs=blobs, key=key, known=(), at=AT, by="test",
        )  # fmt: skip
        return bundle, blobs, {key.public}

    return pack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


def test_answers_with_shared_weights_are_those_without_to_the_bit(packed: Any, folder: Path) -> None:
    bundle, blobs, trusted = packed(600)
    alone, first, second = (load(bundle, blobs, trusted, on) for on in (None, Shelf(folder), Shelf(folder)))
    rng = np.random.default_rng(1)
    for rows in (1, 2, 7, 64, 333):
        asked = [{"a": float(a), "b": float(b)} for a, b in rng.standard_normal((rows, 2))]
        tensors = feeds(NUMBERS, from_rows(NUMBERS, asked))
        expected = alone.run(tensors).tobytes()
        assert first.run(tensors).tobytes() == second.run(tensors).tobytes() == expected
    assert len(set(expected)) > 8
    assert {path.name for path in (folder / bundle.id).iterdir()} == {"graph.onnx", "graph.onnx.weights"}
    assert first.files == alone.files


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads Linux's /proc")
def test_the_weights_are_mapped_from_the_shelf_and_not_copied(packed: Any, folder: Path) -> None:
    bundle, blobs, trusted = packed(600)
    model = load(bundle, blobs, trusted, Shelf(folder))
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("graph.onnx.weights")]
    assert mapped
    assert not any("w" in line.split()[1] and "s" in line.split()[1] for line in mapped)  # nobody writes to the file
    assert (folder / bundle.id / "graph.onnx").stat().st_size < 64 << 10
    assert model.predict_rows([{"a": 1.0, "b": 2.0}])


def test_a_small_graph_is_loaded_by_each_on_its_own(packed: Any, folder: Path) -> None:
    bundle, blobs, trusted = packed(40)
    graph = verify(bundle, blobs, trusted)[manifest.GRAPH]
    assert dense_bytes(graph) < shelf.LEAST_BYTES
    for _ in range(2):
        assert load(bundle, blobs, trusted, Shelf(folder)).predict_rows([{"a": 1.0, "b": 2.0}])
    assert {path.name for path in folder.iterdir()} == {f"{bundle.id}.apart", f"{bundle.id}.lock"}


def test_nothing_is_put_on_the_shelf_that_is_not_verified(packed: Any, folder: Path) -> None:
    bundle, blobs, trusted = packed(600)
    path = blobs.path(next(file.blob for file in bundle.files if file.path == manifest.GRAPH))
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    for _ in range(2):
        with pytest.raises(SignatureError, match="corrupted"):
            load(bundle, blobs, trusted, Shelf(folder))
    with pytest.raises(SignatureError, match="unknown key"):
        load(bundle, blobs, set(), Shelf(folder))
    path.write_bytes(good)
    load(bundle, blobs, trusted, Shelf(folder))
    with pytest.raises(SignatureError, match="unknown key"):
        load(bundle, blobs, set(), Shelf(folder))


@pytest.mark.parametrize("room", [0, 1000, 500_000, 2_000_000])
def test_without_space_each_loads_by_itself(packed: Any, folder: Path, room: int) -> None:
    bundle, blobs, trusted = packed(600)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        model = load(bundle, blobs, trusted, Shelf(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert model.predict_rows([{"a": 1.0, "b": 2.0}])
    assert not (folder / bundle.id).exists()


MAKER = """
import sys
from pathlib import Path
from kaizen.bundle.shelf import Shelf
print(flush=True)
print(Shelf(Path(sys.argv[1])).graph("k", Path(sys.argv[2]).read_bytes), flush=True)
"""


def test_when_the_maker_is_killed_the_next_one_makes_it(tmp_path: Path, folder: Path) -> None:
    graph = network(tmp_path / "net.onnx", 900)
    (folder / "k.draft").mkdir()
    (folder / "k.draft" / "graph.onnx").write_bytes(b"half")  # of one that was killed before
    command = [sys.executable, "-c", MAKER, str(folder), str(graph)]
    makers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for maker in makers:
        assert maker.stdout is not None
        maker.stdout.readline()
    makers[0].kill()
    answers = [maker.stdout.read().strip() for maker in makers if maker.stdout is not None]
    for maker in makers:
        maker.communicate(timeout=60)
    assert answers[1] == answers[2] == str(folder / "k" / "graph.onnx")
    assert not (folder / "k.draft").exists()
    assert (folder / "k" / "graph.onnx.weights").stat().st_size > 900 * 900 * 4
