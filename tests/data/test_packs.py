import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from hitsr.base.errors import DataError
from hitsr.data.images import Picture, write_png
from hitsr.data.packs import PackedPair, packed_pairs
from hitsr.data.sources import pairs, prepare, read_pair


def noise(height: int, width: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two prepared pictures whose HR is larger than a multiple of 3."""
    for seed, name in enumerate(("ant", "bee")):
        write_png(tmp_path / "HR" / f"{name}.png", noise(13, 22, seed))
    sources = {name: tmp_path / "HR" / f"{name}.png" for name in ("ant", "bee")}
    prepare(sources, tmp_path, (2, 3), lambda _: None)
    return tmp_path


def pack(folder: Path, scale: int = 2) -> list[PackedPair]:
    return packed_pairs(folder, scale, folder / "packs", quiet=True)


def packs(folder: Path) -> dict[Path, int]:
    """Each pack and when it was written, in ns."""
    return {path: path.stat().st_mtime_ns for path in (folder / "packs").rglob("*.safetensors")}


@pytest.mark.parametrize("scale", [2, 3])
def test_a_packed_pair_has_the_samples_of_the_files(folder: Path, scale: int) -> None:
    packed = pack(folder, scale)
    assert [each.pair for each in packed] == pairs(folder, scale)
    for each in packed:
        for found, read in zip((each.lr, each.hr), read_pair(each.pair, scale), strict=True):
            assert found.shape == read.shape
            np.testing.assert_array_equal(found[:, :], read)
            np.testing.assert_array_equal(found[1:3, 2:7], read[1:3, 2:7])
            assert found[2:99, 4:99].shape == read[2:99, 4:99].shape


def test_packs_are_memory_mapped(folder: Path) -> None:
    packed = pack(folder)
    mapped = Path("/proc/self/maps")
    if not mapped.exists():
        pytest.skip("the system has no /proc/self/maps")
    assert packed
    assert str(folder / "packs" / "HR" / "ant.safetensors") in mapped.read_text()


def test_packs_are_made_once_and_all_scales_share_those_of_hr(folder: Path) -> None:
    pack(folder)
    before = packs(folder)
    assert {path.relative_to(folder).as_posix() for path in before} == {
        *(f"packs/HR/{name}.safetensors" for name in ("ant", "bee")),
        *(f"packs/LR_bicubic/X2/{name}x2.safetensors" for name in ("ant", "bee")),
    }
    pack(folder)
    assert packs(folder) == before
    pack(folder, 3)
    assert before.items() < packs(folder).items()
    assert len(packs(folder)) == 6


def test_a_changed_picture_is_packed_again_and_the_others_stay(folder: Path) -> None:
    old = pack(folder)
    before = packs(folder)
    picture = folder / "HR" / "ant.png"
    stat, other = picture.stat(), noise(13, 22, 7)
    write_png(picture, other)
    os.utime(picture, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the hash decides, not the date
    with pytest.raises(
        DataError, match=r"ant\.png: was replaced since its LR .*antx2\.png was prep"
    ):
        pack(folder)
    (folder / "LR_bicubic/X2/prepared.json").unlink()  # then they are taken for a pair
    new = pack(folder)
    np.testing.assert_array_equal(new[0].hr[:, :], other[:12])
    # An open pack keeps its content: a running training goes on with the pictures it began with.
    np.testing.assert_array_equal(old[0].hr[:, :], noise(13, 22)[:12])
    changed = {path for path, written in packs(folder).items() if before[path] != written}
    assert changed == {folder / "packs" / "HR" / "ant.safetensors"}


def test_a_truncated_pack_is_made_again(folder: Path) -> None:
    pack(folder)
    whole = (path := folder / "packs" / "HR" / "bee.safetensors").read_bytes()
    for size in (0, 5, 60, len(whole) - 1):
        path.write_bytes(whole[:size])
        bee = pack(folder)[1]
        np.testing.assert_array_equal(bee.hr[:, :], noise(13, 22, 1)[:12])
        assert path.read_bytes() == whole


def test_an_interruption_leaves_no_partial_packs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(
        "hitsr.base.files.Path.replace", stop
    )  # just before a finished pack appears
    with pytest.raises(KeyboardInterrupt):
        pack(folder)
    assert [path for path in (folder / "packs").rglob("*") if path.is_file()] == []
    monkeypatch.undo()
    assert len(pack(folder)) == 2


def test_a_pack_says_what_it_was_made_from(folder: Path) -> None:
    pack(folder)
    with safe_open(folder / "packs" / "HR" / "ant.safetensors", "numpy") as file:
        assert set(json.loads(file.metadata()["hitsr"])) == {"version", "sha256", "crc32"}
        np.testing.assert_array_equal(file.get_tensor("picture"), noise(13, 22))


def test_errors_name_the_picture_or_the_pack(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("hitsr.data.packs.write_bytes", full)
        with pytest.raises(DataError, match=r"ant.*\.safetensors: a pack of 0\.0 MB .*No space"):
            pack(folder)
    write_png(folder / "LR_bicubic" / "X2" / "antx2.png", noise(7, 11))
    with pytest.raises(DataError, match=r"antx2\.png: LR is 11x7, HR is 22x13: not a x2 pair"):
        pack(folder)
    (folder / "HR" / "ant.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"HR/ant\.png: truncated or damaged"):
        pack(folder)


def _flip_a_sample(pack: bytes) -> bytes:
    return pack[:-1] + bytes([pack[-1] ^ 1])


def _tensor(name: str, *shape: int) -> Callable[[bytes], bytes]:
    """A pack whose metadata are those of another, with one tensor of this name and shape."""

    def damaged(pack: bytes) -> bytes:
        header = json.loads(pack[8 : 8 + int.from_bytes(pack[:8], "little")])
        return save({name: np.zeros(shape, np.uint8)}, header["__metadata__"])

    return damaged


def _metadata(text: str) -> Callable[[bytes], bytes]:
    return lambda _: save({"picture": noise(13, 22, 1)}, {"hitsr": text})


@pytest.mark.parametrize(
    "damage",
    [
        _flip_a_sample,
        _tensor("other", 13, 22, 3),
        _tensor("picture", 13, 22),
        _tensor("picture", 13, 22, 1),
        _tensor("picture", 22, 13, 3),
        _tensor("picture", 13, 22, 3),  # of another picture
        _metadata("{"),
        _metadata("[1]"),
        _metadata("null"),
        lambda pack: pack[:8] + b"{" + pack[9:][::-1],
        lambda pack: b"\xff" * len(pack),
        lambda _: bytes(100),
    ],
)
def test_a_damaged_pack_is_made_again(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    pack(folder)
    path = folder / "packs" / "HR" / "bee.safetensors"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    np.testing.assert_array_equal(pack(folder)[1].hr[:, :], noise(13, 22, 1)[:12])
    assert path.read_bytes() == whole


def test_a_folder_in_place_of_a_pack_is_replaced_if_it_is_empty(folder: Path) -> None:
    path = folder / "packs" / "HR" / "bee.safetensors"
    path.mkdir(parents=True)
    pack(folder)
    assert path.is_file()
    path.unlink()
    path.mkdir()
    (path / "mine.txt").touch()
    with pytest.raises(DataError, match=r"bee\.safetensors: a pack of .*not empty"):
        pack(folder)


def test_all_bad_pictures_are_named_at_once(folder: Path) -> None:
    for name in ("ant", "bee"):
        (folder / "HR" / f"{name}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"HR/ant\.png: truncated.*\n.*HR/bee\.png: truncated"):
        pack(folder)
