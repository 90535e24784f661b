"""Curves of a training for TensorBoard: what its log says, drawn while it grows."""

from pathlib import Path

from hitsr.base.errors import SpecError
from hitsr.base.files import naming
from hitsr.plan.needs import missing_tensorboard
from hitsr.records import LogLine

_DRAWN = ("loss", "learning_rate", "validation_psnr_db")


def check_tensorboard(is_wanted: bool) -> None:
    """SpecError if curves are wanted, and the package is missing."""
    if missing := missing_tensorboard(is_wanted):
        raise SpecError(missing)


class Curves:
    """Writes lines of the log into the folder; what it has of `first_step` and later is hidden."""

    def __init__(self, folder: Path, first_step: int) -> None:
        check_tensorboard(True)
        from torch.utils.tensorboard import SummaryWriter  # takes seconds

        self._folder = folder
        with naming(folder):
            self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def add(self, line: LogLine) -> None:
        """Draw a line of the log; it can be seen at once."""
        with naming(self._folder):
            for name in _DRAWN:
                if (value := getattr(line, name)) is not None:
                    self._writer.add_scalar(name, value, line.step)
            self._writer.flush()

    def close(self) -> None:
        """Give the file back."""
        with naming(self._folder):
            self._writer.close()
