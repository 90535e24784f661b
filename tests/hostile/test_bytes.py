"""Fuzzed files that are no text: weights, checkpoints, packs, pictures, PNG's chunks, archives."""

import hashlib
import io
import json
import pickle
import shutil
import tarfile
import warnings
import zipfile
from functools import cache
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import hitsr
from hitsr.base.files import write_bytes
from hitsr.base.png import SIGNATURE, Chunk, chunks, packed, picture_only
from hitsr.data.images import read_image, write_png
from hitsr.data.packs import packed_pairs
from hitsr.data.sources import prepare
from hitsr.data.unpacking import opened, placed, write_members
from hitsr.models.backbone import SuperResolver
from hitsr.models.checkpoints import load_weights, metadata_of
from hitsr.models.published_names import published_names
from hitsr.records import LogLine, Session
from hitsr.records.checkpoint import Identity, Means, Position
from hitsr.report import crops
from hitsr.report.maps import channels_of
from hitsr.specs.network import NetworkSpec
from hitsr.specs.zoo import NETWORKS, OTHERS
from hitsr.training.checkpoints import Checkpoint, last_checkpoint, save_checkpoint
from hitsr.upscaling.user_pictures import decode, encode

FUZZ = run_path(str(Path(__file__).with_name("fuzzing.py")))
bounded, changed, documents, fuzzed, read = (
    FUZZ[name] for name in ("bounded", "changed", "documents", "fuzzed", "read")
)
SMALL = {"depths": [1], "width": 12, "mixer.heads": 2, "windows": {"base": 4, "ratios": [1]}}
NETWORK = NETWORKS["swinir_light"].patch(SMALL)


@cache
def _model() -> SuperResolver:
    torch.manual_seed(0)
    return hitsr.create(NETWORK, 2).eval()


@cache
def _published() -> dict[str, torch.Tensor]:
    state = _model().state_dict()
    return {each: value for name, value in state.items() for each in published_names(NETWORK, name)}


def _saved(content: object, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def _loads(file: Path) -> None:
    """Fill the network from a file; if that is refused, its weights are unchanged."""
    model = _model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.requires_grad_(False)
    if read(lambda path: load_weights(model, path) or model, file) is None:
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        return
    loaded = {name: value.clone() for name, value in model.state_dict().items()}
    assert all(value.isfinite().all() for value in loaded.values())
    file.write_bytes(safetensors.torch.save(loaded, metadata_of(model.subject)))
    load_weights(model, file)
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())
    model.load_state_dict(before)


_OF_PICKLES = [
    *(b"\x80\x02", b"cos\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\ngetattr\n"),
    *(b"ctorch\nload\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n"),
    *(b"cnumpy\ndtype\n", b"(", b")", b"R", b"tR", b"\x81", b"b", b"Q", b"q\x00", b"h\x00", b"0"),
    *(b"2", b".", b"}", b"]", b"X\x02\x00\x00\x00ls", b"X\xff\xff\xff\x7f", b"u", b"s", b"e", b"N"),
    *(b"\x8a\x08" + b"\xff" * 8, b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"\xff" * 8),
    *(bytes(16), b"K\x00", b"J\xff\xff\xff\x7f"),
]  # fmt: skip


