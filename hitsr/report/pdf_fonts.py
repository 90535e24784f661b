"""Lighter copies of matplotlib's fonts, so that a page's PDFs are written in seconds.

Each PDF embeds the letters that it shows, cut from fonts of six thousand glyphs with their tables
for every script. Cutting from a copy with a few hundred glyphs takes a third of the time.
"""

import atexit
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from fontTools import subset
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.text import Text

_LAST = 0x22FF  # Latin, Greek, punctuation, arrows and mathematical signs come before it
# Of these matplotlib reads none: kerning is in the table `kern`.
_UNUSED_TABLES = ["GSUB", "GPOS", "GDEF", "FFTM"]


def use_light_fonts(figure: Figure) -> None:
    """Set the light copy of its font for each text that the copy has every letter of."""
    for text in figure.findobj(Text):
        if max(map(ord, text.get_text()), default=0) <= _LAST:
            font = text.get_fontproperties().copy()
            font.set_file(_light_copy(str(findfont(font))))
            text.set_fontproperties(font)


@cache
def _folder() -> Path:
    """Removed when the process ends."""
    folder = TemporaryDirectory(prefix="hitsr-fonts-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def _light_copy(file: str) -> str:
    options = subset.Options(legacy_kern=True, name_IDs=["*"], notdef_outline=True)
    options.drop_tables += _UNUSED_TABLES
    copy = _folder() / Path(file).name
    with subset.load_font(file, options) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=range(_LAST + 1))
        subsetter.subset(font)
        font.save(copy)
    return str(copy)
