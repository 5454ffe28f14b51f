"""Ray for `heldout.studies.ray_engine`: one of our own that nobody else can hear, or a cluster that asks for a token.

A cluster of Ray runs what anybody who reaches it asks for. So ours listens on the loopback interface only, with a token
that only this user can read, and one that takes strangers is refused.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import loky

from heldout.check import InputError

_PREFIX = "heldout-ray-"
_OWNER = "owner"
_KNOCK = 5.0  # seconds
_PATIENCE = 30.0  # seconds in which a cluster must answer
_LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"
}  # on every system: bind to 127.0.0.1, not to all interfaces
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
_ASK = """
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1]).internal_kv_keys(b"", namespace=None, timeout=float(sys.argv[2]))
"""


@contextmanager
def open_ray(*, address: str | None = None, workers: int | None = None) -> Iterator[Any]:
    """Connect to Ray, or start one on this machine, until the block ends.

    Parameters
    ----------
    address : str, optional
        ``host:port`` of a cluster that was started with a token; the token is where Ray looks for it (``RAY_AUTH_TOKEN``,
        ``RAY_AUTH_TOKEN_PATH`` or ``~/.ray/auth_token``). By default Ray is started here, on the loopback interface, without its
        dashboard, with a new token in a file that only this user can read, and ended with the block. What a killed process
        left of an earlier one is ended first.
    workers : int, optional
        CPUs of the one that is started here; by default as many as this process may use.

    Yields
    ------
    module
        ``ray``, connected.

    Raises
    ------
    InputError
        If Ray is not installed, there is no such cluster, it does not take our token, or it takes anybody.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment({**_QUIET, "RAY_AUTH_MODE": "token"}))
        if address is None:
            folder = _own_folder(stack)
            stack.enter_context(_environment({**_LOOPBACK, "RAY_AUTH_TOKEN_PATH": str(folder / "token")}))
            stack.enter_context(_without("RAY_AUTH_TOKEN", "RAY_ADDRESS"))
        else:
            knock(address)
            _refuse_strangers(address)
            _check_token()
        ray = _imported()
        if ray.is_initialized():
            raise InputError(
                "this process is connected to Ray already: end that with ray.shutdown() before, or run in another process"
            )
        where: dict[str, Any] = {"address": address}
        if address is None:
            where = {"address": "local", "num_cpus": workers or loky.cpu_count(), "include_dashboard": False}
            where |= {"_temp_dir": str(folder / "ray")}
            # Where Ray was imported before, it has read this setting already.
            stack.enter_context(patch.object(ray._private.ray_constants, "ENABLE_RAY_CLUSTER", new=False))
        # What this process has read of mode and token before is not for this cluster.
        ray._raylet.Config.initialize("")
        ray._raylet.AuthenticationTokenLoader.instance().reset_cache()
        stack.callback(ray.shutdown)
        try:
            ray.init(**where, configure_logging=False, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            said = str(error).strip().splitlines()[0]
            raise InputError(
                f"Ray at {address or 'this machine'} cannot be used: {said}; check the address, and that the token is its own"
            ) from error
        yield ray


def knock(address: str) -> None:
    """Raise `InputError` if nothing answers there.

    Parameters
    ----------
    address : str
        ``host:port``.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"the address of a Ray cluster must be host:port, got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster answers at {address}: correct the address, start one there, or leave it out to use this machine"
        ) from error


def _check_token() -> None:
    own = os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token")
    if not os.environ.get("RAY_AUTH_TOKEN") and not Path(own).is_file():
        raise InputError(
            f"a Ray cluster must be shown its token, but there is none in {own}: set RAY_AUTH_TOKEN_PATH to the file that holds it"
        )


def _imported() -> Any:
    try:
        import ray  # noqa: PLC0415 - needs the extra `ray`
    except ImportError as error:
        raise InputError("the engine ray needs the package ray: pip install 'heldout[ray]'") from error
    return ray


def _own_folder(stack: ExitStack) -> Path:
    """A private folder with a token and the number of this process, that goes with the stack."""
    end_orphans()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))  # 0700
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    (folder / _OWNER).write_text(str(os.getpid()))
    with os.fdopen(os.open(folder / "token", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return folder


def end_orphans() -> int:
    """End what killed processes of this user left of Ray on this machine, and remove its files.

    Returns
    -------
    int
        Processes that were ended.
    """
    ended = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            owner = int((folder / _OWNER).read_text())
            if folder.stat().st_uid != os.getuid() or _lives(owner):
                continue
        except (OSError, ValueError):
            continue
        left = _processes_of(folder)
        for number in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        ended += len(left)
        shutil.rmtree(folder, ignore_errors=True)
    return ended


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _processes_of(folder: Path) -> list[int]:
    """Processes that were started with files of a folder, or have one open: a title that Ray gives may hide the first."""
    found, inside = [], f"{folder}{os.sep}"
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            said = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
            opened = (str(entry.readlink()) for entry in (place / "fd").iterdir())
            if int(place.name) != os.getpid() and (
                os.fsencode(inside) in said or any(name.startswith(inside) for name in opened)
            ):
                found.append(int(place.name))
    return found


def _refuse_strangers(address: str) -> None:
    """Ask without a token: a cluster that answers would answer anybody."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    asked = subprocess.run(
        [sys.executable, "-c", _ASK, address, str(_PATIENCE)],
        env=bare | {"RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=4 * _PATIENCE,
        check=False,
    )
    if asked.returncode == 0:
        raise InputError(
            f"the Ray cluster at {address} takes commands from anybody who reaches it: start it with RAY_AUTH_MODE=token and a "
            "token (docs/cluster.md)"
        )


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _without(*names: str) -> Iterator[None]:
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)
