"""Write into wheels and source archives of which commit they were made; hatchling runs this.

Records of an installed hitsr then name the commit, as those of a checkout do. An editable install
needs none: it asks git.
"""

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface[Any]):
    """Adds commit.json: `commit`, and whether the code that is packed is `dirty`, unlike it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        file = Path(self.root, "commit.json")  # of a source archive that a wheel is made of
        if version == "editable":
            return
        if not file.is_file():
            commit = self._git("rev-parse", "HEAD")
            if commit is None or self._git("ls-files", "--error-unmatch", "hatch_build.py") is None:
                return
            dirty = bool(self._git("status", "--porcelain", "--", "hitsr"))
            self._folder = TemporaryDirectory()
            file = Path(self._folder.name, "commit.json")
            file.write_text(json.dumps({"commit": commit, "dirty": dirty}), encoding="utf-8")
        name = "commit.json" if self.target_name == "sdist" else "hitsr/shipped/commit.json"
        build_data["force_include"][str(file)] = name

    def _git(self, *arguments: str) -> str | None:
        command = ["git", "--no-optional-locks", "-C", self.root, *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()
