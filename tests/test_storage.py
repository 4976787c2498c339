"""The run file: its format, writing, reading, and what is refused."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import storage_cases as cases

from mfpde.errors import StorageFormatError
from mfpde.storage import (
    RunWriter,
    check_writable,
    checkpoint_path,
    frames,
    open_run,
    read_checkpoint,
)
from mfpde.storage.hdf5.rows import InPlaceRows, SwmrRows
from mfpde.storage.hdf5.superblock import lookup3, read_superblock
from mfpde.storage.texts import attributes

GROUPS = ("config", "data", "scalars", "trajectory", "observations", "states", "run")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run of 5 records; not to be changed."""
    return cases.finished(tmp_path_factory.mktemp("finished") / "run.h5")


@pytest.fixture
def copy(path: Path, finished: Path) -> Path:
    """The finished run once more, to be changed."""
    shutil.copy(checkpoint_path(finished), checkpoint_path(path))
    return Path(shutil.copy(finished, path))


def datasets(h5: h5py.File) -> dict[str, h5py.Dataset]:
    return {d.name: d for group in h5.values() for d in group.values()}


class TestFormat:
    def test_root_attributes(self, finished):
        with h5py.File(finished, "r") as h5:
            attrs = attributes(h5)
        assert attrs["Conventions"] == "CF-1.11, MFPDE-1.0"
        assert "(7) d theta/ds" in attrs["equations"]
        assert "arXiv:2105.14417" in attrs["references"]
        assert attrs["mfpde_format_version"] == 1
        assert attrs["kind"] == "run"
        assert attrs["source"] == "mfpde 0.1.0"
        assert attrs["seed"] == 7
        assert len(attrs["run_id"]) == 36
        assert attrs["created"].endswith("Z")
        assert attrs["created"] in attrs["history"]
        for name in ("title", "config_sha256", "command", "software"):
            assert isinstance(attrs[name], str)

    def test_members(self, finished):
        with h5py.File(finished, "r") as h5:
            assert list(h5) == list(GROUPS)
            assert list(h5["scalars"]) == ["s", *cases.header().scalar_names]
            assert set(h5["run"]) == {
                "status", "message", "last_record_unix", "pid", "host",
                "boot_id", "pid_namespace", "inode",
            }  # fmt: skip
            assert h5["trajectory/theta"].shape == (5, cases.J, cases.M, cases.K)

    def test_every_axis_has_a_scale_of_its_group(self, finished):
        with h5py.File(finished, "r") as h5:
            for name, dataset in datasets(h5).items():
                if dataset.is_scale:
                    assert dataset.ndim == 1
                    assert dataset.attrs["NAME"].decode() == name.split("/")[-1]
                    continue
                for axis, dim in enumerate(dataset.dims):
                    assert len(dim) == 1, f"{name}, axis {axis}"
                    assert dim[0].parent == dataset.parent
                    assert dim[0].shape == dataset.shape[axis : axis + 1]

    def test_series_are_unlimited_and_not_compressed(self, finished):
        with h5py.File(finished, "r") as h5:
            for name, dataset in datasets(h5).items():
                assert dataset.compression is None
                is_series = dataset.maxshape[:1] == (None,)
                assert is_series == (name.split("/")[1] in GROUPS[2:6] and (
                    dataset.shape[:1] == (5,) and dataset.name[-5:] != "param"
                    and "param_name" not in dataset.name))  # fmt: skip
            for group in GROUPS[2:6]:
                assert np.isnan(h5[group]["s"].fillvalue)
            assert h5["scalars/loss"].chunks == (1024,)

    def test_types_that_all_readers_know(self, finished):
        """Octave, PyTables and kerchunk need strings of fixed length, Octave ASCII.

        PyTables cannot open a dataset with a list of references back.
        """
        with h5py.File(finished, "r") as h5:
            for item in [h5, *h5.values(), *datasets(h5).values()]:
                for name in set(item.attrs) - {"DIMENSION_LIST"}:
                    attribute = item.attrs.get_id(name)
                    assert name != "REFERENCE_LIST"
                    assert attribute.dtype.kind in "Sif", name
                    assert len(attribute.shape) <= 1, name
                    text = h5py.check_string_dtype(attribute.dtype)
                    assert text is None or text.encoding == "ascii", name
            encodings = {
                name: h5py.check_string_dtype(dataset.dtype).encoding
                for name, dataset in datasets(h5).items()
                if dataset.dtype.kind not in "if"
            }
        assert encodings.pop("/data/label") == "utf-8"
        assert encodings.pop("/config/toml") == "utf-8"
        assert set(encodings.values()) == {"ascii"}

    def test_texts_with_any_character(self, path):
        texts = ["", "a", "Größe", "\N{GREEK SMALL LETTER RHO}"]
        title = "nul \0, surrogate \udc80, Größe"
        extra = {"label": (np.array(texts), ("label_index",))}
        writer = cases.create(path, title=title, extra_data=extra)
        writer.finish("failed", "Größe \\ \N{GREEK SMALL LETTER RHO} " + "ö" * 2000)
        writer.close()
        with open_run(path) as run:
            assert run.data["label"].tolist() == texts
            assert run.attrs["title"] == "nul \ufffd, surrogate \\udc80, Größe"
            assert run.message.startswith("Größe \\ \N{GREEK SMALL LETTER RHO} öö")
        with pytest.raises(ValueError, match="must not hold the character NUL"):
            cases.create(
                path.with_name("nul.h5"),
                extra_data={"label": (np.array(["a\0b"]), ("label",))},
            )

    def test_says_what_each_dataset_is(self, finished):
        with h5py.File(finished, "r") as h5:
            for name, dataset in datasets(h5).items():
                text = dataset.attrs["long_name"].decode()
                assert len(text.split()) > 3 or "status" in name, name
                assert text != name.split("/")[-1].replace("_", " ")
            for name, units in (("wall_time", b"s"), ("s", b"1"), ("loss", b"1")):
                assert h5[f"scalars/{name}"].attrs["units"] == units
            # Only the user knows the units of his data.
            assert "units" not in h5["data/picture"].attrs
            assert h5["trajectory/theta"].attrs["coordinates"].split() == [
                b"t", b"particle", b"param_name", b"weight"
            ]  # fmt: skip

    def test_status_is_described(self, finished):
        with h5py.File(finished, "r") as h5:
            status = h5["run/status"]
            assert status.dtype == np.int8
            assert status[()] == 1
            np.testing.assert_array_equal(status.attrs["flag_values"], range(4))
            meanings = status.attrs["flag_meanings"]
        assert meanings == b"running finished interrupted failed"

    def test_no_newer_format_than_hdf5_1_10(self, finished):
        superblock = read_superblock(finished)
        # Version 3 is that of HDF5 1.10; "latest" of HDF5 2.0 would write a newer one.
        assert superblock.version == 3
        assert superblock.flags == 0
        assert superblock.end_of_file == finished.stat().st_size
        with h5py.File(finished, "r") as h5:
            low, high = h5.id.get_access_plist().get_libver_bounds()
            assert low <= high

    def test_theta_in_single_precision(self, path):
        cases.finished(path, n=2, theta_dtype="f4")
        with h5py.File(path, "r") as h5:
            assert h5["trajectory/theta"].dtype == np.float32
        with open_run(path) as run:
            expected = cases.truth(1)["theta"].astype(np.float32)
            np.testing.assert_array_equal(run.theta[1], expected)
            assert run.theta[1].dtype == np.float64

    @pytest.mark.parametrize(("n_particles", "rows"), [(1000, 3), (100_000, 1)])
    def test_large_snapshots_are_chunked_by_node(self, path, n_particles, rows):
        weight = np.full(n_particles, 1 / n_particles)
        cases.create(path, particle_weight=weight).close()
        with h5py.File(path, "r") as h5:
            # 3 x 100000 x 5 numbers are 12 MB, more than the 8 MiB of one chunk.
            assert h5["trajectory/theta"].chunks == (1, rows, n_particles, cases.K)

    def test_without_optional_groups(self, path):
        changes = {"observation_shapes": {}, "states": None, "trainable": {}}
        changes |= {"seed": None, "sample_weight": None}
        with cases.create(path, **changes) as writer:
            row = {"s": 0.0, "step": 0, "loss": 1.0, "objective": 1.0, "wall_time": 0}
            writer.append_scalars(row)
            writer.append_snapshot(0.0, cases.truth(0)["theta"])
        with open_run(path) as run:
            assert run.states is None
            assert run.trainable == {}
            assert dict(run.observations) == {}
            assert "seed" not in run.attrs
            np.testing.assert_allclose(run.data["sample_weight"].sum(), 1)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"kind": "job"}, "`kind` must be one of run, network, study"),
            ({"theta_dtype": "f2"}, "`theta_dtype` must be 'f8' or 'f4', got 'f2'"),
            (
                {"extra_data": {"v": (np.zeros(4), ("sample",))}},
                "named 'sample' and has length 4",
            ),
            ({"extra_data": {"v": (np.zeros(4), ())}}, "one dimension name per axis"),
            ({"extra_data": {"v": (np.zeros(2, complex), ("v",))}}, "real numbers"),
            ({"trainable": {"theta": ((2,), ("a",))}}, "'theta' is used twice"),
        ],
    )
    def test_unsuitable_header(self, path, changes, message):
        with pytest.raises(ValueError, match=message):
            cases.create(path, **changes)
        assert os.listdir(path.parent) == []


