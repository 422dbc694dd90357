"""Config drives: the ISO 9660 image from which a guest without network reads who it is.

cloud-init and its kin look for a file system labelled `config-2`. Built in memory by pycdlib, in a thread; both the
real and the fake disks make the very same image. Long names are told by Rock Ridge (Linux) and Joliet (Windows).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

LABEL = "config-2"


def write(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the image of `files` (relative POSIX path -> content) to `path`."""
    import pycdlib  # loading it takes a while that only the first config drive should pay

    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    try:
        plain: dict[PurePosixPath, str] = {PurePosixPath("/"): ""}
        for name in sorted(files):
            full = PurePosixPath("/") / name
            for folder in reversed(full.parents):
                if folder not in plain:
                    plain[folder] = f"{plain[folder.parent]}/D{len(plain):07}"
                    image.add_directory(plain[folder], rr_name=folder.name, joliet_path=str(folder))
            plain[full] = f"{plain[full.parent]}/F{len(plain):07}.;1"
            content = files[name]
            image.add_fp(io.BytesIO(content), len(content), plain[full], rr_name=full.name, joliet_path=str(full))
        image.write(str(path))
    finally:
        image.close()
