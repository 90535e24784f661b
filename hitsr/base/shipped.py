"""Find folders that are part of hitsr's checkout, but not of the package: reports, ablations …

An editable install, which `make` sets up, lies in its checkout; any other install has no such
folders, and names of folders in a checkout must be given.
"""

from pathlib import Path

from hitsr.base.errors import SpecError

CHECKOUT = Path(__file__).parents[2]


def shipped(folder: Path) -> Path:
    """`folder` if there are YAML files in it, as in each of ours; else the checkout's.

    It is `folder` itself if the checkout has none of that name.
    """
    there = CHECKOUT / folder
    return folder if any(folder.glob("*.yaml")) or not there.is_dir() else there


def everywhere(folder: Path) -> list[Path]:
    """The checkout's folder of that name and then the one here, of those that exist, once each."""
    found = dict.fromkeys([(CHECKOUT / folder).resolve(), folder.resolve()])
    return [each for each in found if each.is_dir()]


def not_shipped(path: Path, option: str) -> SpecError:
    """The error for a file or folder of the checkout that is not there."""
    return SpecError(
        f"{path.absolute()}: no such file or folder, nor is it in {CHECKOUT}; it is part of "
        f"hitsr's checkout: name the folder there with {option}"
    )
