"""Names of brain regions in the words of the Allen CCF."""

import numpy as np
import pytest
from pynwb.file import Subject

from foundation.store import Units
from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import read_nwb
from ingest.nwb.spikes.unit_columns import with_regions
from ingest.recipe.recipe_rules import RegionRules
from ingest.recipe.recipes import load_recipe
from ingest.recipe.regions import allen_ccf, atlas_for

TRAINS = [[0.5], [1.0], [2.0], [3.0]]
# Numbers of the ontology as papers and tools have them, written down apart from the table.
KNOWN = {
    "root": 997, "grey": 8, "CTX": 688, "Isocortex": 315, "VISp": 385, "MOp": 985, "MOs": 993, "SSp": 322, "HPF": 1089,
    "CA1": 382, "CA3": 463, "DG": 726, "SUB": 502, "TH": 549, "LGd": 170, "LP": 218, "HY": 1097, "MB": 313, "CB": 512,
    "CP": 672, "ACB": 56, "VISp5": 778, "VISp4": 721, "VISp6a": 33, "VISp2/3": 821, "AUDp": 1002, "ACA": 31,
}  # fmt: skip


@pytest.mark.parametrize("acronym", KNOWN)
def test_ids_of_the_ontology(acronym):
    assert allen_ccf()[acronym].id == KNOWN[acronym]


def test_every_structure_leads_to_the_root():
    atlas = allen_ccf()
    assert len(atlas) == 1327
    for structure in atlas._by_id.values():
        parents = atlas.parents(structure)
        assert structure.acronym == "root" or parents[-1].acronym == "root"
        assert len({one.id for one in parents}) == len(parents)


@pytest.mark.parametrize(
    ("text", "acronym"),
    [
        ("VISp", "VISp"),
        ("VISp5", "VISp"),
        ("VISp2/3", "VISp"),
        ("VISp layer 4", "VISp"),
        ("VISp L2", "VISp"),
        ("SSp-bfd4", "SSp-bfd"),
        ("CA1sp", "CA1"),
        ("DG-sg", "DG"),
        ("CA3", "CA3"),
        ("Primary visual area", "VISp"),
        ("primary visual area, layer 5", "VISp"),
        ("V1", "VISp"),
        ("M1", "MOp"),
        ("ALM", "MOs"),
        ("barrel cortex", "SSp-bfd"),
        ("ADn", "AD"),
        ("PoSub", "POST"),
        ("left CA1", "CA1"),
        ("CA1_R", "CA1"),
        ("R-VISp5", "VISp"),
        ("Hippocampus", "HIP"),
        ("visp", "VISp"),
        ("LM", "LM"),  # the lateral mammillary nucleus, which is what the atlas calls so
        ("IV", "IV"),
    ],
)
def test_known_names_are_recognised(text, acronym):
    assert allen_ccf().find(text).acronym == acronym


@pytest.mark.parametrize("text", ["", "moon", "VISp/VISl", "CA4", "cM", "void", "layer 5", "Left", "7"])
def test_unknown_names_stay_unknown(text):
    assert allen_ccf().find(text) is None


def test_names_of_a_recipe_take_precedence():
    assert allen_ccf().find("area 51", {"VISp": ["area 51"]}).acronym == "VISp"
    assert allen_ccf().find("CA1", {"DG": ["ca1"]}).acronym == "DG"


@pytest.mark.parametrize(
    "species", ["Mus musculus", "mouse", "House mouse", "http://purl.obolibrary.org/obo/NCBITaxon_10090"]
)
def test_mice_have_the_atlas(species):
    assert atlas_for(RegionRules(), species) is not None
    assert atlas_for(RegionRules(atlas="none"), species) is None


@pytest.mark.parametrize("species", ["", "Rattus norvegicus", "Macaca mulatta", "deer mouse", "NCBITaxon_100901"])
def test_other_animals_are_not_mapped_to_it(species):
    assert atlas_for(RegionRules(), species) is None
    assert atlas_for(RegionRules(atlas="allen_ccf"), species) is not None


def test_regions_beside_the_raw_names(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS, location=["VISp5", "unknown", "CA1", "somewhere"])
    recording = read_nwb(write(nwb))
    assert recording.units["location"].tolist() == ["VISp5", "", "CA1", "somewhere"]
    assert recording.units["region"].tolist() == ["VISp", "", "CA1", ""]
    assert recording.units["region_id"].tolist() == [385, -1, 382, -1]
    assert recording.quality == {"regions_unknown": 1.0}


def test_regions_of_a_rat_stay_as_they_are(write, nwb_maker):
    nwb = nwb_maker.new(subject=Subject(subject_id="r1", species="Rattus norvegicus"))
    recording = read_nwb(write(nwb_maker.add_trains(nwb, TRAINS, location=["CA1"] * 4)))
    assert recording.units["location"].tolist() == ["CA1"] * 4
    assert "region" not in recording.units
    assert recording.quality == {}


def test_recipe_maps_its_own_names(write, nwb_maker, tmp_path):
    (tmp_path / "own.yaml").write_text("extends: default\nregions: {names: {VISp: [striate]}}")
    nwb = nwb_maker.add_trains(nwb_maker.new(), TRAINS, location=["striate"] * 4)
    units = read_nwb(write(nwb), load_recipe(tmp_path / "own.yaml")).units
    assert units["region"].tolist() == ["VISp"] * 4


def test_columns_with_reserved_names_are_renamed():
    units = Units(1, {"location": np.array(["CA1"]), "region": np.array(["mine"]), "region_id": np.array([7])})
    found = with_regions(units, RegionRules(), "Mus musculus", Notes())
    assert (found["region"].tolist(), found["source_region"].tolist()) == (["CA1"], ["mine"])
    assert (found["region_id"].tolist(), found["source_region_id"].tolist()) == ([382], [7])
