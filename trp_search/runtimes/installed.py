"""Whether the packages of an extra are there."""

from __future__ import annotations

import importlib.util

from trp_search.errors import InputError


def check_installed(extra: str, *packages: str) -> None:
    """Raises InputError, with the command that installs them, where a package is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        wanted = f"pip install 'trp_search[{extra}]'"
        raise InputError(f"{', '.join(missing)}: not installed; {extra} needs  {wanted}")
