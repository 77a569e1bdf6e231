"""Downloads that are whole and checked, or not there at all."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import stat
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

from jko.files import atomic_path

_CHUNK = 1 << 20
_REPORT_EVERY = 16 * _CHUNK
_AGENT = {"User-Agent": "jko"}


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reachable(url: str, timeout: float = 3.0) -> bool:
    """Whether the host of ``url`` answers an HTTP request, through the proxy if there is one.

    Any answer counts but a gateway's report that the host is away. The whole question, with the
    look-up of the name, takes at most ``timeout`` seconds.
    """
    request = urllib.request.Request(_http_url(url), method="HEAD", headers=_AGENT)
    answers: list[int] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                answers.append(response.status)
        except urllib.error.HTTPError as error:
            with error:
                answers.append(error.code)
        except (OSError, http.client.HTTPException):
            answers.append(503)

    # A look-up of a name has no time limit of its own, so it is left behind when time is up.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return bool(answers) and answers[0] not in (502, 503, 504)


def fetch(
    url: str,
    path: str | Path,
    sha256: str | None,
    report: Callable[[str], None],
    check: Callable[[Path], None] | None = None,
    timeout: float = 60.0,
) -> None:
    """Download ``url`` to ``path``: the whole file under its name, or no file and an error.

    Args:
        sha256: the digest that the file must have (hexadecimal); None if none is published.
        report: called with a line per 16 MiB and one at the end: bytes, and their share.
        check: called with the downloaded file before it gets its name; may raise ValueError.
        timeout: seconds that the host may be silent.

    Raises:
        ValueError: the URL is not http(s), the host does not answer, answers with an error or stops
            before the end, or the file has another digest.
    """
    request = urllib.request.Request(_http_url(url), headers=_AGENT)
    with atomic_path(path) as temporary:
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                found = _stream(response, temporary, url, report)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(
                    f"{url} answered {error.code} {error.reason}; 200 is needed"
                ) from error
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise ValueError(
                f"{url} cannot be reached ({reason}); connect this machine, or download the file "
                "on another one and name its path in the config"
            ) from error
        except http.client.HTTPException as error:
            raise ValueError(f"{url} broke off its answer ({error!r}); try again") from error
        if sha256 is not None and found != sha256.lower():
            raise ValueError(
                f"{url} gave a file with sha256 {found}, but {sha256.lower()} is needed; "
                "nothing was kept"
            )
        if check is not None:
            try:
                check(temporary)
            except ValueError as error:
                raise ValueError(f"{url} gave the wrong file: {error}; nothing was kept") from error
    report(f"{path}: sha256 {found}")


def _stream(
    response: http.client.HTTPResponse, path: Path, url: str, report: Callable[[str], None]
) -> str:
    """Copy the body to ``path``, return its SHA-256; ValueError if shorter than announced."""
    length = response.headers.get("Content-Length")
    total = int(length) if length is not None and length.isdigit() else None
    digest, done, reported = hashlib.sha256(), 0, 0
    with open(path, "wb") as file:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if done - reported >= _REPORT_EVERY:
                reported = done
                report(f"{url}: {_progress(done, total)}")
    if total is not None and done != total:
        raise ValueError(f"{url} stopped after {done} of {total} bytes; nothing was kept")
    report(f"{url}: {_progress(done, total)}")
    return digest.hexdigest()


def _progress(done: int, total: int | None) -> str:
    share = "" if not total else f" of {total} ({done / total:.0%})"
    return f"{done} bytes{share}"


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is not a web address; it must begin with http:// or https://")
    return url


def unzip(archive: str | Path, folder: str | Path) -> None:
    """Extract ``archive`` as the new ``folder``: all of it, or nothing and an error.

    Raises:
        ValueError: not a zip file, a damaged or truncated one, one with a password, one whose
            members point outside the folder or are links, or ``folder`` already holds files.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"{folder} already holds files; {archive} must be extracted to a new folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    inside = temporary / "all"
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                _check_member(archive, member)
            inside.mkdir()
            file.extractall(inside)
        inside.replace(folder)
    except FileNotFoundError as error:
        raise ValueError(f"{archive}: there is no such file") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{archive} is not a whole zip file ({error}); fetch it again") from error
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"{archive} cannot be extracted ({error}); a plain zip is needed"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_member(archive: str | Path, member: zipfile.ZipInfo) -> None:
    """Raise ValueError if a member would be written outside the folder, or is a link."""
    name = member.filename
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or PureWindowsPath(name).drive:
        raise ValueError(
            f"{archive} has a member {name!r} that points outside its folder; nothing was extracted"
        )
    mode = member.external_attr >> 16
    if mode and stat.S_ISLNK(mode):
        raise ValueError(f"{archive} has a member {name!r} that is a link; nothing was extracted")