class TestXarray:
    @pytest.mark.parametrize("group", GROUPS)
    def test_opens_every_group(self, finished, group):
        xarray = pytest.importorskip("xarray")
        pytest.importorskip("h5netcdf")
        with open_run(finished) as run:
            ours = run.to_xarray(group)
        with xarray.open_dataset(finished, engine="h5netcdf", group=group) as dataset:
            theirs = dataset.load()
        assert theirs.sizes == ours.sizes
        if group == "trajectory":
            # The file numbers the parameters, `to_xarray` labels them by name.
            theirs = theirs.assign_coords(param=theirs["param_name"].values)
        xarray.testing.assert_equal(theirs, ours)
        assert not any("<M8" in str(v.dtype) for v in theirs.variables.values())

    def test_names_of_parameters_are_labels(self, finished):
        xarray = pytest.importorskip("xarray")
        expected = np.array([cases.truth(i)["theta"] for i in range(5)])
        with open_run(finished) as run:
            theta = run.to_xarray("trajectory")["theta"]
        assert set(theta.coords) == {
            "s", "t", "particle", "param", "param_name", "weight"
        }  # fmt: skip
        np.testing.assert_array_equal(theta.sel(param="v1"), expected[..., 2])
        there = theta.sel(param=["b", "u2"], t=0.5).isel(s=[4, 0])
        np.testing.assert_array_equal(there, expected[[4, 0], 1][..., [4, 1]])
        with xarray.open_dataset(finished, group="trajectory") as dataset:
            theirs = dataset["theta"].set_xindex("param_name").sel(param_name="v1")
            np.testing.assert_array_equal(theirs, expected[..., 2])

    def test_snapshots_are_read_when_used(self, copy, monkeypatch):
        pytest.importorskip("xarray")
        read = []
        original = frames._read
        monkeypatch.setattr(
            frames, "_read", lambda *args: read.append(args[1]) or original(*args)
        )
        frames._stored_class.cache_clear()
        with open_run(copy) as run:
            dataset, states = run.to_xarray("trajectory"), run.to_xarray("states")
            expected = np.asarray(run.theta)
        assert read == []
        # The run is closed, the file is not held, and a copy elsewhere works as well.
        again = pickle.loads(pickle.dumps(dataset))
        for key in (2, -1, slice(None, None, -2), [3, 0], (slice(1, 3), 1, [0, 2])):
            np.testing.assert_array_equal(again["theta"][key], expected[key])
        assert set(read) == {"/trajectory/theta"}
        np.testing.assert_array_equal(dataset["theta"], expected)
        n = len(read)
        assert dataset["theta"].sum() == dataset["theta"].values.sum()
        assert len(read) == n, "read once, then kept"
        assert states["z"].dims == ("s", "t", "sample", "z_component")
        copy.unlink()
        with pytest.raises(FileNotFoundError):
            states["z"].load()
        cases.finished(copy)
        with pytest.raises(StorageFormatError, match="no longer the file"):
            states["p"].load()

    def test_can_be_written_by_xarray(self, finished, tmp_path):
        xarray = pytest.importorskip("xarray")
        with open_run(finished) as run:
            dataset = run.to_xarray("trajectory")
        dataset.to_netcdf(tmp_path / "copy.nc", engine="h5netcdf")
        with xarray.open_dataset(tmp_path / "copy.nc", engine="h5netcdf") as there:
            xarray.testing.assert_equal(there, dataset)

    def test_has_attributes_and_coordinates(self, finished):
        pytest.importorskip("xarray")
        with open_run(finished) as run:
            dataset = run.to_xarray("trajectory")
            assert dataset["theta"].dims == ("s", "t", "particle", "param")
            assert "atoms of rho" in dataset["theta"].attrs["long_name"]
            assert dataset.attrs["run_id"] == run.attrs["run_id"]
            assert "pixel" in run.to_xarray("data").coords
            with pytest.raises(KeyError, match="no group 'sclars'; it has"):
                run.to_xarray("sclars")

    def test_missing_package(self, finished, monkeypatch):
        monkeypatch.setitem(sys.modules, "xarray", None)
        message = r"pip install 'mfpde\[xarray\]'"
        with open_run(finished) as run, pytest.raises(ImportError, match=message):
            run.to_xarray()


