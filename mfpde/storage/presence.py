"""Who writes a file: an operating-system lock, a heartbeat, and where the writer runs.

The lock is on a file of its own, .NAME.lock: HDF5 locks the run itself. The kernel
drops it however the writer ends, and it holds across containers of one machine. Other
machines, and file systems without locks, have to go by the heartbeat: the writer
stamps the time into the file every few seconds.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py

from mfpde.storage.hdf5.files import process_start, real_path
from mfpde.storage.texts import line_of

try:
    import fcntl
except ImportError:  # Windows, where files are only read
    fcntl = None

STATUS = ("running", "finished", "interrupted", "failed")
# A writer that cannot be looked up counts as alive while its last sign is younger.
FOREIGN_WRITER_S = 60.0
HEARTBEAT_S = 10.0
# A link or a pipe that stands in the place of the lock is not followed.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def boot_id() -> str:
    """Name of this machine since it was started; "" where the system has none."""
    with contextlib.suppress(OSError):
        path = Path("/proc/sys/kernel/random/boot_id")
        return path.read_text(encoding="ascii").strip()
    return ""


def pid_namespace() -> str:
    """Name of the set of processes that a process number belongs to, or ""."""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def lock_path(path: Path) -> Path:
    """The file whose lock the writer of the run at `path` holds."""
    path = real_path(path)
    return path.with_name(f".{path.name}.lock")


class WriterLock:
    """The lock of the writer of a run, held until `release` or the end of the process.

    Attributes
    ----------
    is_held : bool
        False where the file system or the system has no locks.
    """

    def __init__(self, path: Path) -> None:
        self._path = lock_path(path)
        self._descriptor = -1
        self.is_held = False

    def acquire(self) -> bool:
        """Take the lock; False if another writer has it."""
        if fcntl is None:
            return True
        while True:
            try:
                descriptor = os.open(self._path, _FLAGS | os.O_CREAT, 0o666)
            except OSError:
                # Left by another user, or no file: as if there were no locks.
                return True
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            except OSError:
                # No locks here: the heartbeat has to do.
                os.close(descriptor)
                self._path.unlink(missing_ok=True)
                return True
            if _is_at(descriptor, self._path):
                self._descriptor, self.is_held = descriptor, True
                return True
            # The writer before has just removed the file.
            os.close(descriptor)

    def release(self) -> None:
        """Give the lock up, and remove its file; a second call does nothing."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
        self._descriptor, self.is_held = -1, False

    @contextlib.contextmanager
    def released_after_errors(self) -> Iterator[None]:
        """Release it if the block ends with an error."""
        try:
            yield
        except BaseException:
            self.release()
            raise


def take_lock(path: Path, action: str) -> WriterLock:
    """The lock of the writer of a run, taken; OSError if another writer has it."""
    lock = WriterLock(path)
    if not lock.acquire():
        raise OSError(
            f"{path} cannot be {action}: another process is writing it. Stop it or "
            "wait until it has ended."
        )
    return lock


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether a descriptor is that of the file which stands at `path` now."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def probe(path: Path) -> bool | None:
    """Whether a writer holds the lock of the run at `path`; None if there is none."""
    try:
        descriptor = os.open(lock_path(path), _FLAGS)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, AttributeError):
        return None
    else:
        return False
    finally:
        os.close(descriptor)


class Heartbeat:
    """Stamps the time into a file: when called, and every few seconds by itself.

    Without HDF5, which is busy with something else perhaps. The thread ends with
    `end`, or with the process.
    """

    def __init__(self) -> None:
        self._descriptor = -1
        self._place = 0
        self._turn = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def move(self, path: Path, offsets: Mapping[str, int]) -> None:
        """Go to another file, with `layout.field_offsets`, and enter its inode."""
        with self._turn:
            self._close()
            self._descriptor = os.open(path, os.O_WRONLY)
            self._place = offsets["last_record_unix"]
            inode = struct.pack("<q", os.fstat(self._descriptor).st_ino)
            os.pwrite(self._descriptor, inode, offsets["inode"])
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="mfpde heartbeat", daemon=True
            )
            self._thread.start()

    def beat(self) -> None:
        """Enter the time."""
        with self._turn:
            if self._descriptor >= 0:
                now = struct.pack("<d", time.time())
                os.pwrite(self._descriptor, now, self._place)

    def end(self) -> None:
        """Stop; a second call does nothing."""
        self._ended.set()
        with self._turn:
            self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _run(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            # What is wrong with the disk the next record will say.
            with contextlib.suppress(OSError):
                self.beat()


@dataclass(frozen=True, slots=True)
class WriterState:
    """What group /run says of the process that writes the file.

    Attributes
    ----------
    path : Path
        The file.
    status, message : str
        `status` is one of `STATUS`.
    pid, start : int
        Its number and when it started, see `files.process_start`.
    host, boot, namespace : str
        The machine, its start, and the set of processes that `pid` belongs to.
    inode : int
        Of the file that it writes; a copy has another. 0 if not known.
    last_record_unix : float
        Time of its last sign of life, seconds since 1970.
    """

    path: Path
    status: str
    message: str
    pid: int
    start: int
    host: str
    boot: str
    namespace: str
    inode: int
    last_record_unix: float

    @property
    def is_here(self) -> bool:
        """Whether the writer runs, or ran, where its number means something."""
        here = socket.gethostname(), boot_id(), pid_namespace()
        return (self.host, self.boot, self.namespace) == here

    @property
    def is_this_process(self) -> bool:
        """Whether this very process writes the file."""
        return self.is_here and self.pid == os.getpid()

    @property
    def is_near(self) -> bool:
        """Whether the writer runs on this machine, perhaps in another container."""
        is_near = bool(self.boot) and self.boot == boot_id()
        return self.is_here or is_near

    @property
    def is_copy(self) -> bool:
        """Whether the file is not the one that the writer writes."""
        with contextlib.suppress(OSError):
            return self.inode > 0 and self.inode != os.stat(self.path).st_ino
        return False

    @property
    def is_alive(self) -> bool:
        """Whether the file must be taken as being written at this moment."""
        if self.status != "running":
            return False
        is_locked = probe(self.path)
        if is_locked:
            return True
        if self.is_near and self.host == socket.gethostname() and self.is_copy:
            return False
        if self.is_here:
            start = process_start(self.pid)
            is_same = start == self.start or -1 in (start, self.start)
            return start is not None and is_same
        if self.is_near and is_locked is False and not self.is_copy:
            # The lock was left by this writer, and the kernel has dropped it.
            return False
        return time.time() - self.last_record_unix < FOREIGN_WRITER_S

    @property
    def is_killed(self) -> bool:
        """Whether the writer is known to have ended without saying so."""
        return self.status == "running" and self.is_near and not self.is_alive


def read_writer_state(h5: h5py.File, path: str | os.PathLike[str]) -> WriterState:
    """Read group /run of the open file at `path`."""
    group = h5["run"]
    texts = ("message", "host", "boot_id", "pid_namespace")
    message, host, boot, namespace = (line_of(group[name][()]) for name in texts)
    return WriterState(
        path=Path(path),
        status=STATUS[int(group["status"][()])],
        message=message,
        pid=int(group["pid"][()]),
        start=int(group["pid"].attrs["process_start"]),
        host=host,
        boot=boot,
        namespace=namespace,
        inode=int(group["inode"][()]),
        last_record_unix=float(group["last_record_unix"][()]),
    )
