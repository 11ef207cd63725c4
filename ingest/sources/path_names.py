"""What a path says: subject, session and modality, as BIDS and DANDI write them into names."""

from __future__ import annotations

import re

_MODALITIES = frozenset(("ecephys", "icephys", "ophys", "behavior", "ogen", "image", "eeg", "ieeg", "meg", "ecog"))


def entity(path: str, key: str) -> str:
    """The value of an entity such as ``sub`` or ``ses``; of the file's name first, then of its folders; or ``''``.

    Example:
        >>> path = "sub-Chewie/sub-Chewie_ses-CO-20131003_behavior+ecephys.nwb"
        >>> entity(path, "sub"), entity(path, "ses"), entity("x.nwb", "sub")
        ('Chewie', 'CO-20131003', '')
    """
    for part in reversed(path.split("/")):
        found = re.search(rf"(?:^|_){key}-([^_/]+?)(?=_|\.nwb|\.zarr|$)", part)
        if found:
            return found.group(1)
    return ""


def modalities(path: str) -> tuple[str, ...]:
    """The modalities that a file's name ends in.

    Example:
        >>> modalities("sub-Chewie/sub-Chewie_ses-CO-20131003_behavior+ecephys.nwb")
        ('behavior', 'ecephys')
        >>> modalities("sub-a_x.nwb")
        ()
    """
    stem = re.sub(r"(\.nwb)?(\.zarr)?$", "", path.rpartition("/")[2])
    words = stem.rpartition("_")[2].split("+")
    return tuple(words) if all(word in _MODALITIES for word in words) else ()
