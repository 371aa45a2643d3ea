"""Packing and loading: the same content has the same id, and whatever was changed afterwards is refused."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from kaizen.bundle import keys, manifest, pack
from kaizen.bundle.environment import environment
from kaizen.bundle.load import load
from kaizen.core.errors import BundleError, RequestError, SignatureError
from kaizen.core.records import Bundle, Column, File, Seen
from kaizen.graph.frame import MISSING_TIME, from_rows

from .conftest import AT, COLUMNS, RULES, Shop, rows


def changed(bundle: Bundle, **fields: Any) -> Bundle:
    return msgspec.structs.replace(bundle, **fields)


def test_the_same_content_has_the_same_id_and_signature_whenever_it_is_packed(shop: Shop) -> None:
    first = shop.pack()
    again = shop.pack(at=AT + timedelta(days=9), known=(first,))
    assert (again.id, again.signature, again.files, again.version) == (
        first.id,
        first.signature,
        first.files,
        first.version,
    )


def test_a_new_content_is_the_next_version_of_its_name(shop: Shop) -> None:
    first = shop.pack()
    second = shop.pack(known=(first,), reference=b'{"other": 1}\n')
    other = shop.pack(known=(first, second), name="another")
    assert (first.version, second.version, other.version) == (1, 2, 1)
    assert len({first.id, second.id, other.id}) == 3


def test_a_loaded_bundle_answers_as_the_graph_that_was_packed(shop: Shop, lightgbm_model: Any) -> None:
    model = load(shop.pack(), shop.blobs, {shop.public})
    _, trained = lightgbm_model
    frame = rows(40, seed=3)
    own = trained.calibrate(trained.model.predict(trained.features(frame)))
    np.testing.assert_allclose(model.predict(frame), own, rtol=0, atol=1e-14)
    examples = model.signature().examples
    assert model.predict_rows(examples) == model.predict(from_rows(COLUMNS, examples)).tolist()
    assert model.predict_rows([]) == []
    assert model.inputs == COLUMNS


def test_a_bundle_carries_its_rules_and_an_older_one_has_none(shop: Shop) -> None:
    assert load(shop.pack(), shop.blobs, {shop.public}).rules() == RULES
    older = shop.pack(rules=None)
    assert manifest.RULES not in {file.path for file in older.files}
    assert load(older, shop.blobs, {shop.public}).rules() is None


def test_a_row_that_does_not_fit_is_refused_by_name(shop: Shop) -> None:
    model = load(shop.pack(), shop.blobs, {shop.public})
    row = {**model.signature().examples[0], "amount": "many"}
    with pytest.raises(RequestError, match="many"):
        model.predict_rows([row])


def test_a_failed_certificate_is_not_packed(shop: Shop) -> None:
    failed = msgspec.structs.replace(shop.certificate, mismatches=3, max_probe_difference=0.25)
    with pytest.raises(BundleError, match=r"more than 1e-09 .* \(largest difference 0\.25\)"):
        shop.pack(certificate=failed)
    assert list(shop.blobs.folder.iterdir()) == []


def test_the_certificate_of_another_graph_is_not_taken(shop: Shop) -> None:
    with pytest.raises(BundleError, match="certificate is of another graph"):
        shop.pack(graph=shop.graph + b"\x00")


def test_an_example_that_does_not_fit_the_columns_is_refused(shop: Shop) -> None:
    with pytest.raises(BundleError, match="example 0 does not fit"):
        shop.pack(examples=({"amount": 1.0},))


def test_columns_that_the_graph_does_not_read_from_are_refused(shop: Shop) -> None:
    with pytest.raises(BundleError, match="strings, times"):
        shop.pack(inputs=COLUMNS[:2], examples=())


@pytest.mark.parametrize("path", [manifest.GRAPH, manifest.CERTIFICATE, manifest.REFERENCE])
def test_a_flipped_bit_in_any_file_is_refused(shop: Shop, path: str) -> None:
    bundle = shop.pack()
    blob = shop.blobs.path(next(file.blob for file in bundle.files if file.path == path))
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(bytes(data))
    with pytest.raises(SignatureError, match="corrupted"):
        load(bundle, shop.blobs, {shop.public})


def test_a_missing_file_is_refused(shop: Shop) -> None:
    bundle = shop.pack()
    shop.blobs.path(bundle.files[0].blob).unlink()
    with pytest.raises(SignatureError, match="cannot be read"):
        load(bundle, shop.blobs, {shop.public})


def test_a_changed_record_is_refused(shop: Shop) -> None:
    bundle = shop.pack()
    for other in (
        changed(bundle, name="another"),
        changed(bundle, task="regression"),
        changed(bundle, inputs=bundle.inputs[::-1]),
        changed(bundle, files=(*bundle.files[:-1], changed(bundle.files[-1], size_bytes=1))),
    ):
        with pytest.raises(SignatureError, match="its id is not that of its content"):
            load(other, shop.blobs, {shop.public})


def test_an_unsigned_bundle_or_one_signed_by_a_stranger_is_refused(shop: Shop, tmp_path: Path) -> None:
    bundle = shop.pack()
    with pytest.raises(SignatureError, match="unsigned"):
        load(changed(bundle, signature=""), shop.blobs, {shop.public})
    with pytest.raises(SignatureError, match="unknown key") as caught:
        load(bundle, shop.blobs, set())
    assert "--trust" in caught.value.fix
    keys.create(tmp_path / "stranger")
    forged = keys.load(tmp_path / "stranger").sign(bytes.fromhex(bundle.id))
    with pytest.raises(SignatureError, match="signature is not that of its id"):
        load(changed(bundle, signature=forged), shop.blobs, {shop.public})


@pytest.mark.parametrize("path", ["../graph.onnx", "/etc/passwd", "model.pkl", "graph.onnx/../x"])
def test_a_file_of_another_name_is_refused_before_anything_is_read(shop: Shop, path: str) -> None:
    bundle = shop.pack()
    trick = (*bundle.files, File(path=path, blob="0" * 64, size_bytes=0))
    identity = manifest.identity(
        name=bundle.name, task=bundle.task, inputs=bundle.inputs, output=bundle.output, files=trick
    )
    signature = keys.load(shop.keys).sign(bytes.fromhex(identity))
    with pytest.raises(SignatureError, match="unknown file"):
        load(changed(bundle, id=identity, files=trick, signature=signature), shop.blobs, {shop.public})


def test_the_environment_holds_versions_and_the_revision_and_no_time(tmp_path: Path) -> None:
    assert environment(tmp_path).revision is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    found = environment(tmp_path)
    assert found.revision is not None
    assert len(found.revision) == 40
    assert found == environment(tmp_path)
    assert {"numpy", "onnxruntime"} <= set(found.distributions)


def test_loading_imports_no_builder_and_no_learner() -> None:
    heavy = ("onnx", "scipy", "duckdb", "sklearn", "pandas", "lightgbm", "matplotlib")
    code = f"import sys, kaizen.bundle.load; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_signature_tells_what_was_seen_and_an_older_one_without_it_is_read(shop: Shop) -> None:
    columns = (Column("n", "number"), Column("t", "time"), Column("c", "category"), Column("x", "text"))
    frame: dict[str, Any] = {
        "n": np.array([3.0, np.nan, -1.0]),
        "t": np.array([86_400_000_000, MISSING_TIME, 0]),
        "c": np.array(["b", "", "b"], object),
        "x": np.array(["secret", "", ""], object),
    }
    seen = pack.seen_of(columns, frame)
    assert seen == (
        Seen("n", low=-1.0, high=3.0),
        Seen("t", low="1970-01-01T00:00:00+00:00", high="1970-01-02T00:00:00+00:00"),
        Seen("c", values=("b",), is_all=True),
    )
    model = load(shop.pack(seen=seen), shop.blobs, {shop.public})
    assert model.signature().seen == seen
    older = msgspec.json.decode(model.files[manifest.SIGNATURE])
    del older["seen"]
    assert msgspec.json.decode(msgspec.json.encode(older), type=manifest.Signature).seen == ()


def test_of_many_categories_the_commonest_are_told() -> None:
    values = [f"v{n:03d}" for n in range(100)] * 2 + ["v099"]
    (seen,) = pack.seen_of((Column("c", "category"),), {"c": np.array(values, object)})
    assert (seen.values[:2], len(seen.values), seen.is_all) == (("v099", "v000"), pack.MOST_VALUES, False)
    (seen,) = pack.seen_of((Column("c", "category"),), {"c": np.array(["a", "a", "once"], object)})
    assert (seen.values, seen.is_all) == (("a",), False)
    assert pack.seen_of((Column("c", "category"),), {"c": np.array(["a", "b"], object)}) == ()
    nothing = {"c": np.array([np.nan, np.nan])}
    assert pack.seen_of((Column("c", "number"),), nothing) == ()
