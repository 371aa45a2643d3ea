"""Bundles travel as folders: written whole, and imported only as they were signed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kaizen.bundle import manifest
from kaizen.bundle.exchange import export, import_folder
from kaizen.bundle.load import load
from kaizen.core.errors import BundleError, SignatureError
from kaizen.core.records import Bundle

from .conftest import AT, FolderBlobs, Shop, rows


@pytest.fixture
def folder(shop: Shop, tmp_path: Path) -> Path:
    return export(shop.pack(), shop.blobs, tmp_path / "out", trusted={shop.public})


def imported(folder: Path, blobs: FolderBlobs, shop: Shop, **changes: Any) -> Bundle:
    given: dict[str, Any] = {"trusted": {shop.public}, "project": "other", "known": (), "at": AT, "by": "test"}
    return import_folder(folder, blobs=blobs, **{**given, **changes})


def test_an_exported_bundle_comes_back_the_same_in_another_project(shop: Shop, folder: Path, tmp_path: Path) -> None:
    original = shop.pack()
    blobs = FolderBlobs(tmp_path / "other")
    bundle = imported(folder, blobs, shop)
    assert (bundle.id, bundle.signature, bundle.files) == (original.id, original.signature, original.files)
    assert (bundle.project, bundle.version) == ("other", 1)
    ours, theirs = load(original, shop.blobs, {shop.public}), load(bundle, blobs, {shop.public})
    assert (ours.predict(rows(20)) == theirs.predict(rows(20))).all()


def test_importing_what_is_known_already_changes_nothing(shop: Shop, folder: Path) -> None:
    original = shop.pack()
    assert imported(folder, shop.blobs, shop, known=(original,)) is original


def test_a_folder_that_exists_is_not_overwritten(shop: Shop, folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(BundleError, match="exists already"):
        export(shop.pack(), shop.blobs, folder, trusted={shop.public})
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_corrupted_bundle_is_not_exported_and_leaves_no_folder(shop: Shop, tmp_path: Path) -> None:
    bundle = shop.pack()
    shop.blobs.path(bundle.files[0].blob).write_bytes(b"changed")
    with pytest.raises(SignatureError, match="corrupted"):
        export(bundle, shop.blobs, tmp_path / "out", trusted={shop.public})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", sorted(manifest.KNOWN))
def test_a_changed_file_is_refused_and_nothing_is_stored(shop: Shop, folder: Path, tmp_path: Path, path: str) -> None:
    data = bytearray((folder / path).read_bytes())
    data[0] ^= 1
    (folder / path).write_bytes(bytes(data))
    blobs = FolderBlobs(tmp_path / "other")
    with pytest.raises(SignatureError, match=f"{path} is corrupted"):
        imported(folder, blobs, shop)
    assert list(blobs.folder.iterdir()) == []


def test_an_unknown_packer_is_refused_and_a_trusted_one_is_not(shop: Shop, folder: Path) -> None:
    with pytest.raises(SignatureError, match="unknown key"):
        imported(folder, shop.blobs, shop, trusted=set())
    assert imported(folder, shop.blobs, shop, trusted={"00", shop.public}).public_key == shop.public


def test_a_link_out_of_the_folder_is_refused(shop: Shop, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes((folder / manifest.GRAPH).read_bytes())
    (folder / manifest.GRAPH).unlink()
    (folder / manifest.GRAPH).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SignatureError, match=r"graph\.onnx cannot be read"):
        imported(folder, shop.blobs, shop)


def test_a_file_that_the_manifest_does_not_list_is_refused(shop: Shop, folder: Path) -> None:
    (folder / "model.pkl").write_bytes(b"")
    with pytest.raises(BundleError, match=r"does not list: 'model\.pkl'"):
        imported(folder, shop.blobs, shop)


@pytest.mark.parametrize("path", ["../../secret", "/etc/passwd"])
def test_a_manifest_that_points_elsewhere_is_refused(shop: Shop, folder: Path, path: str) -> None:
    record = json.loads((folder / manifest.MANIFEST).read_text())
    record["files"][0]["path"] = path
    (folder / manifest.MANIFEST).write_text(json.dumps(record))
    with pytest.raises(SignatureError, match="unknown file"):
        imported(folder, shop.blobs, shop)


def test_a_folder_that_is_no_bundle_is_an_error_that_says_so(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not the folder of a bundle"):
        imported(tmp_path, shop.blobs, shop)
    (tmp_path / manifest.MANIFEST).write_text("{")
    with pytest.raises(BundleError, match="not one of a bundle"):
        imported(tmp_path, shop.blobs, shop)
