"""Map laboratories' names of brain regions to an atlas."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from foundation.common.settings.resources import config_folder
from ingest.recipe.name_patterns import matches
from ingest.recipe.recipe_rules import RegionRules

_MOUSE = re.compile(r".*\b(mus musculus|ncbitaxon_10090)\b.*|((house|laboratory|lab) )?mouse", re.IGNORECASE)
_SIDE = re.compile(
    r"^(left|right|bilateral|lh|rh|l|r)[ _.-]+|[ _.-]+\(?(left|right|bilateral|lh|rh|l|r)\)?$", re.IGNORECASE
)
_LAYER = re.compile(r"[ _-]*(layer|lamina|l)?[ _-]*(1|2|2/3|3|4|5|5[ab]|5/6|6|6[ab])$", re.IGNORECASE)
# Common aliases of atlas structures.
_ALIASES = {
    "VISp": ["v1", "primary visual cortex"],
    "VISl": ["vislm"],
    "SSp": ["s1", "primary somatosensory cortex"],
    "SSs": ["s2", "secondary somatosensory cortex"],
    "SSp-bfd": ["barrel (cortex|field)", "s1bf", "vs1", "wbc"],
    "MOp": ["m1", "primary motor cortex"],
    "MOs": ["m2", "alm", "secondary motor cortex", "anterior(-| )?lateral motor( cortex)?"],
    "AUDp": ["a1", "primary auditory cortex"],
    "ACA": ["acc", "anterior cingulate( cortex)?"],
    "ORB": ["ofc", "orbitofrontal cortex"],
    "RSP": ["rsc", "retrosplenial cortex"],
    "PTLp": ["ppc", "posterior parietal cortex"],
    "ENTm": ["mec", "medial entorhinal cortex"],
    "ENTl": ["lec", "lateral entorhinal cortex"],
    "HPF": ["hippocampal formation"],
    "HIP": ["hippocampus", "hpc", "hippocampal region"],
    "CA1": ["[dv]ca1", "(dorsal|ventral) ca1", "ca1 ?(so|sp|sr|slm)", "hippocampus ca1", "ca1 hippocampus"],
    "CA3": ["[dv]ca3", "(dorsal|ventral) ca3", "hippocampus ca3"],
    "DG": ["dentate( gyrus)?"],
    "POST": ["pos", "posub", "post-?subiculum", "dorsal presubiculum"],
    "AD": ["adn", "atn-?ad", "anterodorsal( thalamic)? nucleus", "antero-dorsal( thalamic)? nucleus"],
    "LGd": ["d?lgn", "lgnd", "dorsal lateral geniculate( nucleus)?"],
    "CP": ["caudate[ -]?putamen", "dorsal striatum", "caudo-?putamen"],
    "ACB": ["nac", "nacc", "nucleus accumbens"],
    "TH": ["thalamus"],
    "HY": ["hypothalamus"],
    "MB": ["midbrain"],
    "CB": ["cerebellum"],
    "SC": ["superior colliculus"],
    "IC": ["inferior colliculus"],
    "CTX": ["cortex", "cerebral cortex"],
    "OLF": ["olfactory areas"],
    "MOB": ["olfactory bulb", "ob"],
}


@dataclass(frozen=True)
class Structure:
    """One structure of an atlas.

    Args:
        acronym: its short name, for example ``VISp``.
        name: its full name.
        id: its number in the ontology.
        parent_id: the number of the structure that it is part of; None for the root.
    """

    acronym: str
    name: str
    id: int
    parent_id: int | None


class Atlas:
    """Structures of a brain atlas by any of their names.

    Example:
        >>> atlas = allen_ccf()
        >>> atlas.find("VISp5").acronym, atlas.find("left CA1").id, atlas.find("moon")
        ('VISp', 382, None)
        >>> [parent.acronym for parent in atlas.parents(atlas.find("VISp"))]
        ['VIS', 'Isocortex', 'CTXpl', 'CTX', 'CH', 'grey', 'root']
    """

    def __init__(self, structures: list[Structure], aliases: dict[str, list[str]] | None = None) -> None:
        self._by_id = {one.id: one for one in structures}
        self._by_acronym = {one.acronym: one for one in structures}
        folded = Counter(one.acronym.lower() for one in structures)
        self._by_folded = {one.acronym.lower(): one for one in structures if folded[one.acronym.lower()] == 1}
        self._by_name = {_plain_name(one.name): one for one in structures}
        self._aliases = aliases or {}
        self._layered = {one.parent_id for one in structures if self._is_layer(one)}

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, text: str, names: dict[str, list[str]] | None = None) -> Structure | None:
        """Return the structure that a text names, without its layer; None if unknown.

        Args:
            text: an acronym, a name, a usual alias; sides (``left``, ``_R``) and layers are removed.
            names: acronym -> expressions for texts that mean it; they come first.
        """
        text = " ".join(text.split())
        for acronym, patterns in (names or {}).items():
            if matches(patterns, text):
                return self._by_acronym.get(acronym)
        without_side = _SIDE.sub("", text)
        for candidate in dict.fromkeys([text, without_side]):
            found = self._named(candidate)
            if found is not None:
                return self._whole(found)
        trunk = _LAYER.sub("", without_side)
        found = self._named(trunk) if trunk and trunk != without_side else None
        return found if found is not None and found.id in self._layered else None

    def parents(self, structure: Structure) -> list[Structure]:
        """Return the ancestors of a structure, nearest first."""
        found: list[Structure] = []
        while structure.parent_id is not None:
            structure = self._by_id[structure.parent_id]
            found.append(structure)
        return found

    def __getitem__(self, acronym: str) -> Structure:
        return self._by_acronym[acronym]

    def _named(self, text: str) -> Structure | None:
        if text in self._by_acronym:
            return self._by_acronym[text]
        if (found := self._by_name.get(_plain_name(text))) is not None:
            return found
        for acronym, patterns in self._aliases.items():
            if matches(patterns, text):
                return self._by_acronym[acronym]
        return self._by_folded.get(text.lower())

    def _whole(self, structure: Structure) -> Structure:
        """Return the parent of a layer, or the structure itself."""
        while self._is_layer(structure) and structure.parent_id is not None:
            structure = self._by_id[structure.parent_id]
        return structure

    def _is_layer(self, structure: Structure) -> bool:
        parent = self._by_id.get(structure.parent_id or 0)
        if parent is None or "layer" not in structure.name.lower():
            return False
        return _plain_name(structure.name).startswith(_plain_name(parent.name))


def _plain_name(name: str) -> str:
    return " ".join(name.lower().replace(",", " ").split())


@lru_cache(maxsize=1)
def allen_ccf() -> Atlas:
    """Return the structures of the Allen Mouse Brain Common Coordinate Framework (configs/regions/allen_ccf.csv)."""
    with (config_folder() / "regions" / "allen_ccf.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            Structure(row["acronym"], row["name"], int(row["id"]), int(row["parent_id"]) if row["parent_id"] else None)
            for row in csv.DictReader(file)
        ]
    return Atlas(rows, _ALIASES)


def atlas_for(rules: RegionRules, species: str) -> Atlas | None:
    """Return the recipe's atlas; ``auto`` gives the mouse atlas for mice and None for other animals."""
    if rules.atlas == "none" or (rules.atlas == "auto" and not _MOUSE.fullmatch(species.strip())):
        return None
    return allen_ccf()