class TestReading:
    def test_every_record_bit_for_bit(self, finished):
        with open_run(finished) as run:
            assert cases.check(run) == 5
            assert run.status == "finished"
            assert run.message == "s_end was reached."
            assert run.kind == "run"
            assert list(run.scalars) == ["step", "loss", "objective", "wall_time"]
            assert run.step.dtype.kind == "i"
            np.testing.assert_array_equal(run.observations["margin"], range(5))

    def test_static_parts(self, finished):
        header = cases.header()
        with open_run(finished) as run:
            np.testing.assert_array_equal(run.t, header.t)
            np.testing.assert_array_equal(run.t_weights, header.t_weight)
            np.testing.assert_array_equal(run.weights, header.particle_weight)
            assert run.param_names == header.param_names
            assert run.config == {"problem": {"name": "Größe"}}
            assert run.config_toml == header.config_toml
            assert run.description["block"]["d"] == 2
            data = run.data
        np.testing.assert_array_equal(data["x"], header.x)
        np.testing.assert_array_equal(data["y"], header.y)
        np.testing.assert_array_equal(data["is_test"], [0, 0, 0, 0, 1, 1])
        assert data["label"].tolist() == list("abcdeä")
        expected = {"x", "y", "sample_weight", "label", "picture", "pixel", "is_test"}
        assert set(data) == expected

    def test_series_index_like_arrays(self, finished):
        expected = np.array([cases.truth(i)["theta"] for i in range(5)])
        with open_run(finished) as run:
            theta = run.theta
            assert theta.shape == expected.shape
            assert theta.ndim == 4
            assert len(theta) == 5
            for key in (
                -1, slice(None), slice(1, 4, 2), slice(None, None, -1), [3, 0],
                slice(4, 1), np.array([True, False, True, False, False]), ...,
                (2, 0), (slice(None), 1, slice(2, 4)), (-2, ..., 0), (..., 0), [],
            ):  # fmt: skip
                np.testing.assert_array_equal(theta[key], expected[key], str(key))
            np.testing.assert_array_equal(np.asarray(theta), expected)
            np.testing.assert_array_equal(np.stack(list(theta)), expected)
            with pytest.raises(IndexError, match="has 5 rows, got index 5"):
                theta[5]
            assert repr(theta) == "<Series /trajectory/theta (5, 3, 4, 5)>"

    def test_columns_are_attributes(self, finished):
        with open_run(finished) as run:
            np.testing.assert_array_equal(run.loss, run.scalars["loss"])
            assert "loss" in dir(run)
            with pytest.raises(AttributeError, match="no attribute 'accuracy'"):
                _ = run.accuracy
            with pytest.raises(KeyError):
                run.scalars["s"]

    def test_closed_run_says_so(self, finished):
        run = open_run(finished)
        theta = run.theta
        assert "5 records to s = 0.4, 5 snapshots of (3, 4, 5)" in repr(run)
        run.close()
        run.close()
        for use in (lambda: run.loss, lambda: run.s, lambda: theta[0]):
            with pytest.raises(ValueError, match=r"is closed\. Open it again"):
                use()
        assert repr(run).endswith("closed>")

    def test_is_not_pickled(self, finished):
        with open_run(finished) as run, pytest.raises(TypeError, match="its path"):
            pickle.dumps(run)

    def test_needs_no_permission_to_write(self, copy):
        copy.chmod(0o400)
        before = copy.read_bytes()
        with open_run(copy) as run:
            cases.check(run)
        assert copy.read_bytes() == before

    def test_other_readers_in_the_same_process_do_not_matter(self, finished):
        with h5py.File(finished, "r"), open_run(finished) as run:
            assert cases.check(run) == 5


