"""Arrays as .npy files: written whole, read by mapping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twostage.bundle.errors import BundleCorrupt


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Writes an array to ``path`` in .npy format, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def map_array(path: Path, *, shape: tuple[int | None, ...] | None = None) -> NDArray[Any]:
    """Maps an .npy file read-only; pages are shared between processes and read when touched.

    Args:
        path: The file.
        shape: The expected shape, None where any size fits.

    Raises:
        BundleCorrupt: The file is absent, no .npy file, or of another shape.
    """
    try:
        # A plain ndarray over the mapping: numpy's memmap subclass makes every small slice slower.
        array: NDArray[Any] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise BundleCorrupt(path, "an array", "no file") from None
    except (ValueError, EOFError, OSError) as error:
        if path.is_file() and _is_empty_array(path):
            array = np.load(path, allow_pickle=False)
        else:
            raise BundleCorrupt(path, "an .npy array", str(error)) from error
    if shape is not None and (
        len(shape) != array.ndim or any(e is not None and e != n for e, n in zip(shape, array.shape, strict=True))
    ):
        raise BundleCorrupt(path, f"shape {shape}", f"shape {array.shape}")
    return array


def _is_empty_array(path: Path) -> bool:
    """An array without elements cannot be mapped, but is a valid file."""
    try:
        return bool(np.load(path, allow_pickle=False).size == 0)
    except (ValueError, EOFError, OSError):
        return False
