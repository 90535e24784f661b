"""The demo's photographs, which two installed packages ship."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from hitsr.base.errors import DataError
from hitsr.base.files import sha256

Split = Literal["train", "test"]

_WHEELS = {"skimage": "scikit-image 0.26", "matplotlib": "matplotlib 3.11"}


@dataclass(frozen=True)
class Photograph:
    """A photograph that an installed package ships, identified by the hash of its file."""

    file: str  # path inside the package
    sha256: str
    split: Split
    credit: str  # author and licence
    package: str = "skimage"  # import name

    @property
    def name(self) -> str:
        return Path(self.file).stem

    def locate(self) -> Path:
        """Path of the file, found without importing the package.

        Raises DataError if the package or the file is missing, or the file has another hash.
        """
        wheel = _WHEELS[self.package]
        package = find_spec(self.package)
        if package is None or package.origin is None:
            raise DataError(f"{self.name}: {self.package} is not installed; install {wheel}")
        path = Path(package.origin).parent / self.file
        if not path.is_file():
            raise DataError(f"{path}: no such file; install {wheel}, which ships it")
        if sha256(path) != self.sha256:
            raise DataError(f"{path}: not the file that {wheel} ships; reinstall that version")
        return path


def photographs(split: Split) -> tuple[Photograph, ...]:
    """The demo's photographs of one split, sorted by name.

    All natural photographs in the two packages are used (no medical, astronomical or document
    pictures). Lossless colour photographs that are not half of a stereo pair are for testing, all
    others for training. So no JPEG or grey picture is scored, and no scene is in both splits.
    """
    return tuple(photo for photo in _PHOTOGRAPHS if photo.split == split)


# Credits from the documentation of scikit-image and matplotlib.
_PHOTOGRAPHS = (
    Photograph(
        "data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "test",
        "NASA Great Images; public domain",
    ),
    Photograph(
        "data/brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        "train",
        "CC0Textures, Bricks25; CC0",
    ),
    Photograph(
        "data/camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        "train",
        "Lav Varshney; CC0",
    ),
    Photograph(
        "data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "test",
        "Stefan van der Walt; CC0",
    ),
    Photograph(
        "data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "test",
        "Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0",
    ),
    Photograph(
        "data/coins.png",
        "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
        "train",
        "Brooklyn Museum Collection; no known copyright restrictions",
    ),
    Photograph(
        "mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        "train",
        "US Navy; public domain",
        package="matplotlib",
    ),
    Photograph(
        "data/grass.png",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        "train",
        "linolafett, DeviantArt; CC0",
    ),
    Photograph(
        "data/gravel.png",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        "train",
        "CC0Textures, Gravel04; CC0",
    ),
    Photograph(
        "data/motorcycle_left.png",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        "train",
        "Middlebury stereo benchmark 2014, Scharstein et al.; scikit-image names no licence",
    ),
    Photograph(
        "data/motorcycle_right.png",
        "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
        "train",
        "Middlebury stereo benchmark 2014, Scharstein et al.; scikit-image names no licence",
    ),
    Photograph(
        "data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "train",
        "SpaceX; public domain",
    ),
)