class TestLive:
    def test_in_the_writing_process(self, path):
        with cases.create(path, n=2) as writer, open_run(path) as run:
            assert run.status == "running"
            assert cases.check(run) == 2
            cases.append(writer, 2)
            assert len(run.loss) == 2
            run.refresh()
            assert cases.check(run) == 3

    @pytest.mark.parametrize("mode", ["swmr", "no-swmr"])
    def test_from_another_process(self, path, mode):
        with _writing_process(path, 100_000, mode) as process:
            counts = []
            deadline = time.monotonic() + 10
            while len(set(counts)) < 4 and time.monotonic() < deadline:
                with open_run(path) as run:
                    counts.append(cases.check(run))
                    assert run.status == "running"
                    run.refresh()
                    counts.append(cases.check(run))
            assert len(set(counts)) >= 4
            assert counts == sorted(counts)
            assert process.poll() is None

    def test_by_xarray(self, path):
        xarray = pytest.importorskip("xarray")
        pytest.importorskip("h5netcdf")
        with _writing_process(path, 100_000) as process:
            _wait_for_record(process, 3)
            options = {"swmr": True, "libver": "latest"}
            with xarray.open_dataset(
                path, engine="h5netcdf", group="scalars", driver_kwds=options
            ) as dataset:
                s = dataset["s"].to_numpy()
                n = int(np.isfinite(s).sum())
                assert n >= 3
                expected = [cases.truth(i)["loss"] for i in range(n)]
                np.testing.assert_array_equal(dataset["loss"][:n], expected)

    @pytest.mark.parametrize("swmr", [True, False])
    def test_unfinished_record_does_not_count(self, path, monkeypatch, swmr):
        with cases.create(path, n=3, swmr=swmr) as writer:
            rows = SwmrRows if swmr else InPlaceRows
            write = rows.write

            def stop_at_s(self, name, row, value):
                if name == "/scalars/s":
                    raise KeyboardInterrupt
                write(self, name, row, value)

            with monkeypatch.context() as patch:
                patch.setattr(rows, "write", stop_at_s)
                with pytest.raises(KeyboardInterrupt):
                    cases.append(writer, 3)
            with open_run(path) as run:
                assert cases.check(run) == 3
                assert len(run.observations["confusion"]) == 3
            # The next one takes its place.
            for i in (3, 4):
                cases.append(writer, i)
        with open_run(path) as run:
            assert cases.check(run) == 5

    def test_row_without_s_does_not_count(self, copy):
        with h5py.File(copy, "r+") as h5:
            for dataset in h5["scalars"].values():
                dataset.resize(8, axis=0)
            h5["scalars/loss"][:] = 1.0
        with open_run(copy) as run:
            assert len(run.loss) == len(run.s) == 5


