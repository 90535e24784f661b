"""Find what hitsr ships beside its code: workflow, configs, ablations, reports.

They are folders of the checkout, where an editable install, which `make` sets up, finds them. A
wheel holds copies of them in hitsr/shipped (pyproject.toml says which).
"""

from pathlib import Path

from hitsr.base.errors import SpecError

_PACKAGE = Path(__file__).parents[1]
_OF_WHEEL = _PACKAGE / "shipped"
SHIPPED = _OF_WHEEL if _OF_WHEEL.is_dir() else _PACKAGE.parent


def shipped(folder: Path) -> Path:
    """`folder` if there are YAML files in it, as in each of ours; else hitsr's of that name.

    It is `folder` itself if hitsr has none of that name.
    """
    there = SHIPPED / folder
    return folder if any(folder.glob("*.yaml")) or not there.is_dir() else there


def everywhere(folder: Path) -> list[Path]:
    """hitsr's folder of that name and then the one here, of those that exist, once each."""
    found = dict.fromkeys([(SHIPPED / folder).resolve(), folder.resolve()])
    return [each for each in found if each.is_dir()]


def not_shipped(path: Path, option: str) -> SpecError:
    """The error for a file or folder that is neither here nor among what hitsr ships."""
    return SpecError(
        f"{path.absolute()}: no such file or folder, nor is it in {SHIPPED}; name the folder that "
        f"has it with {option}"
    )
