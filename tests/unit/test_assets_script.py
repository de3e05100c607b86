"""scripts/assets.py without a network: packages come from a fetcher of the test."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest

from scripts import assets, torch_weights

ROOT = Path(__file__).resolve().parents[2]


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the packages fetched so far; the package "pictures" holds two, "clip" one, "gone" cannot be had."""
    log: list[str] = []

    def fetch(package: Any, work: Path) -> Path:
        log.append(package.name)
        if package.name == "gone":
            raise assets.AssetError(f"{package}: no such package")
        (work / "data").mkdir()
        for name in ("a_1.png", "a_2.png", "b_1.png", "clip.avi"):
            (work / "data" / name).write_bytes(name.encode())
        return work

    monkeypatch.setitem(assets.FETCHERS, "pip", fetch)
    return log


def _table(clip_sha: str = _sha(b"clip.avi")) -> dict[str, Any]:
    pictures, clip, gone = (assets.Package("pip", name, "1") for name in ("pictures", "clip", "gone"))
    several = _sha((_sha(b"a_1.png") + _sha(b"a_2.png")).encode())
    return {
        "pictures": assets.Asset("pictures", pictures, ("data/",), several, "MIT", prefixes=("a_",)),
        "single": assets.Asset("single.png", pictures, ("data/b_1.png",), _sha(b"b_1.png"), "MIT"),
        "clip": assets.Asset("clip.avi", clip, ("data/clip.avi",), clip_sha, "MIT"),
        "gone": assets.Asset("gone.onnx", gone, ("data/none",), "", "MIT"),
    }


def test_only_what_is_named_is_fetched_and_only_once(tmp_path: Path, fetched: list[str]) -> None:
    assert list(assets.fetch(["clip"], tmp_path, _table())) == ["clip: fetched from pip clip 1"]
    assert list(assets.fetch(["clip"], tmp_path, _table())) == ["clip: here"]
    assert fetched == ["clip"]
    assert (tmp_path / "clip.avi").read_bytes() == b"clip.avi"
    assert (tmp_path / ".gitignore").read_text() == "*\n"


def test_assets_of_one_package_come_together(tmp_path: Path, fetched: list[str]) -> None:
    list(assets.fetch(["single"], tmp_path, _table()))
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["a_1.png", "a_2.png"]
    assert list(assets.fetch(["pictures", "single"], tmp_path, _table())) == ["pictures: here", "single: here"]
    assert fetched == ["pictures"]


def test_a_spoilt_file_is_fetched_again(tmp_path: Path, fetched: list[str]) -> None:
    list(assets.fetch(["clip", "pictures"], tmp_path, _table()))
    (tmp_path / "clip.avi").write_bytes(b"half")
    (tmp_path / "pictures" / "a_1.png").unlink()
    list(assets.fetch(["clip", "pictures"], tmp_path, _table()))
    assert fetched == ["clip", "pictures", "clip", "pictures"]
    assert (tmp_path / "clip.avi").read_bytes() == b"clip.avi"


def test_another_content_is_refused(tmp_path: Path, fetched: list[str]) -> None:
    with pytest.raises(assets.AssetError, match=r"clip.avi has SHA-256 .* expected 00"):
        list(assets.fetch(["clip"], tmp_path, _table(clip_sha="00")))
    assert not (tmp_path / "clip.avi").exists()


def test_what_cannot_be_had_does_not_stop_the_rest(tmp_path: Path, fetched: list[str]) -> None:
    with pytest.raises(assets.AssetError, match="gone 1: no such package"):
        list(assets.fetch([], tmp_path, _table()))
    assert {"clip.avi", "single.png"} <= {p.name for p in tmp_path.iterdir()}


def test_an_unknown_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert assets.main(["no_such_asset"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no asset is called no_such_asset; there are yolox_nano,")
    assert error.count("\n") == 1


def test_a_missing_client_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(assets.AssetError, match="needs the program npm, which is not on this machine"):
        list(assets.fetch(["cap12"], tmp_path))


def test_the_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONV_ASSETS", str(tmp_path))
    assert assets.folder() == tmp_path
    monkeypatch.delenv("RECONV_ASSETS")
    assert assets.folder() == ROOT / ".assets"


def test_every_asset_of_the_table_is_complete() -> None:
    from scripts import convert_models

    assert len({asset.file for asset in assets.ASSETS.values()}) == len(assets.ASSETS)
    for name, asset in assets.ASSETS.items():
        assert len(asset.sha256) == 64, name
        assert asset.package.client in assets.FETCHERS, name
        assert not asset.builder or asset.builder in convert_models.BUILDERS, name


class _Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("ran",))


def test_weights_that_want_to_run_code_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "harm.pth"
    path.write_bytes(pickle.dumps(_Harm()) * 5)
    with pytest.raises(pickle.UnpicklingError, match="print has no place in a state dict"):
        torch_weights.load(path)
    assert not capsys.readouterr().out
