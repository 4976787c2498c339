"""Which files a command reads and writes: clashes, devices, files of others."""

import os
import socket
import stat
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

import mfpde
from mfpde import paths
from mfpde.analysis import export_csv, export_npz
from mfpde.cli import main
from mfpde.commands import SUCCESS, WRONG_CALL
from mfpde.errors import StorageFormatError
from mfpde.paths import Use, check_uses, is_same_file
from mfpde.plotting import save
from mfpde.storage import checkpoint_path, recover

TINY = """
[data]
source = "csv"
path = "points.csv"
target = "value"
target_columns = "y"
[problem.block]
kind = "perceptron"
[grid]
scheme = "euler"
n = 2
[ensemble]
n_particles = 2
[flow]
s_end = 0.1
stepper = "euler"
ds = 0.05
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a configuration and its data, to be in."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = ["a,b,y", *(f"{a:.3f},{b:.3f},{a:.3f}" for a, b in rng.normal(size=(8, 2)))]
    (tmp_path / "points.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "base.toml").write_text(TINY)
    return tmp_path


@pytest.fixture(scope="module")
def run_content(tmp_path_factory):
    """A finished run and its checkpoint, as bytes."""
    path = tmp_path_factory.mktemp("run") / "a.h5"
    x = np.eye(2)
    problem = mfpde.MeanFieldProblem(x, x, mfpde.blocks.Perceptron(2))
    ensemble = mfpde.ParticleEnsemble(np.ones((2, 2, 5)))
    solve(problem, ensemble, path)
    return path.read_bytes(), checkpoint_path(path).read_bytes()


def solve(problem, ensemble, output, **options):
    grid = mfpde.DepthGrid.euler(2)
    return mfpde.solve(problem, grid, ensemble, s_end=0.1, output=output, **options)


@pytest.fixture
def case():
    x = np.eye(2)
    problem = mfpde.MeanFieldProblem(x, x, mfpde.blocks.Perceptron(2))
    return problem, mfpde.ParticleEnsemble(np.ones((2, 2, 5)))


@pytest.fixture
def run_file(folder, run_content):
    (folder / "a.h5").write_bytes(run_content[0])
    (folder / "a.ckpt.h5").write_bytes(run_content[1])
    return folder / "a.h5"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refused(capsys, folder, *arguments):
    """What a command says that is refused and changes no file."""
    before = contents(folder)
    assert main(list(map(str, arguments))) == WRONG_CALL
    assert contents(folder) == before
    return capsys.readouterr().err


CLASHES = {
    "picture is the output": (["--out", "z.png"], "the output and the picture"),
    "named picture is the output": (
        ["--set", "plot.file=./z.h5", "--out", "z.h5"],
        "the output and the picture",
    ),
    "picture is the checkpoint": (
        ["--set", "plot.file=z.ckpt.h5", "--out", "z.h5"],
        "the checkpoint of the output and the picture",
    ),
    "output is the configuration": (
        ["--out", "base.toml", "--overwrite"],
        "the output and the configuration",
    ),
    "output is the data": (
        ["--out", "points.csv", "--overwrite"],
        "the output and `data.path`",
    ),
    "output is a link to the data": (
        ["--out", "link.h5", "--overwrite"],
        "the output and `data.path`",
    ),
    "output is a hard link to the data": (
        ["--out", "hard.h5", "--overwrite"],
        "the output and `data.path`",
    ),
    "output spelt otherwise": (
        ["--out", "sub/../points.csv", "--overwrite"],
        "the output and `data.path`",
    ),
    "output through a linked folder": (
        ["--out", "twin/points.csv", "--overwrite"],
        "the output and `data.path`",
    ),
    "picture is the data": (
        ["--set", "plot.file=points.csv"],
        "the picture and `data.path`",
    ),
    "picture is the configuration": (
        ["--set", "plot.file=base.toml"],
        "the picture and the configuration",
    ),
}


@pytest.mark.parametrize("name", CLASHES)
def test_clashes_of_a_run(name, folder, capsys):
    arguments, message = CLASHES[name]
    (folder / "sub").mkdir()
    (folder / "twin").symlink_to(folder)
    (folder / "link.h5").symlink_to("points.csv")
    os.link(folder / "points.csv", folder / "hard.h5")
    said = refused(capsys, folder, "run", "base.toml", "--quiet", *arguments)
    assert f"{message} are the same file" in said


OTHERS = {
    "text": ("notes.txt", b"notes of mine"),
    "a configuration": ("other.toml", b"# mfpde\n[data]\n"),
    "a table": ("other.csv", b"s,loss\n0,1\n"),
    "an archive": ("other.npz", b"PK\3\4 attributes.npy"),
    "an HDF5 file of another program": ("other.h5", b"\x89HDF\r\n\x1a\n" + b"x" * 99),
}


@pytest.mark.parametrize("name", OTHERS)
def test_overwrite_replaces_files_of_ours_only(name, folder, case, capsys):
    name, content = OTHERS[name]
    (folder / name).write_bytes(content)
    arguments = ("run", "base.toml", "--quiet", "--no-plot", "--out", name)
    said = refused(capsys, folder, *arguments, "--overwrite")
    assert f"{name} exists and was not written by mfpde" in said
    with pytest.raises(FileExistsError, match="was not written by mfpde"):
        solve(*case, folder / name, overwrite=True)
    assert (folder / name).read_bytes() == content


def test_a_checkpoint_that_is_none_is_kept(folder, case):
    (folder / "b.ckpt.h5").write_text("mine")
    with pytest.raises(
        FileExistsError, match=r"b\.ckpt\.h5 exists and was not written"
    ):
        solve(*case, folder / "b.h5")
    assert (folder / "b.ckpt.h5").read_text() == "mine"


@pytest.mark.parametrize("cut", [None, 5000, 0])
def test_overwrite_replaces_runs_also_damaged_ones(cut, run_file, case):
    run_file.write_bytes(run_file.read_bytes()[:cut])
    solve(*case, run_file, overwrite=True)
    with mfpde.open_run(run_file) as run:
        assert run.status == "finished"


def test_pictures_of_the_user_are_kept(folder, run_file, capsys):
    png = b"\x89PNG\r\n\x1a\n" + b"a holiday" * 9
    (folder / "a.png").write_bytes(png)
    said = refused(capsys, folder, "plot", "a.h5")
    assert "a.png exists and was not written by mfpde" in said
    # Under a name that is given, a picture of the same format may go; nothing else.
    said = refused(capsys, folder, "plot", "a.h5", "--out", "points.csv")
    assert "points.csv" in said
    (folder / "text.png").write_text("notes")
    said = refused(capsys, folder, "plot", "a.h5", "--out", "text.png")
    assert "was not written by mfpde" in said
    assert main(["plot", "a.h5", "--out", "a.png"]) == SUCCESS
    assert (folder / "a.png").read_bytes() != png
    # The next one is of ours.
    assert main(["plot", "a.h5"]) == SUCCESS


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_pictures_of_ours_are_known(suffix, tmp_path):
    path = tmp_path / f"b{suffix}"
    save(Figure(figsize=(1, 1)), path)
    paths.check_replaceable(path, "`path`", suffix, is_default=True)
    Figure(figsize=(1, 1)).savefig(path)
    with pytest.raises(FileExistsError, match="was not written by mfpde"):
        paths.check_replaceable(path, "`path`", suffix, is_default=True)
    save(Figure(figsize=(1, 1)), path)


@pytest.mark.parametrize("target", ["a.h5", "a.ckpt.h5"])
def test_a_picture_is_not_its_run(target, folder, run_file, capsys):
    (folder / "link.png").symlink_to(target)
    said = refused(capsys, folder, "plot", "a.h5", "--out", "link.png")
    assert "are the same file" in said
    (folder / "a.png").symlink_to(target)
    said = refused(capsys, folder, "resume", "a.h5", "--until", "0.2")
    assert "are the same file" in said


def test_a_run_without_suffix_has_a_checkpoint_of_its_own(folder, case):
    solve(*case, folder / "run.h5")
    before = checkpoint_path(folder / "run.h5").read_bytes()
    solve(*case, folder / "run")
    assert checkpoint_path(folder / "run") == folder / "run.ckpt"
    assert checkpoint_path(folder / "run.h5").read_bytes() == before
    for name in ("run", "run.h5"):
        assert mfpde.resume(folder / name, s_end=0.2).s[-1] == 0.2
    with pytest.raises(ValueError, match="must not end in"):
        solve(*case, folder / "other.ckpt")


@pytest.fixture
def odd_places(folder):
    """Things that are no files, by name."""
    os.mkfifo(folder / "pipe.h5")
    (folder / "folder.h5").mkdir()
    place = socket.socket(socket.AF_UNIX)
    place.bind("socket.h5")
    (folder / "device.h5").symlink_to("/dev/null")
    yield ["pipe.h5", "folder.h5", "socket.h5", "device.h5"]
    place.close()


def test_what_is_no_file_is_not_written(odd_places, folder, case, capsys):
    for name in odd_places:
        kind = stat.S_IFMT((folder / name).stat().st_mode)
        for flag in ([], ["--overwrite"]):
            arguments = ["run", "base.toml", "--quiet", "--no-plot", "--out", name]
            assert "must be a file" in refused(capsys, folder, *arguments, *flag)
        picture = name.replace(".h5", ".png")
        (folder / picture).symlink_to(name)
        arguments = ["run", "base.toml", "--quiet", "--set", f"plot.file={picture}"]
        assert "must be a file" in refused(capsys, folder, *arguments)
        with pytest.raises((FileExistsError, IsADirectoryError), match="be a file"):
            solve(*case, folder / name, overwrite=True)
        assert stat.S_IFMT((folder / name).stat().st_mode) == kind


def test_what_is_no_file_is_not_read(odd_places, folder, run_file, capsys):
    """None of these calls waits for ever."""
    for name in odd_places:
        with pytest.raises(StorageFormatError, match="not an mfpde run"):
            mfpde.open_run(name)
        with pytest.raises(StorageFormatError, match="not an mfpde run"):
            recover(name)
        for command in ("resume", "info", "plot", "recover"):
            assert "not an mfpde run" in refused(capsys, folder, command, name)
        assert name in refused(capsys, folder, "run", name)
        assert name in refused(capsys, folder, "study", f"./{name}")
        arguments = ("run", "base.toml", "--set", f"data.path={name}")
        assert name in refused(capsys, folder, *arguments)
    (folder / "a.ckpt.h5").unlink()
    os.mkfifo(folder / "a.ckpt.h5")
    said = refused(capsys, folder, "resume", "a.h5", "--until", "0.2")
    assert "a.ckpt.h5 is a named pipe" in said


def test_parts_left_behind_are_replaced_not_followed(folder, case):
    (folder / "mine.txt").write_text("mine")
    (folder / ".b.h5.part").symlink_to("mine.txt")
    os.mkfifo(folder / ".b.ckpt.h5.part")
    solve(*case, folder / "b.h5")
    assert (folder / "mine.txt").read_text() == "mine"
    assert not (folder / ".b.h5.part").exists()


def test_exports(folder, run_file):
    for export, name in ((export_csv, "t.csv"), (export_npz, "t.npz")):
        export(run_file, name)
        export(run_file, name, overwrite=True)
    np.savez(folder / "mine.npz", a=np.zeros(2))
    before = contents(folder)
    for export, name in ((export_csv, "points.csv"), (export_npz, "mine.npz")):
        with pytest.raises(FileExistsError, match="was not written by mfpde"):
            export(run_file, name, overwrite=True)
    assert contents(folder) == before


def test_a_study_does_not_write_over_its_configuration(folder, capsys):
    text = 'study = "exact"\n'
    (folder / "out").mkdir()
    (folder / "out" / "report.html").write_text(text)
    (folder / "conf.toml").symlink_to("out/report.html")
    status = main(["study", "conf.toml", "--out", "out"])
    assert status == WRONG_CALL
    assert "are the same file" in capsys.readouterr().err
    assert (folder / "out" / "report.html").read_text() == text


def test_folders_that_ignore_case(tmp_path, monkeypatch):
    written = Use("the output", tmp_path / "Run.h5", is_written=True)
    other = Use("the picture", tmp_path / "rUN.h5", is_written=True)
    check_uses([written, other])
    monkeypatch.setattr(paths, "_ignores_case", lambda folder: True)
    with pytest.raises(ValueError, match="the output and the picture are the same"):
        check_uses([written, other])


def test_files_that_are_only_read_may_be_the_same(tmp_path):
    check_uses([Use("a", tmp_path / "a"), Use("b", tmp_path / "a")])
    assert is_same_file(tmp_path / "a", tmp_path / "." / "a")
    assert not is_same_file(tmp_path / "a", tmp_path / "b")
    assert not is_same_file(tmp_path / "no" / "a", tmp_path / "nowhere" / "a")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_device_stays_a_device(folder):
    arguments = [sys.executable, "-m", "mfpde.cli"]
    code = "import sys; from mfpde.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", code, "run", "base.toml", "--out", "/dev/full"]
    done = subprocess.run(
        [*arguments, "--overwrite"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == WRONG_CALL
    assert "/dev/full is a device" in done.stderr