@given(data=st.data())
@fuzzed(150)
def test_checkpoints_of_pytorch(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    whole = {"params": _published(), "step": 3, "best": np.float64(1.5)}
    file = tmp_path_factory.getbasetemp() / "a.pth"
    match data.draw(st.sampled_from(["zip", "pickle", "legacy", "entries"])):
        case "zip":
            content = data.draw(changed(_saved(whole), _OF_PICKLES))
        case "legacy":
            content = data.draw(changed(_saved(whole, zipped=False), _OF_PICKLES))
        case "pickle":
            content = _with_pickle(_saved(whole), lambda p: data.draw(changed(p, _OF_PICKLES)))
        case "entries":
            odd = st.sampled_from(
                [
                    torch.full((3,), torch.nan),
                    torch.zeros(1).expand(9, 9),
                    torch.ones(2, 2).to_sparse(),
                ]
            )
            entries = data.draw(documents([whole]))
            if data.draw(st.booleans()) and isinstance(entries.get("params"), dict):
                name = data.draw(st.sampled_from([*_published()]))
                entries["params"][name] = data.draw(odd)
            content = _saved(entries, zipped=data.draw(st.booleans()))
    file.write_bytes(content)
    _loads(file)


def _with_pickle(content: bytes, change: Any) -> bytes:
    """A checkpoint whose pickle is changed, in an archive that is whole."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            inside = old.read(name)
            new.writestr(name, change(inside) if name.endswith("data.pkl") else inside)
    return made.getvalue()


@given(data=st.data())
@fuzzed(150)
def test_safetensors(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    content = safetensors.torch.save(_model().state_dict(), metadata_of(_model().subject))
    if data.draw(st.booleans()):
        content = data.draw(changed(content, [b"\xff\xff\xc0\x7f", b"{", b'"', bytes(8), b"9999"]))
    else:
        content = data.draw(_with_header(content, ("__metadata__", "hitsr")))
    file = tmp_path_factory.getbasetemp() / "a.safetensors"
    file.write_bytes(content)
    _loads(file)


@st.composite
def _with_header(draw: st.DrawFn, content: bytes, inner: tuple[str, str]) -> bytes:
    """Safetensors whose header, or the metadata in it, is changed as a document."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    if draw(st.booleans()):
        text = json.dumps(draw(documents([json.loads(header[inner[0]][inner[1]])])))
        header[inner[0]][inner[1]] = draw(changed(text.encode(), [b"NaN", b"[" * 5000])).decode(
            errors="replace"
        )
    else:
        header = draw(documents([header]))
    text = json.dumps(header)
    return len(text).to_bytes(8, "little") + text.encode() + content[8 + length :]


RUN = next(iter(hitsr.specs.config.runs(hitsr.specs.config.load_config(
    Path(__file__).parents[2] / "configs/demo.yaml")).values()))  # fmt: skip
IDENTITY = Identity(job_hash="a", run=RUN, pictures="b")
POSITION = Position(
    step=2, seconds=1.0, device_seconds=1.0, skipped=(1,), in_a_row=0, gates=(), losses=(0.5,),
    sessions=(Session(first_step=1, last_step=2, seconds=1.0, device_name="a"),), last_loss=None,
    means=Means(settings={}, graph=False, no_graph=None),
)  # fmt: skip
LOG = LogLine(step=1, loss=1.0, learning_rate=0.1, validation_psnr_db=None, seconds=1.0)


@given(data=st.data())
@fuzzed(150)
def test_checkpoints_of_trainings(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / "checkpoints"
    shutil.rmtree(folder, ignore_errors=True)
    log = f"{LOG.model_dump_json()}\n".encode()
    save_checkpoint(folder, IDENTITY, Checkpoint(POSITION, log, {"a": torch.ones(2)}))
    (file,) = folder.iterdir()
    content = file.read_bytes()
    if data.draw(st.booleans()):
        content = data.draw(_with_header(content, ("__metadata__", "hitsr")))
    else:
        content = data.draw(changed(content, [b"\xff", b"{", b'"', bytes(8)]))
    file.unlink()
    digest = hashlib.sha256(content).hexdigest()[:16]
    (folder / f"00000002-{digest}.safetensors").write_bytes(content)
    said: list[str] = []
    with bounded():
        found = last_checkpoint(folder, IDENTITY, said.append)
    if found is None:
        assert str(folder) in said[0]
        assert all(line.isprintable() for line in said)
    else:
        assert Position.parse(json.loads(found.position.to_json()), "again") == found.position
        assert all(LogLine.model_validate_json(line) for line in found.log.splitlines())


@given(data=st.data())
@fuzzed(40)
def test_packs_are_what_the_pictures_are(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    folder = tmp_path_factory.getbasetemp() / "set"
    picture = np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8)
    file, whole = folder / "packs/HR/a.safetensors", folder / "whole"
    if not whole.exists():
        write_png(folder / "HR" / "a.png", picture)
        prepare({"a": folder / "HR" / "a.png"}, folder, (2,), lambda _: None)
        packed_pairs(folder, 2, folder / "packs", quiet=True)
        whole.write_bytes(file.read_bytes())
    content = whole.read_bytes()
    changed_once = data.draw(
        st.one_of(
            changed(content, [b"\xff", b"{", bytes(8)]),
            _with_header(content, ("__metadata__", "hitsr")),
        )
    )
    write_bytes(file, changed_once)  # another file: the old one may still be mapped
    with bounded():
        (pair,) = packed_pairs(folder, 2, folder / "packs", quiet=True)
    assert np.array_equal(pair.hr[:, :], picture)


def _pictures() -> dict[str, bytes]:
    """Small pictures of every format and mode that is read, with what may lie beside them."""
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8))
    deep = Image.fromarray(np.random.default_rng(0).integers(0, 2**16, (9, 7)).astype(np.uint16))
    exif = Image.Exif()
    exif[0x112], exif[0x10F] = 6, "maker"
    kinds: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "rgb": (rgb, "PNG", {"exif": exif, "dpi": (72, 72), "icc_profile": b"x" * 40}),
        "palette": (rgb.quantize(16), "PNG", {"transparency": 3}),
        "grey": (rgb.convert("L"), "PNG", {}),
        "alpha": (rgb.convert("RGBA"), "PNG", {}),
        "deep": (deep, "PNG", {}),
        "jpeg": (rgb, "JPEG", {"exif": exif, "progressive": True}),
        "cmyk": (rgb.convert("CMYK"), "JPEG", {}),
        "webp": (rgb, "WEBP", {"exif": exif}),
        "bmp": (rgb, "BMP", {}),
        "tiff": (rgb, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "lzw": (rgb.convert("L"), "TIFF", {"compression": "tiff_lzw"}),
        "deep tiff": (deep, "TIFF", {}),
        "float": (Image.fromarray(np.full((3, 3), np.nan, np.float32)), "TIFF", {}),
    }
    found = {}
    for name, (image, form, options) in kinds.items():
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        found[name] = buffer.getvalue()
    return found


