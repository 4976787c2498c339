"""NAME.ckpt.h5: all that a resumed run needs, replaced as a whole.

The file is HDF5 behind a user block of 512 bytes, a text that names the file and
holds the SHA-256 of the rest. Damage is seen before HDF5 parses anything.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.errors import StorageFormatError
from mfpde.paths import other_kind
from mfpde.storage.hdf5.access import (
    FORMAT_VERSION,
    check_format,
    format_errors,
    open_h5,
    reason,
)
from mfpde.storage.hdf5.files import checkpoint_path, real_path, replace_bytes
from mfpde.storage.hdf5.superblock import CHECKPOINT_TITLE
from mfpde.storage.layout import new_file
from mfpde.storage.scales import add_plain
from mfpde.storage.texts import attribute, set_attributes

_USER_BLOCK = 512
_TITLE = CHECKPOINT_TITLE + b", HDF5 from byte 512 on, SHA-256 of that part:\n"
Attribute = int | float | str


def encode_checkpoint(
    arrays: Mapping[str, ArrayLike],
    attrs: Mapping[str, Attribute],
    lengths: Mapping[str, int],
    run_id: str,
) -> bytes:
    """Return the content of a checkpoint file; see `read_checkpoint`.

    Numbers and strings stand as JSON, which keeps every bit of a float and integers
    of any length.
    """
    file = io.BytesIO()
    with new_file(file) as h5:
        set_attributes(
            h5,
            {
                "Conventions": "MFPDE-1.0",
                "mfpde_format_version": np.int64(FORMAT_VERSION),
                "kind": "checkpoint",
                "run_id": run_id,
            },
        )
        plain = {name: _plain(value) for name, value in attrs.items()}
        add_plain(h5, "attrs", json.dumps(plain))
        counts = {name: int(n) for name, n in lengths.items()}
        add_plain(h5, "lengths", json.dumps(counts))
        group = h5.create_group("arrays", track_order=True)
        for name, values in arrays.items():
            array = np.asarray(values)
            if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
                raise ValueError(
                    f"A checkpoint holds real arrays of at most 64 bits, got dtype "
                    f"{array.dtype} for {name!r}."
                )
            group.create_dataset(name, data=array, track_order=True)
    image = file.getvalue()
    return _user_block(image) + image


def _plain(value: Any) -> Attribute:
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, (int, float, str)):
        raise ValueError(
            f"A checkpoint attribute must be int, float or str, got {value!r}."
        )
    return value


def _user_block(image: bytes) -> bytes:
    digest = hashlib.sha256(image).hexdigest()
    return (_TITLE + digest.encode() + b"\n").ljust(_USER_BLOCK, b"\0")


def write_checkpoint(
    path: Path,
    arrays: Mapping[str, ArrayLike],
    attrs: Mapping[str, Attribute],
    lengths: Mapping[str, int],
    run_id: str,
) -> None:
    """Replace the checkpoint of the run at `path`; the old one stays on any error.

    Raises
    ------
    OSError
        If the file cannot be written, for example because the disk is full.
    """
    content = encode_checkpoint(arrays, attrs, lengths, run_id)
    target = checkpoint_path(path)
    try:
        replace_bytes(target, content)
    except OSError as error:
        raise OSError(
            f"The checkpoint {target} could not be written ({reason(error)}). The one "
            "before it is kept."
        ) from error


def read_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[dict[str, NDArray[Any]], dict[str, Attribute], dict[str, int]]:
    """Read the checkpoint of the run at `path`.

    Parameters
    ----------
    path : path-like
        The run, NAME.h5, not the checkpoint.

    Returns
    -------
    arrays : dict of ndarray
    attrs : dict of int, float or str
    lengths : dict of int
        Path of every unlimited dataset of the run to its length at the checkpoint.

    Raises
    ------
    FileNotFoundError
        If the run does not exist.
    StorageFormatError
        If the checkpoint is missing, damaged or belongs to another run.
    """
    path = real_path(path)
    with open_h5(path) as opened, format_errors(path):
        check_format(opened.h5, path)
        run_id = attribute(opened.h5, "run_id")
    checkpoint = checkpoint_path(path)
    content = _checked_content(checkpoint, path)
    with format_errors(checkpoint):
        arrays, attrs, lengths, checkpoint_run_id = _decode(content)
    if checkpoint_run_id != run_id:
        raise StorageFormatError(
            f"{checkpoint} belongs to another run than {path}, which therefore cannot "
            "be resumed. It can still be read."
        )
    return arrays, attrs, lengths


def _checked_content(checkpoint: Path, path: Path) -> bytes:
    if kind := other_kind(checkpoint):
        raise StorageFormatError(
            f"{checkpoint} is {kind}, so the run cannot be resumed. It can still be "
            "read."
        )
    try:
        content = checkpoint.read_bytes()
    except FileNotFoundError:
        raise StorageFormatError(
            f"{path} has no checkpoint {checkpoint.name} beside it, so it cannot be "
            "resumed. It can still be read."
        ) from None
    image = content[_USER_BLOCK:]
    if content[:_USER_BLOCK] != _user_block(image):
        raise StorageFormatError(
            f"{checkpoint} is damaged or truncated (its checksum is wrong), so the run "
            "cannot be resumed."
        )
    return image


def _decode(
    image: bytes,
) -> tuple[dict[str, NDArray[Any]], dict[str, Attribute], dict[str, int], str]:
    with h5py.File(io.BytesIO(image), "r") as h5:
        check_format(h5, "The checkpoint", kinds=("checkpoint",))
        arrays = {name: dataset[()] for name, dataset in h5["arrays"].items()}
        attrs = json.loads(h5["attrs"][()])
        lengths = json.loads(h5["lengths"][()])
        return arrays, attrs, lengths, attribute(h5, "run_id")
