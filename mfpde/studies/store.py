"""The folder of a study: study.json, and a file for each task and reference.

Files are put in place as a whole, and what they hold does not depend on who computes
it. So any number of processes may work on a folder, and a kill costs what was not yet
written.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from mfpde import __version__
from mfpde.errors import ConfigurationError, StorageFormatError
from mfpde.paths import RUN, check_readable, check_replaceable, user_path
from mfpde.storage.hdf5.files import replace_bytes
from mfpde.storage.studyfile import encode_piece, read_piece
from mfpde.studies.configuration import (
    config_digest,
    differences,
    measured_config,
    resolved_text,
)
from mfpde.studies.study import Config, Study, Task
from mfpde.studies.work import TaskResult

DESCRIPTION = "study.json"
ASSEMBLED = "study.h5"
TASKS, REFERENCES = "tasks", "references"
LEFTOVER_AGE_S = 3600.0
"""Age from which on the part of a file is taken as left behind by a kill."""


class Store:
    """The folder of one study with one configuration.

    Parameters
    ----------
    folder : path-like
        Made by `begin` if it does not exist.
    study : Study
    config : mapping
        Resolved.

    Raises
    ------
    ConfigurationError
        If the folder holds another study, another configuration, or something else.
        Nothing in it is changed then.

    Attributes
    ----------
    folder : Path
    version : str
        The version of mfpde that began the folder.
    damaged : list of Path
        Pieces that could not be read; they count as missing.
    """

    def __init__(
        self, folder: str | os.PathLike[str], study: Study, config: Config
    ) -> None:
        self.folder = user_path(folder, "folder")
        self.damaged: list[Path] = []
        text = resolved_text(study, measured_config(study, config))
        self.digest = config_digest(text)
        self._title = study.name
        self.version = self._check(study, config)
        self._description = {
            "study": study.name,
            "version": __version__,
            "sha256": self.digest,
            "config": measured_config(study, config),
        }

    @property
    def is_begun(self) -> bool:
        """Whether the folder holds the study already."""
        return (self.folder / DESCRIPTION).exists()

    def begin(self) -> None:
        """Make the folder, unless it is there."""
        check_replaceable(self.assembled_path, "folder", RUN)
        for name in (TASKS, REFERENCES):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if not self.is_begun:
            text = json.dumps(self._description, indent=2) + "\n"
            replace_bytes(self.folder / DESCRIPTION, text.encode(), is_shared=True)

    @property
    def assembled_path(self) -> Path:
        """Where the assembled table goes."""
        return self.folder / ASSEMBLED

    def task(self, task: Task) -> TaskResult | None:
        """Return what became of a task, None if it is missing."""
        return self._read(TASKS, task.key)

    def reference(self, name: str) -> TaskResult | None:
        """Return a reference, None if it is missing."""
        return self._read(REFERENCES, name)

    def keep_task(self, task: Task, piece: TaskResult) -> None:
        """Write what became of a task."""
        self._write(TASKS, task.key, piece, {"task": str(task)})

    def keep_reference(self, name: str, piece: TaskResult) -> None:
        """Write a reference."""
        self._write(REFERENCES, name, piece, {"reference": name})

    def keep_assembled(self, content: bytes) -> Path:
        """Write study.h5 and return its path."""
        replace_bytes(self.assembled_path, content, is_shared=True)
        return self.assembled_path

    def clear_leftovers(self) -> None:
        """Remove the parts of files that kills left behind some time ago."""
        oldest = time.time() - LEFTOVER_AGE_S
        for part in self.folder.glob("**/.*.part"):
            with contextlib.suppress(FileNotFoundError):
                if part.stat().st_mtime < oldest:
                    part.unlink()

    def _check(self, study: Study, config: Config) -> str:
        """Return the version in study.json; raise if the folder is not ours."""
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(
                f"{self.folder} is a file. Choose another folder with --out."
            )
        path = self.folder / DESCRIPTION
        if not path.exists():
            others = self._others()
            if others:
                raise ConfigurationError(
                    [
                        f"{self.folder} is not empty and holds no study (it has "
                        f"{others[0]}). Choose another folder with --out."
                    ]
                )
            return __version__
        check_readable(path)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            name, version, sha = found["study"], found["version"], found["sha256"]
            changed = differences(
                measured_config(study, found["config"]), measured_config(study, config)
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                [f"{path} is damaged. Choose another folder with --out."]
            ) from error
        if name != study.name:
            raise ConfigurationError(
                [
                    f"{self.folder} holds the study {name!r}, not {study.name!r}. "
                    "Choose another folder with --out."
                ]
            )
        if sha != self.digest:
            keys = ", ".join(f"`{key}`" for key in changed) or "its text"
            raise ConfigurationError(
                [
                    f"{self.folder} holds this study with another configuration "
                    f"(different: {keys}). Choose another folder with --out, or the "
                    "same configuration."
                ]
            )
        return version

    def _others(self) -> list[str]:
        """Names in the folder; other processes may just be making ours."""
        if not self.folder.exists():
            return []
        ours = {TASKS, REFERENCES}
        names = sorted(path.name for path in self.folder.iterdir())
        return [n for n in names if n not in ours and not n.endswith(".part")]

    def _read(self, kind: str, name: str) -> TaskResult | None:
        path = self.folder / kind / f"{name}.h5"
        if not path.exists():
            return None
        try:
            arrays, attrs = read_piece(path)
            digest = attrs.pop("config_sha256")
        except (StorageFormatError, KeyError):
            self.damaged.append(path)
            return None
        if digest != self.digest:
            raise ConfigurationError(
                [
                    f"{path} belongs to another study or configuration than the rest "
                    "of its folder. Take it away, or choose another folder with --out."
                ]
            )
        fields = ("status", "message", "wall_time_s", "details")
        return TaskResult(arrays=arrays, **{field: attrs[field] for field in fields})

    def _write(
        self, kind: str, name: str, piece: TaskResult, attrs: dict[str, Any]
    ) -> None:
        content = encode_piece(
            piece.arrays,
            {
                "config_sha256": self.digest,
                "study": self._title,
                "version": __version__,
                "status": piece.status,
                "message": piece.message,
                "wall_time_s": piece.wall_time_s,
                "details": piece.details,
                **attrs,
            },
        )
        replace_bytes(self.folder / kind / f"{name}.h5", content, is_shared=True)