PICTURES = _pictures()
_OF_PICTURES = [
    *(b"\xff\xff\xff\xff", bytes(4), b"\x00\x01\x86\xa0", b"\x7f\xff\xff\xff", b"IDAT", b"acTL"),
    *(b"\xff\xd8\xff\xe1", b"\xff\xda", b"\xff\xd9", b"Exif\x00\x00II*\x00", b"II*\x00"),
    *(b"MM\x00*", b"eXIf", b"VP8X"),
]  # fmt: skip


@st.composite
def _changed_picture(draw: st.DrawFn) -> bytes:
    """Bytes of a picture; those of a PNG may be changed inside chunks that stay whole."""
    data = PICTURES[draw(st.sampled_from([*PICTURES]))]
    if not data.startswith(SIGNATURE) or draw(st.booleans()):
        return draw(changed(data, _OF_PICTURES))
    parts = list(chunks(data))
    at = draw(st.integers(0, len(parts) - 1))
    match draw(st.sampled_from(["change", "change", "drop", "double", "name"])):
        case "change":
            content = draw(changed(parts[at].content, _OF_PICTURES))
            parts[at] = Chunk(parts[at].name, content)
        case "drop":
            del parts[at]
        case "double":
            parts.insert(at, parts[at])
        case "name":
            name = draw(
                st.sampled_from([b"tRNS", b"PLTE", b"iCCP", b"zTXt", b"eXIf", b"iTXt", b"gAMA"])
            )
            parts[at] = Chunk(name, parts[at].content)
    return SIGNATURE + b"".join(map(packed, parts))


