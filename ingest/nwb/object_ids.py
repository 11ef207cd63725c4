"""Ids of NWB objects that follow from their place, so that equal content gives equal files."""

from __future__ import annotations

import uuid

from pynwb import NWBFile


def fix_object_ids(nwb: NWBFile) -> None:
    """Give every object an id made from its place in the file; hdmf draws random ones and offers no setter."""
    for item in [nwb, *nwb.all_children()]:
        place = [item.name]
        parent = item.parent
        while parent is not None:
            place.append(parent.name)
            parent = parent.parent
        item._AbstractContainer__object_id = str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join([nwb.identifier, *place])))
