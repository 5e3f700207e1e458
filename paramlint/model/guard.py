"""What a worker puts around somebody else's code: limits on memory, no network, no company at the terminal."""

from __future__ import annotations

import errno
import faulthandler
import ipaddress
import os
import signal
import socket
from typing import Any

#: Read by libraries when they are imported, so set before. One thread each: many pools cost memory and win nothing.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "WANDB_MODE": "disabled",
}
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def environment(allow_network: bool) -> None:
    os.environ.update(_ENVIRONMENT if allow_network else {**_ENVIRONMENT, **_OFFLINE})


def crash_reports() -> None:
    """A crash prints the Python stack, and so does SIGUSR1; to the stderr of now, whatever becomes of it later."""
    stream = os.dup(2)
    faulthandler.enable(file=stream)
    faulthandler.register(signal.SIGUSR1, file=stream, all_threads=False)


def end_with_parent() -> None:
    """The worker is killed when the process that started it dies without a word. Linux only; elsewhere nothing."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
    except (ImportError, OSError, AttributeError):
        pass


def limit_memory(bytes_: int | None) -> None:
    """At most so much data (heap and private mappings; code and files do not count). No core dumps.

    Only the soft limit is set, so that `lift_memory_limit` can make room for the report.
    """
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if bytes_ is not None:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = bytes_ if hard == resource.RLIM_INFINITY else min(bytes_, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def lift_memory_limit() -> None:
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def block_network() -> list[str]:
    """Python's sockets reach this machine only. Returns the list that the hosts of refused attempts are added to."""
    attempts: list[str] = []

    def refused(host: object, port: object = None) -> str:
        name = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
        if name not in attempts:
            attempts.append(name)
        return f"the network is off here: {name}" + (f":{port}" if port else "")

    def outside(sock: socket.socket, address: Any) -> bool:
        return sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0])

    class Refused(socket.gaierror):
        pass

    connect, connect_ex, sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
    getaddrinfo, by_name, by_name_ex = socket.getaddrinfo, socket.gethostbyname, socket.gethostbyname_ex

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if outside(self, address):
            raise OSError(errno.ENETUNREACH, refused(*address[:2]))
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        if outside(self, address):
            refused(*address[:2])
            return errno.ENETUNREACH
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, data: Any, *rest: Any) -> int:
        if outside(self, rest[-1]):
            raise OSError(errno.ENETUNREACH, refused(*rest[-1][:2]))
        return sendto(self, data, *rest)

    def guarded_getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_local(host):
            raise Refused(socket.EAI_FAIL, refused(host, port))
        return getaddrinfo(host, port, *args, **kwargs)

    def guarded_by_name(name: str) -> str:
        if not _is_local(name):
            raise Refused(socket.EAI_FAIL, refused(name))
        return by_name(name)

    def guarded_by_name_ex(name: str) -> Any:
        if not _is_local(name):
            raise Refused(socket.EAI_FAIL, refused(name))
        return by_name_ex(name)

    patches: dict[str, Any] = {
        "connect": guarded_connect,
        "connect_ex": guarded_connect_ex,
        "sendto": guarded_sendto,
    }
    for name, method in patches.items():
        setattr(socket.socket, name, method)
    for name, function in {
        "getaddrinfo": guarded_getaddrinfo,
        "gethostbyname": guarded_by_name,
        "gethostbyname_ex": guarded_by_name_ex,
    }.items():
        setattr(socket, name, function)
    return attempts


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host is None or host in ("", "localhost", "0.0.0.0", "::", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False