@given(data=_changed_picture())
@fuzzed(300)
def test_pictures(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "a.png"
    file.write_bytes(data)
    if (picture := read(read_image, file)) is not None:
        write_png(file, picture)
        assert np.array_equal(read_image(file), picture)
    file.write_bytes(data)
    shown = read(crops.read, file)
    assert picture is None or shown is None or np.array_equal(shown, picture)
    if mine := read(lambda path: decode(path.read_bytes(), str(path)), file):
        again = decode(encode(mine, "png", "again"), "again")
        assert all(map(np.array_equal, again.planes, mine.planes))


@given(data=_changed_picture())
@fuzzed(300)
def test_chunks_of_png(data: bytes) -> None:
    with bounded():
        rest = picture_only(data)
        assert picture_only(rest) == rest
        assert len(rest) <= len(data)
        assert sum(len(packed(chunk)) for chunk in chunks(data)) <= len(data)


def _archives() -> dict[str, bytes]:
    inside = {"set/a.png": PICTURES["rgb"], "set/b.png": PICTURES["grey"], "x.txt": b"x"}
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in inside.items():
            archive.writestr(name, content)
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        for name, content in inside.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return {"zip": zipped.getvalue(), "tar": tarred.getvalue()[:6000]}


ARCHIVES = _archives()
_OF_ARCHIVES = [
    *(b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"../", b"/", b"\x00", b"C:\\"),
    *(b"ustar\x0000", b"\x80" + b"\xff" * 11, b"0000777\x00", b"1", b"2", b"L", b"x", b"S"),
    b"\xff" * 4,
]  # fmt: skip


@given(data=st.data())
@fuzzed(200)
def test_archives(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    content = data.draw(changed(ARCHIVES[data.draw(st.sampled_from(["zip", "tar"]))], _OF_ARCHIVES))
    root = tmp_path_factory.getbasetemp() / "archives"
    shutil.rmtree(root, ignore_errors=True)
    (root / "out").mkdir(parents=True)
    archive = root / "a.zip"
    archive.write_bytes(content)

    def unpack(path: Path) -> int:
        with opened(path) as members:
            found = placed(path, members, lambda name: Path(name.replace("/", "_")[-20:]))
            return write_members(path, {root / "out" / name: each for name, each in found.items()})

    with warnings.catch_warnings(action="ignore"):
        read(unpack, archive)
    assert {path.name for path in root.iterdir()} == {"a.zip", "out"}
    unpacked = sum(path.stat().st_size for path in (root / "out").iterdir())
    assert unpacked <= 4 * len(content)


@given(st.sampled_from([*NETWORKS.values(), *OTHERS.values(), NETWORK]), st.text(max_size=40))
@fuzzed(200)
def test_published_names(network: NetworkSpec, name: str) -> None:
    with bounded():
        assert all(isinstance(each, str) for each in published_names(network, name))


@given(data=st.data())
@fuzzed(100)
def test_pickles_run_no_code(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """Pickles that name functions to be called: none is, which the limits of a case watch."""
    functions = ["os.system", "subprocess.Popen", "builtins.eval", "builtins.exec", "os.remove"]
    module, _, name = data.draw(st.sampled_from(functions)).rpartition(".")
    ran = tmp_path_factory.getbasetemp() / "ran"
    call = pickle.dumps(str(ran), 2)[2:-1]
    code = f"c{module}\n{name}\n".encode() + b"(" + call + b"tR."
    file = tmp_path_factory.getbasetemp() / "a.pth"
    wrapped = data.draw(st.booleans())
    code = b"\x80\x02" + (b"}(X\x01\x00\x00\x00a" + code[:-1] + b"u." if wrapped else code)
    file.write_bytes(_with_pickle(_saved({}), lambda _: code) if data.draw(st.booleans()) else code)
    _loads(file)
    assert not ran.exists()


def test_maps_hold_numbers_and_as_many_as_they_say(tmp_path: Path) -> None:
    file, told = tmp_path / "a.npy", io.BytesIO()
    np.lib.format.write_array_header_1_0(
        told, {"descr": "<f4", "fortran_order": False, "shape": (10**7,) * 2}
    )
    objects = io.BytesIO()
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    for content in (b"", b"PK\x03\x04", told.getvalue(), objects.getvalue()):
        file.write_bytes(content)
        assert read(channels_of, file) is None
    np.save(file, np.ones((3, 2, 2), np.float32))
    assert channels_of(file).sum() == 12
