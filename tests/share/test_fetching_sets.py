"""`hitsr prepare --dataset` with made-up archives of a local server: whole, broken, interrupted."""

import hashlib
import io
import resource
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hitsr.base.errors import DataError
from hitsr.cli import app
from hitsr.data.bicubic import imresize
from hitsr.data.images import write_png
from hitsr.data.origins import degradation_of
from hitsr.data.sources import pairs
from hitsr.plan import archives
from hitsr.plan.archives import DATASETS
from hitsr.share import downloading
from hitsr.share.fetching_sets import read_archives

SOURCES = Path(__file__).parents[2] / "reports" / "published" / "sources.csv"
SIZES = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100}
FEW = 20


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], bytes]:
    """PNG files of three pairs: of each picture's number, at full size (scale 1) or downscaled."""

    @cache
    def content(seed: int, scale: int) -> bytes:
        hr = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        path = tmp_path_factory.mktemp("picture") / "a.png"
        write_png(path, hr if scale == 1 else imresize(hr, 1 / scale))
        return path.read_bytes()

    return lambda number, scale: content(number % 3, scale)


def zipped(files: Mapping[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def tarred(files: Mapping[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


class World:
    """A server with archives, their list, and the folder that sets are put into."""

    def __init__(self, server: Any, folder: Path, picture: Callable[[int, int], bytes]) -> None:
        self.server, self.picture = server, picture
        self.root, self.reports = folder / "my data", folder / "reports"
        self.rows: dict[str, str] = {}

    def publish(
        self, name: str, file: str, data: bytes, checksum: str = "", size: bool = False
    ) -> None:
        """Serve an archive, and list it."""
        self.server.files[file] = data
        checksum = checksum or f"md5:{hashlib.md5(data).hexdigest()}"
        length = len(data) if size else ""
        self.rows[name] = f"dataset,{name},{self.server.address}/{file},{checksum},{length},"
        path = self.reports / "published/sources.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = "kind,name,url,checksum,bytes,note"
        path.write_text("\n".join([head, *self.rows.values(), ""]))

    def publish_benchmark(self, without: str = "", more: Mapping[str, bytes] | None = None) -> None:
        files = {}
        for name, number in SIZES.items():
            for index in range(number):
                files[f"benchmark/{name}/HR/p{index}.png"] = self.picture(index, 1)
                for scale in (2, 3, 4):
                    path = f"benchmark/{name}/LR_bicubic/X{scale}/p{index}x{scale}.png"
                    files[path] = self.picture(index, scale)
        files.pop(without, None)
        self.publish("benchmark", "benchmark.tar", tarred({**files, **(more or {})}))

    def publish_div2k(self, scale: int) -> None:
        for split, first in (("train", 1), ("valid", 801)):
            hr, lr = f"DIV2K_{split}_HR", f"DIV2K_{split}_LR_bicubic"
            numbers = range(first, first + FEW)
            whole = {f"{hr}/{n:04}.png": self.picture(n, 1) for n in numbers}
            small = {f"{lr}/X{scale}/{n:04}x{scale}.png": self.picture(n, scale) for n in numbers}
            self.publish(hr, f"{hr}.zip", zipped(whole), size=True)
            self.publish(f"{lr}_X{scale}", f"{lr}_X{scale}.zip", zipped(small), size=True)

    def words(self, dataset: str, *more: str) -> list[str]:
        places = ["--out", str(self.root), "--reports", str(self.reports)]
        return ["prepare", "--dataset", dataset, *more, *places]

    def prepare(self, dataset: str, *more: str) -> str:
        done = CliRunner().invoke(app, self.words(dataset, *more), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    def refused(self, dataset: str, *more: str) -> str:
        done = CliRunner().invoke(app, self.words(dataset, *more))
        assert isinstance(done.exception, DataError), done.output
        return str(done.exception)

    def files(self) -> dict[Path, bytes]:
        found = (path for path in self.root.rglob("*.png"))
        return {path.relative_to(self.root): path.read_bytes() for path in found}


@pytest.fixture
def world(
    server: Any,
    tmp_path: Path,
    picture: Callable[[int, int], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """DIV2K's sets and Flickr2K have a few pictures in it."""
    monkeypatch.setattr(downloading, "_PAUSE_S", 0.0)
    for key in ("div2k", "df2k"):
        sets = [
            each._replace(pictures=tuple(some._replace(number=FEW) for some in each.pictures))
            for each in DATASETS[key]
        ]
        monkeypatch.setitem(archives.DATASETS, key, tuple(sets))
    return World(server, tmp_path, picture)


@pytest.fixture
def small(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which `benchmark` is Set5 alone."""
    monkeypatch.setitem(archives.DATASETS, "benchmark", DATASETS["benchmark"][:1])
    world.publish_benchmark()
    return world


def test_the_test_sets_are_fetched_once(world: World) -> None:
    world.publish_benchmark(more={"benchmark/._Set5": b"", "benchmark/Set5/HR/._p0.png": b""})
    world.prepare("benchmark", "-s", "2", "-s", "4")
    for name, number in SIZES.items():
        for scale in (2, 4):
            found = pairs(world.root / name, scale)
            assert len(found) == number
            assert found[0].lr == world.root / name / f"LR_bicubic/X{scale}/p0x{scale}.png"
            assert degradation_of(world.root / name, scale) == "matlab-bicubic"
    assert len(world.files()) == 3 * sum(SIZES.values())
    assert not (world.root / "packs").exists()
    (world.root / "downloads/benchmark.tar").unlink()
    world.server.files.clear()
    assert "0 files written, 10 kept" in world.prepare("benchmark", "-s", "4")
    assert len(world.server.asked) == 1


def test_div2k_is_two_sets_with_packs_for_training(world: World) -> None:
    world.publish_div2k(2)
    world.prepare("div2k", "--scale", "2")
    for name, first in {"DIV2K": 1, "DIV2K_valid": 801}.items():
        names = [pair.name for pair in pairs(world.root / name, 2)]
        assert names == [f"{n:04}" for n in range(first, first + FEW)]
    assert len(list((world.root / "packs").rglob("*.safetensors"))) == 2 * FEW
    assert (world.root / "packs/DIV2K/LR_bicubic/X2/0001x2.safetensors").is_file()


def test_df2k_is_div2k_and_flickr2k_in_one_set(world: World) -> None:
    world.publish_div2k(3)
    flickr = {}
    for number in range(1, FEW + 1):
        flickr[f"Flickr2K/Flickr2K_HR/{number:06}.png"] = world.picture(number, 1)
        for scale in (2, 3):
            path = f"Flickr2K/Flickr2K_LR_bicubic/X{scale}/{number:06}x{scale}.png"
            flickr[path] = world.picture(number, scale)
        flickr[f"Flickr2K/Flickr2K_LR_unknown/X3/{number:06}x3.png"] = b"other"
    world.publish("Flickr2K", "Flickr2K.tar", tarred(flickr))
    world.prepare("df2k", "-s", "3")
    assert [pair.name for pair in pairs(world.root / "DF2K", 3)] == sorted(
        f"{n:0{digits}}" for n in range(1, FEW + 1) for digits in (4, 6)
    )
    assert [path.name for path in (world.root / "DF2K/LR_bicubic").iterdir()] == ["X3"]
    world.prepare("df2k", "-s", "3")
    assert len(world.server.asked) == 3


def test_an_archive_that_lies_there_is_used(small: World) -> None:
    place = small.root / "downloads/benchmark.tar"
    place.parent.mkdir(parents=True)
    place.write_bytes(small.server.files["benchmark.tar"])
    small.prepare("benchmark")
    assert small.server.asked == []
    assert len(pairs(small.root / "Set5", 4)) == 5


@pytest.mark.parametrize("content", [b"other", b"<!DOCTYPE html>"])
def test_another_file_in_the_place_of_an_archive_is_kept_and_told(
    content: bytes, small: World
) -> None:
    place = small.root / "downloads/benchmark.tar"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    told = small.refused("benchmark")
    page = "it is a web page, and " if content != b"other" else ""
    assert told.startswith(f"{place}: {page}its md5 is {hashlib.md5(content).hexdigest()}, while ")
    assert "; delete it" in told
    assert place.read_bytes() == content
    assert small.files() == {}


def test_a_download_with_another_checksum_is_deleted_and_told(small: World) -> None:
    small.publish("benchmark", "benchmark.tar", b"other", "sha256:" + "0" * 64)
    told = small.refused("benchmark", "-s", "2").splitlines()
    assert "benchmark.tar: not the published file: its sha256 is " in told[0]
    assert told[1] == (
        f"To go on by hand, put into {small.root / 'downloads'}, and repeat `hitsr prepare "
        f"--dataset benchmark --scale 2 --out '{small.root}'`:"
    )
    assert told[2] == f"  {small.server.address}/benchmark.tar (sha256:{'0' * 64})"
    assert list((small.root / "downloads").iterdir()) == []
    assert len(small.server.asked) == 1


def test_what_came_of_another_file_is_fetched_again_once(small: World) -> None:
    part = small.root / "downloads/benchmark.tar.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"other")
    told = small.prepare("benchmark")
    assert [asked for _, asked in small.server.asked] == ["bytes=5-", None]
    assert "begins anew, since with what came before its md5 is" in told


def test_a_cut_connection_is_resumed(small: World) -> None:
    small.server.cuts = [100_000]
    small.prepare("benchmark")
    assert small.server.asked[1][1] is not None
    assert len(pairs(small.root / "Set5", 2)) == 5


def test_without_a_connection_every_missing_archive_is_named(world: World) -> None:
    world.publish_div2k(2)
    for name in list(world.rows):
        world.server.files.pop(f"{name}.zip")
    (world.root / "downloads").mkdir(parents=True)
    (world.root / "downloads/DIV2K_valid_HR.zip").write_bytes(b"by hand")
    told = world.refused("div2k", "-s", "2").splitlines()
    assert "DIV2K_train_HR.zip: cannot be fetched: 404" in told[0]
    assert [line.split()[0].rpartition("/")[2] for line in told[2:]] == [
        "DIV2K_train_HR.zip",
        "DIV2K_train_LR_bicubic_X2.zip",
        "DIV2K_valid_LR_bicubic_X2.zip",
    ]
    assert all("(md5:" in line and " MB)" in line for line in told[2:])


def test_an_archive_of_another_size_is_not_even_begun(world: World) -> None:
    world.publish_div2k(2)
    world.server.files["DIV2K_train_HR.zip"] += b"x"
    assert "were published" in world.refused("div2k", "-s", "2")
    assert (world.root / "downloads/DIV2K_train_HR.zip.part").stat().st_size == 0


@pytest.mark.parametrize(
    ("without", "told"),
    [
        ("benchmark/Set5/HR/p3.png", "holds 4 pictures in Set5/HR, and 5 are needed"),
        ("benchmark/Set5/LR_bicubic/X3/p3x3.png", "holds 4 pictures in Set5/LR_bicubic/X3, and 5"),
    ],
)
def test_a_set_with_too_few_pictures_is_told_and_not_unpacked(
    without: str, told: str, small: World
) -> None:
    small.publish_benchmark(without=without)
    assert told in small.refused("benchmark")
    assert small.files() == {}


def test_a_picture_without_its_lr_is_told_and_none_is_made(small: World) -> None:
    path = "benchmark/Set5/LR_bicubic/X3/{}x3.png"
    small.publish_benchmark(path.format("p3"), {path.format("q"): small.picture(3, 3)})
    told = small.refused("benchmark")
    assert told.startswith(f"{small.root}/Set5/LR_bicubic/X3: not the pictures of ")
    assert "only one of them has p3, q; remove both folders" in told


def test_a_hostile_archive_writes_nothing(small: World, tmp_path: Path) -> None:
    small.publish_benchmark(more={"benchmark/Set5/HR/../../../../../escaped.png": b"x"})
    assert "leads out of it" in small.refused("benchmark")
    assert small.files() == {}
    assert not list(tmp_path.rglob("escaped.png"))


def test_what_was_deleted_is_unpacked_again(small: World) -> None:
    small.prepare("benchmark")
    before = small.files()
    for name in ("HR/p0.png", "LR_bicubic/X3/p2x3.png"):
        (small.root / "Set5" / name).unlink()
    small.prepare("benchmark")
    assert small.files() == before
    assert len(small.server.asked) == 1


@pytest.mark.parametrize("name", ["GTmod12/a.png", "LRbicx2/a.png"])
def test_a_set_in_another_layout_is_left_alone(name: str, small: World) -> None:
    other = small.root / "Set5" / name
    other.parent.mkdir(parents=True)
    other.write_bytes(small.picture(0, 1))
    told = small.refused("benchmark", "-s", "2")
    assert f"has pictures in {other.parent}, and --dataset puts them into" in told
    assert list(small.files()) == [other.relative_to(small.root)]
    assert small.server.asked == []


def test_more_pictures_than_the_published_ones_are_told(small: World) -> None:
    small.prepare("benchmark")
    (small.root / "Set5/HR/mine.png").write_bytes(small.picture(0, 1))
    assert "HR: holds 6 pictures, and 5 were published; take out" in small.refused("benchmark")


@pytest.mark.parametrize("name", ["HR/mine.png", "HR/0001.jpg", "LR_bicubic/X2/0001.png"])
def test_pictures_of_other_names_are_told(name: str, world: World) -> None:
    world.publish_div2k(2)
    other = world.root / "DIV2K" / name
    other.parent.mkdir(parents=True)
    other.write_bytes(world.picture(0, 1))
    told = world.refused("div2k", "-s", "2")
    assert f"holds 1 pictures, and {FEW} were published, {other.name} not among them" in told


def test_another_picture_of_the_same_name_is_told(small: World) -> None:
    mine = small.root / "Set5/HR/p0.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(small.picture(1, 1))
    assert "p0.png: not the file in the archive; remove it" in small.refused("benchmark")
    assert small.files() == {Path("Set5/HR/p0.png"): small.picture(1, 1)}


def test_a_folder_that_cannot_be_written_is_told_with_what_to_repeat(small: World) -> None:
    small.root.mkdir()
    (small.root / "Set5").write_bytes(b"")
    told = small.refused("benchmark")
    assert told.startswith(f"{small.root}/Set5")
    assert "; when that is mended, repeat `hitsr prepare --dataset benchmark --out" in told


def test_a_full_disk_is_told_and_the_next_run_goes_on(small: World) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        told = small.refused("benchmark")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    part = small.root / "downloads/benchmark.tar.part"
    assert told.startswith(f"{part}: File too large; when that is mended, repeat `hitsr prepare ")
    small.prepare("benchmark")
    assert small.server.asked[1] == ("benchmark.tar", "bytes=100000-")


def test_an_unlisted_archive_is_told(small: World) -> None:
    (small.reports / "published/sources.csv").write_text("kind,name,url,checksum,bytes,note\n")
    assert "no checksum of benchmark; restore it" in small.refused("benchmark")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--dataset", "div3k"], "--dataset div3k: did you mean 'div2k'?"),
        (["HR", "--dataset", "div2k"], "--dataset div2k: fetches whole sets; leave out SOURCE"),
        (["--dataset", "div2k", "--manifest", "a"], "leave out --manifest"),
        (["--dataset", "div2k", "-s", "5"], "--scale 5: must be 2, 3 or 4"),
    ],
)
def test_what_cannot_be_asked_for_is_told(words: list[str], told: str) -> None:
    assert told in str(CliRunner().invoke(app, ["prepare", *words]).exception)


def test_after_a_kill_the_next_run_goes_on(world: World) -> None:
    """SIGKILL while the archive comes, and while it is unpacked; 219 pictures in four sets."""
    world.publish_benchmark()
    command = [
        sys.executable,
        "-c",
        "from hitsr.cli import main; main()",
        *world.words("benchmark", "-s", "2"),
    ]

    def kill_when(is_so: Callable[[], bool]) -> None:
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            while not is_so():
                assert process.poll() is None
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)

    part = world.root / "downloads/benchmark.tar.part"
    world.server.stalls = [300_000]
    kill_when(lambda: part.is_file() and part.stat().st_size > 200_000)
    came = part.stat().st_size
    kill_when(lambda: len(world.files()) > 100)
    assert [asked for _, asked in world.server.asked] == [None, f"bytes={came}-"]
    assert 100 < len(world.files()) < 2 * sum(SIZES.values())
    world.prepare("benchmark", "-s", "2")
    assert len(world.server.asked) == 2
    for name, number in SIZES.items():
        assert len(pairs(world.root / name, 2)) == number


def test_every_archive_of_every_set_has_a_checksum() -> None:
    listed = read_archives(SOURCES)
    for sets in DATASETS.values():
        for each in sets:
            for group in archives.parts_of(each, (2, 3, 4)):
                for part in group:
                    algorithm, _, digest = listed[part.archive].checksum.partition(":")
                    assert len(bytes.fromhex(digest)) == hashlib.new(algorithm).digest_size


@pytest.mark.parametrize(
    ("archive", "member", "target"),
    [
        ("DIV2K_train_HR", "DIV2K_train_HR/0001.png", "DIV2K/HR/0001.png"),
        ("DIV2K_train_HR", "DIV2K_train_HR/._0001.png", None),
        (
            "DIV2K_valid_LR_bicubic_X4",
            "DIV2K_valid_LR_bicubic/X4/0801x4.png",
            "DIV2K_valid/LR_bicubic/X4/0801x4.png",
        ),
        ("Flickr2K", "Flickr2K/Flickr2K_HR/000001.png", "DF2K/HR/000001.png"),
        ("Flickr2K", "./Flickr2K_HR/000001.png", "DF2K/HR/000001.png"),
        (
            "Flickr2K",
            "Flickr2K/Flickr2K_LR_bicubic/X2/000001x2.png",
            "DF2K/LR_bicubic/X2/000001x2.png",
        ),
        ("Flickr2K", "Flickr2K/Flickr2K_LR_unknown/X2/000001x2.png", None),
        ("benchmark", "benchmark/Set5/LR_bicubic/X2/babyx2.png", "Set5/LR_bicubic/X2/babyx2.png"),
        ("benchmark", "benchmark/B100/HR/101085.png", "B100/HR/101085.png"),
        ("benchmark", "benchmark/B100/HR/._101085.png", None),
        ("benchmark", "benchmark/Set5/LR_bicubic/X2/.x2.png", None),
    ],
)
def test_members_of_the_published_archives_are_laid_out_as_configs_want(
    archive: str, member: str, target: str | None
) -> None:
    parts = {
        part
        for sets in DATASETS.values()
        for each in sets
        for group in archives.parts_of(each, (2, 3, 4))
        for part in group
        if part.archive == archive
    }
    found = {str(path) for path in (part.target(member) for part in parts) if path}
    found -= {"DF2K/HR/0001.png"}  # DF2K takes from DIV2K's archives too
    assert found == ({target} if target else set())


def test_the_published_sets_have_their_published_sizes() -> None:
    assert [(each.number, each.names) for each in DATASETS["df2k"][0].pictures] == [
        (800, r"\d{4}"),
        (2650, r"\d{6}"),
    ]

    def numbers(key: str) -> dict[str, int]:
        return {
            each.name: sum(pictures.number for pictures in each.pictures) for each in DATASETS[key]
        }

    assert numbers("div2k") == {"DIV2K": 800, "DIV2K_valid": 100}
    assert numbers("benchmark") == SIZES