class TestInPlace:
    """Without SWMR (NFS): rows go to reserved places, the structure never changes."""

    def test_grows_and_is_trimmed_at_the_end(self, path, monkeypatch):
        monkeypatch.setattr("mfpde.storage.hdf5.rebuild._MAX_RESERVED_ROWS", 2)
        with cases.create(path, swmr=False) as writer:
            for i in range(20):
                cases.append(writer, i)
                # 2, 4, 8 and 16 are the moments of growth.
                if i in (0, 1, 2, 15, 16):
                    with open_run(path) as run:
                        assert cases.check(run) == i + 1
            assert read_superblock(path).flags == 0
            writer.finish("finished", "done.")
        with h5py.File(path, "r") as h5:
            assert {len(h5[f"{group}/s"]) for group in GROUPS[2:6]} == {20}
        with open_run(path) as run:
            assert cases.check(run) == 20
            assert (run.status, run.message) == ("finished", "done.")

    def test_large_rows_stand_in_one_piece(self, path):
        weight = np.full(100_000, 1e-5)
        theta = np.random.default_rng(3).normal(size=(cases.J, 100_000, cases.K))
        options = {"particle_weight": weight, "trainable": {}, "swmr": False}
        with cases.create(path, **options) as writer:
            writer.append_snapshot(0.0, theta)
            writer.append_snapshot(1.0, -theta)
        with open_run(path) as run:
            np.testing.assert_array_equal(run.theta[1], -theta)


