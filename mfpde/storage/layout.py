"""The groups, datasets and attributes of a new run file, format version 1."""

from __future__ import annotations

import hashlib
import math
import os
import socket
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from mfpde.storage.hdf5.access import FORMAT_VERSION
from mfpde.storage.hdf5.files import process_start
from mfpde.storage.header import RunHeader, StudyHeader
from mfpde.storage.meanings import EQUATIONS, REFERENCES
from mfpde.storage.presence import STATUS, boot_id, pid_namespace
from mfpde.storage.scales import (
    SERIES_CHUNK,
    add_series,
    add_series_scale,
    add_static,
    chunk_shape,
    explain,
)
from mfpde.storage.texts import line_bytes, set_attributes

CONVENTIONS = "CF-1.11, MFPDE-1.0"
_INTEGER_COLUMNS = ("step", "n_evaluations")
_OBSERVATION_CHUNK_BYTES = 64 * 2**10
_MAX_ROOT_ATTRIBUTES = 64
_MESSAGE_BYTES = 1024
_RUN_TEXTS = {
    "message": _MESSAGE_BYTES,
    "host": 256,
    "boot_id": 64,
    "pid_namespace": 64,
}


def utc_now() -> str:
    """Return the time in ISO 8601, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_run_id() -> str:
    """Return a name for a run that no other run has."""
    return str(uuid.uuid4())


def new_file(file: BinaryIO) -> h5py.File:
    """Open a new HDF5 file in `file`, in a format that HDF5 1.10 can read."""
    properties = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    order = h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED
    properties.set_link_creation_order(order)
    properties.set_attr_creation_order(order)
    # More than 8 attributes would go to a heap of their own, without a checksum.
    properties.set_attr_phase_change(_MAX_ROOT_ATTRIBUTES, 0)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, file)
    flags = h5py.h5f.ACC_TRUNC
    return h5py.File(h5py.h5f.create(b"mfpde", flags, properties, access))


def create_layout(h5: h5py.File, header: RunHeader, run_id: str) -> None:
    """Fill a file from `new_file` with everything but records."""
    write_root(h5, header, run_id)
    config = _group(h5, "config")
    add_static(config, "toml", header.config_toml, ())
    add_static(config, "description", header.description, ())
    _write_data(_group(h5, "data"), header)
    _write_scalars(_group(h5, "scalars"), header)
    _write_trajectory(_group(h5, "trajectory"), header)
    if header.observation_shapes:
        _write_observations(_group(h5, "observations"), header)
    if header.states is not None:
        _write_states(_group(h5, "states"), header)
    _write_run(_group(h5, "run"))


def _group(h5: h5py.File, name: str) -> h5py.Group:
    return h5.create_group(name, track_order=True)


def write_root(h5: h5py.File, header: RunHeader | StudyHeader, run_id: str) -> None:
    """Write the attributes of the root group, by which every file is known."""
    created = utc_now()
    attrs: dict[str, Any] = {
        "Conventions": CONVENTIONS,
        "title": header.title,
        "source": header.source,
        "history": f"{created} created by {header.source}",
        "equations": EQUATIONS,
        "references": REFERENCES,
        "mfpde_format_version": np.int64(FORMAT_VERSION),
        "kind": header.kind,
        "run_id": run_id,
        "created": created,
        "config_sha256": hashlib.sha256(header.config_toml.encode()).hexdigest(),
        "command": header.command,
        "software": header.software,
    }
    if header.seed is not None:
        fits = -(2**63) <= header.seed < 2**63
        attrs["seed"] = np.int64(header.seed) if fits else str(header.seed)
    set_attributes(h5, attrs)


def _write_data(group: h5py.Group, header: RunHeader) -> None:
    x, y = np.asarray(header.x), np.asarray(header.y)
    weight = header.sample_weight
    if weight is None:
        weight = np.full(len(x), 1.0 / len(x))
    arrays = {
        "x": (x, ("sample", "x_component")),
        "y": (y, ("sample", "y_component")),
        "sample_weight": (weight, ("sample",)),
        **header.extra_data,
    }
    # Coordinates first: the other arrays attach to them.
    for name in sorted(arrays, key=lambda name: tuple(arrays[name][1]) != (name,)):
        add_static(group, name, *arrays[name])


def _write_scalars(group: h5py.Group, header: RunHeader) -> None:
    add_series_scale(group)
    for name in header.scalar_names:
        dtype = "i8" if name in _INTEGER_COLUMNS else "f8"
        add_series(group, name, (), (), dtype, chunks=(SERIES_CHUNK,))


def _write_trajectory(group: h5py.Group, header: RunHeader) -> None:
    add_series_scale(group)
    t = np.asarray(header.t, dtype=float)
    weight = np.asarray(header.particle_weight, dtype=float)
    names = np.array(header.param_names, dtype=object)
    add_static(group, "t", t, ("t",))
    add_static(group, "t_weight", np.asarray(header.t_weight, dtype=float), ("t",))
    add_static(group, "weight", weight, ("particle",))
    add_static(group, "param_name", names, ("param",))
    shape = (len(t), len(weight), len(names))
    itemsize = np.dtype(header.theta_dtype).itemsize
    chunks = chunk_shape(shape, itemsize)
    dims = ("t", "particle", "param")
    add_series(group, "theta", shape, dims, header.theta_dtype, chunks=chunks)
    set_attributes(group["theta"], {"coordinates": "t particle param_name weight"})
    for name, (tail, dims) in header.trainable.items():
        chunks = chunk_shape(tail, 8)
        add_series(group, name, tail, dims, chunks=chunks)


def _write_observations(group: h5py.Group, header: RunHeader) -> None:
    add_series_scale(group)
    for name, shape in header.observation_shapes.items():
        dims = [f"{name}_axis{axis}" for axis in range(len(shape))]
        n_fitting = _OBSERVATION_CHUNK_BYTES // (8 * max(1, math.prod(shape)))
        n_rows = min(SERIES_CHUNK, max(1, n_fitting))
        chunks = chunk_shape(shape, 8, n_rows=n_rows)
        add_series(group, name, shape, dims, chunks=chunks)


def _write_states(group: h5py.Group, header: RunHeader) -> None:
    t, n_samples, d = header.states
    t = np.asarray(t, dtype=float)
    add_series_scale(group)
    add_static(group, "t", t, ("t",))
    shape = (len(t), n_samples, d)
    chunks = chunk_shape(shape, 8)
    for name in ("z", "p"):
        add_series(group, name, shape, ("t", "sample", "z_component"), chunks=chunks)


def _write_run(group: h5py.Group) -> None:
    status = group.create_dataset("status", data=np.int8(0), track_order=True)
    status.attrs["flag_values"] = np.arange(len(STATUS), dtype=np.int8)
    set_attributes(status, {"flag_meanings": " ".join(STATUS)})
    for name, size in _RUN_TEXTS.items():
        dtype = h5py.string_dtype("ascii", size)
        group.create_dataset(name, data=b"", dtype=dtype, track_order=True)
    for name, value in (("last_record_unix", 0.0), ("pid", 0), ("inode", 0)):
        group.create_dataset(name, data=value, track_order=True)
    for dataset in group.values():
        explain(dataset)
    sign_writer(group)


def sign_writer(group: h5py.Group) -> None:
    """Enter this process in /run as the one that writes the file."""
    pid = os.getpid()
    group["status"][()] = STATUS.index("running")
    group["message"][()] = b""
    for name, text in (
        ("host", socket.gethostname()),
        ("boot_id", boot_id()),
        ("pid_namespace", pid_namespace()),
    ):
        group[name][()] = line_bytes(text, _RUN_TEXTS[name])
    group["pid"][()] = pid
    start = process_start(pid)
    group["pid"].attrs["process_start"] = np.int64(-1 if start is None else start)
    group["inode"][()] = 0
    group["last_record_unix"][()] = time.time()


def field_offsets(h5: h5py.File) -> dict[str, int]:
    """Return where the entries of /run stand in the file, in bytes."""
    return {name: dataset.id.get_offset() for name, dataset in h5["run"].items()}


def stamp_status(
    path: Path, offsets: Mapping[str, int], status: str, message: str
) -> None:
    """Overwrite status and message in place, without HDF5 and without its locks."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        text = message_bytes(message).ljust(_MESSAGE_BYTES, b"\0")
        os.pwrite(descriptor, text, offsets["message"])
        os.pwrite(descriptor, bytes([STATUS.index(status)]), offsets["status"])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def message_bytes(message: str) -> bytes:
    """Return a message as it stands in /run/message."""
    return line_bytes(message, _MESSAGE_BYTES)