class TestWriter:
    def test_refuses_an_existing_file(self, path):
        cases.finished(path)
        with pytest.raises(FileExistsError, match=r"exists\. Choose another `output`"):
            cases.create(path)

    def test_overwrite_keeps_the_old_file_until_the_new_one_is_ready(self, path):
        cases.finished(path)
        before = path.read_bytes(), checkpoint_path(path).read_bytes()
        bad = cases.header(extra_data={"v": (np.zeros(9), ("sample",))})
        with pytest.raises(ValueError, match="has length 9"):
            RunWriter.create(path, bad, checkpoint=cases.state(0), overwrite=True)
        assert (path.read_bytes(), checkpoint_path(path).read_bytes()) == before
        header, state = cases.header(title="new"), cases.state(0)
        RunWriter.create(path, header, checkpoint=state, overwrite=True).close()
        with open_run(path) as run:
            assert run.attrs["title"] == "new"
            assert len(run.s) == 0
        assert read_checkpoint(path)[1]["i"] == 0
        assert sorted(os.listdir(path.parent)) == ["run.ckpt.h5", "run.h5"]

    def test_does_not_overwrite_a_live_run(self, path):
        header, state = cases.header(), cases.state(0)
        message = rf"cannot be overwritten: process {os.getpid()} on .* is writing it"
        with cases.create(path, n=1), pytest.raises(OSError, match=message):
            RunWriter.create(path, header, checkpoint=state, overwrite=True)
        with open_run(path) as run:
            assert cases.check(run) == 1

    def test_overwrites_runs_only(self, path):
        path.write_text("notes")
        with pytest.raises(FileExistsError, match="was not written by mfpde"):
            RunWriter.create(
                path, cases.header(), checkpoint=cases.state(0), overwrite=True
            )
        assert path.read_text() == "notes"
        # Nothing is lost with an empty file.
        path.write_text("")
        RunWriter.create(
            path, cases.header(), checkpoint=cases.state(0), overwrite=True
        ).close()
        with open_run(path) as run:
            assert run.status == "interrupted"

    def test_unusable_places(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        for place, error, message in (
            (tmp_path / "absent" / "run.h5", FileNotFoundError, "does not exist"),
            (tmp_path / "file" / "run.h5", NotADirectoryError, "is not a folder"),
            (tmp_path, IsADirectoryError, "must be a file"),
            (tmp_path / "run.ckpt.h5", ValueError, "must not end in .ckpt.h5"),
        ):
            with pytest.raises(error, match=message):
                check_writable(place)
            with pytest.raises(error, match=message):
                cases.create(place)
        # Root may write anywhere, so the answer of the system is replaced.
        monkeypatch.setattr(os, "access", lambda *_: False)
        with pytest.raises(PermissionError, match="is not writable"):
            check_writable(tmp_path / "run.h5")

    def test_wrong_records(self, path):
        with cases.create(path, n=1) as writer:
            row = {"s": 1.0, "step": 1, "loss": 1.0, "objective": 1.0, "wall_time": 1}
            observations = {"confusion": np.zeros((2, 3)), "margin": 1}
            theta, readout = np.zeros((3, 4, 5)), {"readout": np.zeros((1, 2))}
            for act, message in (
                (lambda: writer.append_scalars({"s": 1.0}), "must hold"),
                (
                    lambda: writer.append_scalars(
                        row, observations | {"confusion": np.zeros((3, 2))}
                    ),
                    r"`observations/confusion` must have shape \(2, 3\), got \(3, 2\)",
                ),
                (
                    lambda: writer.append_scalars(row | {"s": np.nan}, observations),
                    "`s` of a record must be finite",
                ),
                (lambda: writer.append_snapshot(1.0, theta), "must hold"),
                (
                    lambda: writer.append_snapshot(1.0, theta[:2], readout),
                    r"`trajectory/theta` must have shape \(3, 4, 5\)",
                ),
                (lambda: writer.finish("done", ""), "must be one of finished"),
            ):
                with pytest.raises(ValueError, match=message):
                    act()
            writer.finish("finished", "x" * 3000 + "ä")
            with pytest.raises(ValueError, match="is closed"):
                cases.append(writer, 1)
        with open_run(path) as run:
            assert cases.check(run) == 1
            assert run.message == "x" * 1024

    @pytest.mark.parametrize(
        ("error", "status"),
        [(ValueError, "failed"), (KeyboardInterrupt, "interrupted")],
    )
    def test_leaves_a_whole_file_on_errors(self, path, error, status):
        with pytest.raises(error, match="why"), cases.create(path, n=2):
            raise error("why")
        with open_run(path) as run:
            assert cases.check(run) == 2
            assert run.status == status
            assert run.message == f"{error.__name__}: why"
        assert read_superblock(path).flags == 0

    @pytest.mark.parametrize("swmr", [True, False])
    def test_failure_at_the_end_is_reported_once(self, path, monkeypatch, swmr):
        def no_space(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        writer = cases.create(path, n=3, swmr=swmr)
        monkeypatch.setattr(writer._rows, "finish", no_space)
        with pytest.raises(OSError, match=r"up to s = 0\.2 are kept\. Free some"):
            writer.finish("finished", "done.")
        writer.finish("finished", "done.")
        writer.close()
        with open_run(path) as run:
            assert cases.check(run) == 3
            assert run.status == "failed"

    def test_failure_to_create(self, path, monkeypatch):
        """The sentence, nothing left over, and a later attempt is free."""

        def no_space(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("mfpde.storage.hdf5.parts.os.pwrite", no_space)
            with pytest.raises(OSError, match=r"could not be written \(No space left"):
                cases.create(path)
        assert os.listdir(path.parent) == []
        cases.finished(path)

    def test_follows_symbolic_links(self, tmp_path):
        (tmp_path / "disk").mkdir()
        link = tmp_path / "link.h5"
        link.symlink_to(tmp_path / "disk" / "real.h5")
        cases.finished(link)
        assert link.is_symlink()
        assert sorted(os.listdir(tmp_path / "disk")) == ["real.ckpt.h5", "real.h5"]
        assert read_checkpoint(link)[1]["i"] == 5


class TestCheckpoint:
    def test_keeps_every_bit(self, path):
        arrays = {
            "a": np.array([np.nan, -0.0, np.inf, 5e-324]),
            "empty": np.zeros((0, 3)),
            "scalar": np.float32(1.5),
            "counts": np.arange(3, dtype=np.uint64),
        }
        attrs = {"s": 0.1 + 0.2, "big": 2**127 + 1, "text": "ä", "nan": np.nan}
        attrs |= {"numpy": np.float64(1 / 3), "integer": np.int64(-5)}
        with cases.create(path, n=3) as writer:
            writer.write_checkpoint(arrays, attrs)
            cases.append(writer, 3)
        read_arrays, read_attrs, lengths = read_checkpoint(path)
        for name, array in arrays.items():
            assert read_arrays[name].dtype == array.dtype
            assert read_arrays[name].shape == array.shape
            assert read_arrays[name].tobytes() == array.tobytes()
        assert np.isnan(read_attrs.pop("nan"))
        del attrs["nan"]
        assert read_attrs == attrs
        with open_run(path) as run:
            assert lengths["/scalars/s"] == 3 == len(run.s) - 1
        assert set(lengths.values()) == {3}
        assert "/trajectory/readout" in lengths

    def test_is_an_hdf5_file(self, finished):
        with h5py.File(checkpoint_path(finished), "r") as h5:
            assert h5["arrays/theta"].shape == (cases.J, cases.M, cases.K)
        with pytest.raises(StorageFormatError, match="is the checkpoint of a run"):
            open_run(checkpoint_path(finished))

    def test_refuses_what_it_cannot_keep(self, path):
        with cases.create(path) as writer:
            with pytest.raises(ValueError, match="real arrays"):
                writer.write_checkpoint({"a": np.array(["x"])}, {})
            with pytest.raises(ValueError, match="must be int, float or str"):
                writer.write_checkpoint({}, {"a": [1]})
        assert read_checkpoint(path)[1]["i"] == 0

    @pytest.mark.parametrize("where", [0, 100, 511, 512, 2000, -1])
    def test_sees_every_changed_byte(self, copy, where):
        checkpoint = checkpoint_path(copy)
        content = bytearray(checkpoint.read_bytes())
        content[where] ^= 0x10
        checkpoint.write_bytes(content)
        with pytest.raises(StorageFormatError, match="damaged or truncated"):
            read_checkpoint(copy)

    @pytest.mark.parametrize("size", [0, 1, 511, 512, 3000])
    def test_truncated(self, copy, size):
        checkpoint = checkpoint_path(copy)
        checkpoint.write_bytes(checkpoint.read_bytes()[:size])
        with pytest.raises(StorageFormatError, match="damaged or truncated"):
            read_checkpoint(copy)

    def test_missing_or_of_another_run(self, path, finished):
        cases.finished(path)
        shutil.copy(checkpoint_path(finished), checkpoint_path(path))
        with pytest.raises(StorageFormatError, match="belongs to another run"):
            read_checkpoint(path)
        checkpoint_path(path).unlink()
        with pytest.raises(StorageFormatError, match=r"no checkpoint run\.ckpt\.h5"):
            read_checkpoint(path)
        path.unlink()
        with pytest.raises(FileNotFoundError, match="There is no file"):
            read_checkpoint(path)

    def test_keeps_the_old_one_if_the_new_one_cannot_be_written(
        self, path, monkeypatch
    ):
        with cases.create(path, n=2) as writer:
            with monkeypatch.context() as patch:

                def no_space(*_):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

                patch.setattr("mfpde.storage.hdf5.files.os.fsync", no_space)
                patch.setattr(SwmrRows, "sync", lambda self: None)
                with pytest.raises(OSError, match=r"No space left.*before it is kept"):
                    writer.write_checkpoint(*cases.state(2))
            assert read_checkpoint(path)[1]["i"] == 0
            cases.append(writer, 2)
        assert sorted(os.listdir(path.parent)) == ["run.ckpt.h5", "run.h5"]


def _damage(path: Path, name: str) -> None:
    """Change a whole file with h5py; see TestRefused."""
    with h5py.File(path, "r+") as h5:
        if name == "newer version":
            h5.attrs["mfpde_format_version"] = 2
        elif name == "foreign":
            del h5.attrs["mfpde_format_version"]
        elif name == "unknown kind":
            h5.attrs["kind"] = "job"
        elif name == "no trajectory":
            del h5["trajectory"]
        elif name == "no weights":
            del h5["trajectory/weight"]
        elif name == "huge s":
            h5["scalars/s"].resize(10**12, axis=0)
        elif name == "huge theta":
            h5["trajectory/theta"].resize(10**12, axis=0)
            h5["trajectory/s"].resize(10**6, axis=0)
            h5["trajectory/s"][:] = 0.0
        elif name == "huge data":
            del h5["data/x"]
            h5.create_dataset("data/x", shape=(10**7, 10**7), dtype="f8")
        elif name == "short column":
            h5["scalars/loss"].resize(2, axis=0)
        elif name == "other shape":
            del h5["trajectory/weight"]
            h5["trajectory/weight"] = np.ones(99)
        elif name == "bad status":
            h5["run/status"][()] = 77
        elif name == "group for dataset":
            del h5["scalars/loss"]
            h5["scalars"].create_group("loss")


class TestRefused:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is empty"),
            (b"\x89HDF", "is truncated"),
            (b"s,loss\n0,1\n", "is not an HDF5 file"),
            (b"\x89HDF\r\n\x1a\n" + b"\x09" * 200, "superblock"),
            (b"\x89HDF\r\n\x1a\n\x03\x08\x08" + bytes(200), "checksum of its superbl"),
        ],
    )
    def test_not_hdf5(self, path, content, message):
        path.write_bytes(content)
        with pytest.raises(StorageFormatError, match=message):
            open_run(path)

    def test_missing_and_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no file"):
            open_run(tmp_path / "absent.h5")
        with pytest.raises(StorageFormatError, match="is a folder"):
            open_run(tmp_path)

    def test_foreign_hdf5(self, path):
        for libver in ("earliest", "latest"):
            with h5py.File(path, "w", libver=libver) as h5:
                h5["a"] = 1.0
            with pytest.raises(StorageFormatError, match="mfpde"):
                open_run(path)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("newer version", "has format version 2, this mfpde reads up to 1"),
            ("foreign", "not one written by mfpde"),
            ("unknown kind", "is of kind 'job'"),
            ("no trajectory", "/trajectory lacks s, t,"),
            ("no weights", "/trajectory lacks weight"),
            ("huge s", "declares 1000000000000 rows"),
            ("huge theta", "more than the file holds"),
            ("huge data", "/data/x declares the shape"),
            ("short column", "/scalars/loss has 2 of 5 rows"),
            ("other shape", "its scales require"),
            ("bad status", "damaged"),
            ("group for dataset", "damaged"),
        ],
    )
    def test_damaged_structure(self, copy, name, message):
        _damage(copy, name)
        with pytest.raises(StorageFormatError, match=message):
            open_run(copy)

    @pytest.mark.parametrize("part", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    def test_truncated(self, path, finished, part):
        content = finished.read_bytes()
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(StorageFormatError, match="truncated"):
            open_run(path)

    @pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
    def test_truncated_live_file(self, path, tmp_path, part):
        """No row of zeros where the file has ended, as HDF5 would give."""
        with cases.create(path, n=5):
            content = path.read_bytes()
        copy = tmp_path / "copy.h5"
        copy.write_bytes(content[: int(part * len(content))])
        with pytest.raises(StorageFormatError, match=r"truncated|damaged"):
            open_run(copy)

    def test_changed_data_are_seen(self, copy):
        for name, read in (
            ("data/x", lambda run: run.data),
            ("trajectory/t", lambda run: run.t),
            ("trajectory/weight", lambda run: run.weights),
        ):
            with h5py.File(copy, "r+") as h5:
                h5[name][0] += 1.0
            with open_run(copy) as run:
                message = f"checksum of /{name} is wrong"
                with pytest.raises(StorageFormatError, match=message):
                    read(run)
            with h5py.File(copy, "r+") as h5:
                h5[name][0] -= 1.0

    def test_endless_heap_of_strings(self, path, finished):
        """A free object of size 0, for which HDF5 would search for ever."""
        content = bytearray(finished.read_bytes())
        place = end = content.index(b"GCOL")
        end += int.from_bytes(content[place + 8 : place + 16], "little")
        place += 16
        while int.from_bytes(content[place : place + 2], "little") != 0:
            size = int.from_bytes(content[place + 8 : place + 16], "little")
            place += 16 + -(-size // 8) * 8
        assert place < end
        content[place + 8 : place + 16] = bytes(8)
        path.write_bytes(content)
        pytest.importorskip("xarray")
        with open_run(path) as run, pytest.raises(StorageFormatError, match="damaged"):
            # The heap holds which axis has which coordinate.
            [run.to_xarray(group) for group in GROUPS]

    def test_string_of_variable_length(self, copy):
        """Not even tried: its length may be absurd, and HDF5 would make room first."""
        with h5py.File(copy, "r+") as h5:
            del h5["config/toml"]
            h5["config"]["toml"] = "a = 1"
        message = "/config/toml has the type object, which mfpde never writes"
        with pytest.raises(StorageFormatError, match=message):
            open_run(copy)

    def test_changed_bytes(self, path, finished):
        _change_bytes(path, finished, n_trials=60, seed=0)

    @pytest.mark.slow
    def test_many_changed_bytes(self, path, finished):
        _change_bytes(path, finished, n_trials=3000, seed=1)


def _change_bytes(path: Path, finished: Path, n_trials: int, seed: int) -> None:
    """Random bytes outside the recorded numbers: an error or the right data.

    The recorded numbers themselves have no checksum (a filter would, but chunks that
    grow value by value cannot afford one), so they are left out.
    """
    content = finished.read_bytes()
    is_free = np.ones(len(content), dtype=bool)
    with h5py.File(finished, "r") as h5:
        for dataset in datasets(h5).values():
            if dataset.chunks:
                dataset.id.chunk_iter(
                    lambda c: is_free.__setitem__(
                        slice(c.byte_offset, c.byte_offset + c.size), False
                    )
                )
    expected = cases.header()
    places = np.flatnonzero(is_free)
    rng = np.random.default_rng(seed)
    n_errors = 0
    for _ in range(n_trials):
        changed = bytearray(content)
        for place in rng.choice(places, size=rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            with open_run(path) as run:
                assert cases.check(run) == 5
                np.testing.assert_array_equal(run.data["x"], expected.x)
                np.testing.assert_array_equal(run.t, expected.t)
                assert run.config_toml == expected.config_toml
                assert run.description
                assert run.param_names == expected.param_names
        except StorageFormatError:
            n_errors += 1
    # A tenth at least hits something: else the test would look at nothing.
    assert n_errors > n_trials / 10


class TestDiskFull:
    SCRIPT = """
import resource, sys
from pathlib import Path
import storage_cases as cases
from mfpde.storage.hdf5 import rebuild
path, limit, swmr = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "swmr"
rebuild._MAX_RESERVED_ROWS = 20
writer = cases.create(path, swmr=swmr)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
with writer:
    for i in range(100_000):
        try:
            cases.append(writer, i)
        except OSError as error:
            print(error)
            break
    try:
        cases.append(writer, i)
    except OSError as error:
        print(error)
"""

    def _check(self, path: Path, limit: int, mode: str, cause: str) -> None:
        run = _python("-c", self.SCRIPT, path, str(limit), mode)
        assert (run.returncode, run.stderr) == (0, "")
        first, second = run.stdout.splitlines()
        assert first == second
        with open_run(path) as result:
            n = cases.check(result)
            assert n > 3
            assert result.status == "failed"
            assert result.message == first
        last = f"records up to s = {cases.s_of(n - 1):g} are kept"
        before_last = f"records up to s = {cases.s_of(n - 2):g} are kept"
        assert f"{path} could not be written ({cause}). The " in first
        # The write that failed may be one after the last s.
        assert last in first or before_last in first

    @pytest.mark.parametrize("mode", ["swmr", "no-swmr"])
    @pytest.mark.parametrize("limit", [200_000, 203_000, 300_000])
    def test_file_size_limit(self, path, mode, limit):
        self._check(path, limit, mode, os.strerror(errno.EFBIG))

    @pytest.mark.parametrize("mode", ["swmr", "no-swmr"])
    def test_full_file_system(self, tmp_path, mode):
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no permission to mount a small file system")
        try:
            self._check(disk / "run.h5", 0, mode, os.strerror(errno.ENOSPC))
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)


def test_lookup3_against_the_author():
    # Values that lookup3.c prints itself (driver5).
    assert lookup3(b"") == 0xDEADBEEF
    assert lookup3(b"Four score and seven years ago") == 0x17770551


def _python(*arguments: object) -> subprocess.CompletedProcess[str]:
    folder = str(Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": folder}
    command = [sys.executable, "-W", "error", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


class _writing_process:
    """Another process that writes records until it is killed."""

    def __init__(self, path: Path, n: int, mode: str = "swmr") -> None:
        self._command = [sys.executable, cases.__file__, str(path), str(n), mode]

    def __enter__(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline() == "ready\n"
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _wait_for_record(process: subprocess.Popen[str], i: int) -> None:
    while int(process.stdout.readline()) < i:
        pass
