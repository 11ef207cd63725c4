"""Find the assets at an archive address, with the real dandi client."""

import pytest

from foundation.common.errors import ConfigError, SourceError
from ingest.sources import Archive, AssetFilters, find_assets
from ingest.sources.asset_search import listing
from ingest.sources.dandi.archives import BUILT_IN, known_archives

VERSION = "0.240101.1200"


@pytest.fixture
def filled(archive_server):
    """Dandiset 000001: eleven assets, two of them not NWB; one published version with the first seven."""
    contents = archive_server.contents
    contents.add_dandiset("000001")
    for n in range(1, 8):
        contents.add(
            "000001",
            f"sub-{n}/sub-{n}_ses-a_ecephys.nwb",
            bytes([n]) * 10 * n,
            wasAttributedTo=[
                {"identifier": f"{n}", "species": {"name": "Mus musculus - House mouse" if n < 4 else "Rat"}}
            ],
            variableMeasured=[{"schemaKey": "PropertyValue", "value": "Units" if n % 2 else "TwoPhotonSeries"}],
        )
    contents.publish("000001", VERSION)
    for path in ("sub-10/sub-10_ses-b_ophys.nwb", "Sub-1/x.nwb", "sub-1/notes.txt", "readme.nwb.md"):
        contents.add("000001", path, b"12")
    archive_server.page_size = 3
    return archive_server


@pytest.fixture
def find(filled, lab, quick):
    def call(source, **filters):
        return find_assets(source, AssetFilters(**filters), [lab], quick())

    return call


def paths(assets):
    return [asset.path for asset in assets]


def test_all_pages_of_the_draft_are_read_and_each_asset_once(find, filled):
    found = find("dandi://lab/000001@draft")
    assert len(found) == len(set(paths(found))) == 9
    assert paths(found) == sorted(paths(found))
    pages = [r.query.get("page", "1") for r in filled.api.requests if r.path.endswith("/assets/")]
    assert sorted(pages) == ["1", "2", "3", "4"]


def test_asset_metadata(find, filled, lab):
    asset = find(f"dandi://lab/000001@{VERSION}", subject=["3"])[0]
    stored = next(a for a in filled.contents.assets.values() if a.path == asset.path)
    assert (asset.path, asset.size, asset.format) == ("sub-3/sub-3_ses-a_ecephys.nwb", 30, "hdf5")
    assert (asset.subject, asset.session, asset.species) == ("3", "a", "Mus musculus - House mouse")
    assert (asset.modality, asset.measured) == (("Units", "ecephys"), ("Units",))
    assert asset.namespace == "lab/000001"
    source = asset.source
    assert (source.archive, source.dandiset, source.version) == ("lab", "000001", VERSION)
    assert (source.asset, source.licence, source.path) == (stored.identity, "CC-BY-4.0", asset.path)
    assert source.digest == "dandi-etag:" + stored.metadata["digest"]["dandi:dandi-etag"]
    assert asset.digests["sha2-256"] == stored.metadata["digest"]["dandi:sha2-256"]
    assert asset.archive == lab


def test_requested_version_is_used(find, filled, caplog):
    filled.contents.publish("000001", "0.240202.1200")
    assert len(find(f"dandi://lab/000001@{VERSION}")) == 7
    assert {a.source.version for a in find(f"dandi://lab/000001@{VERSION}")} == {VERSION}
    assert {a.source.version for a in find("dandi://lab/000001@draft")} == {"draft"}
    with caplog.at_level("INFO", logger="ingest"):
        assert {a.source.version for a in find("dandi://lab/000001")} == {"0.240202.1200"}
    assert "using 0.240202.1200, its newest published version" in caplog.text
    with pytest.raises(SourceError, match=rf"no version 0\.240101\.1201: there are draft, {VERSION}, 0\.240202\.1200"):
        find("dandi://lab/000001@0.240101.1201")


def test_draft_is_used_without_a_published_version(find, filled, caplog):
    filled.contents.add_dandiset("000002")
    filled.contents.add("000002", "x.nwb", b"1")
    with caplog.at_level("INFO", logger="ingest"):
        assert find("dandi://lab/000002")[0].source.version == "draft"
    assert "no version is published" in caplog.text


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        ("sub-1", ["sub-1/sub-1_ses-a_ecephys.nwb"]),
        ("sub-1/", ["sub-1/sub-1_ses-a_ecephys.nwb"]),
        ("sub-2/sub-2_ses-a_ecephys.nwb", ["sub-2/sub-2_ses-a_ecephys.nwb"]),
        ("sub-1*", ["sub-1/sub-1_ses-a_ecephys.nwb", "sub-10/sub-10_ses-b_ophys.nwb"]),
        ("sub-[23]/*.nwb", ["sub-2/sub-2_ses-a_ecephys.nwb", "sub-3/sub-3_ses-a_ecephys.nwb"]),
        ("**/*_ophys.nwb", ["sub-10/sub-10_ses-b_ophys.nwb"]),
        ("sub-1/notes.txt", ["sub-1/notes.txt"]),
    ],
)
def test_folders_files_and_globs_match_exactly(find, within, expected):
    assert paths(find(f"dandi://lab/000001@draft/{within}")) == expected


def test_missing_paths_raise_with_similar_ones(find):
    with pytest.raises(SourceError, match=r"no folder, file or glob 'sub' in lab/000001@draft; similar: .*sub-1/"):
        find("dandi://lab/000001@draft/sub")
    with pytest.raises(SourceError, match="no dandiset 000009 in archive lab"):
        find("dandi://lab/000009")
    with pytest.raises(SourceError, match=r"none of the 1 assets in .*readme.* is an NWB asset"):
        find("dandi://lab/000001@draft/readme*")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"subject": ["2", "10"]}, ["sub-10/sub-10_ses-b_ophys.nwb", "sub-2/sub-2_ses-a_ecephys.nwb"]),
        ({"session": ["b"]}, ["sub-10/sub-10_ses-b_ophys.nwb"]),
        ({"species": ["mus MUSCULUS"], "max_size": 20}, [f"sub-{n}/sub-{n}_ses-a_ecephys.nwb" for n in (1, 2)]),
        ({"modality": ["twophoton*"], "min_size": 30}, [f"sub-{n}/sub-{n}_ses-a_ecephys.nwb" for n in (4, 6)]),
        ({"path": ["*_ophys.nwb"]}, ["sub-10/sub-10_ses-b_ophys.nwb"]),
        ({"max_assets": 2}, ["Sub-1/x.nwb", "sub-1/sub-1_ses-a_ecephys.nwb"]),
    ],
)
def test_filters_apply_before_any_download(find, filled, filters, expected):
    assert paths(find("dandi://lab/000001@draft", **filters)) == expected
    assert filled.storage.requests == []
    assert not [r for r in filled.api.requests if "download" in r.path]


def test_filters_that_exclude_everything_are_counted(find):
    with pytest.raises(SourceError, match=r"exclude all 9 assets .*: 9 by subject \(nobody\)|subject \(not stated\)"):
        find("dandi://lab/000001@draft", subject=["nobody"])


@pytest.mark.parametrize(
    "form",
    [
        "{api}/dandisets/000001/versions/draft/assets/?path=sub-2/",
        "{api}/dandisets/000001/versions/draft/assets/?glob=sub-2/*",
        "{web}/dandiset/000001/draft/files?location=sub-2%2F",
        "{web}/dandiset/000001/draft?location=sub-2",
        "{web}/#/dandiset/000001/draft/files?location=sub-2%2F&page=1",
    ],
)
def test_addresses_of_pages_and_of_the_api(filled, quick, form):
    archive = Archive("lab", filled.api_url, web_url="http://127.0.0.1:1/web")
    source = form.format(api=filled.api_url, web=archive.web_url)
    assert paths(find_assets(source, archives=[archive], access=quick())) == ["sub-2/sub-2_ses-a_ecephys.nwb"]


def test_addresses_of_a_whole_dandiset_and_of_one_asset(find, filled):
    stored = next(a for a in filled.contents.assets.values() if a.path.startswith("sub-5/"))
    assert len(find(f"{filled.api_url}/dandisets/000001/versions/{VERSION}/")) == 7
    assert len(find(f"{filled.api_url}/dandisets/000001")) == 7
    (asset,) = find(f"{filled.api_url}/dandisets/000001/versions/draft/assets/{stored.identity}/download/")
    assert (asset.path, asset.source.version, asset.source.licence) == (stored.path, "draft", "CC-BY-4.0")
    (asset,) = find(f"{filled.api_url}/assets/{stored.identity}/")
    assert (asset.path, asset.source.archive, asset.source.dandiset) == (stored.path, "lab", "")
    with pytest.raises(SourceError, match="is at archive lab, but names no dandiset"):
        find(f"{filled.api_url}/stats/")


@pytest.mark.parametrize("source", ["dandi://lab", "dandi://lab/1", "dandi://lab/000001@newest", "dandi:///000001"])
def test_invalid_addresses_raise(find, source):
    with pytest.raises(SourceError, match=r"000003|is not a version|is not a valid address"):
        find(source)


def test_unknown_and_doubtful_archives(find, lab):
    with pytest.raises(ConfigError, match=r"'nowhere' .* not known: allowed are dandi, dandi-sandbox, .*, lab"):
        find("dandi://nowhere/000001")
    with pytest.raises(ConfigError, match=r"archives\.name is 'dandi' twice"):
        find_assets("x", archives=[Archive("dandi", "https://example.org/api")])
    with pytest.raises(ConfigError, match="share the token variable DANDI_API_KEY"):
        find_assets("x", archives=[Archive("mine", "https://example.org/api", "DANDI_API_KEY")])


def test_archives_of_the_dandi_client_are_known(find):
    from dandi.consts import known_instances

    theirs = {name: (one.api, one.gui) for name, one in known_instances.items() if "local" not in name}
    assert {archive.name: (archive.api_url, archive.web_url) for archive in BUILT_IN} == theirs
    own = Archive("linc", "https://api.lincbrain.org/api")  # configured before it was built in
    assert known_archives([own])["linc"] == own


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("DANDI:000002", r"identifier of a dandiset: write dandi://dandi/000002$"),
        ("dandi:000002/0.210812.1448", r"write dandi://dandi/000002@0\.210812\.1448$"),
        ("OTHER:000002", r"write dandi://<archive>/000002$"),
        ("https://dandi.other.org/dandiset/000002/draft", r"dandiset at dandi\.other\.org, an unknown archive"),
        (
            "https://api.other.org/api/dandisets/000002/",
            r"api\.other\.org, an unknown archive: expected dandi, ",
        ),
    ],
)
def test_error_shows_the_right_form_of_an_address(find, source, message):
    with pytest.raises((SourceError, ConfigError), match=message):
        find(source)


def test_braces_in_globs_raise(find, tmp_path):
    (tmp_path / "a.nwb").touch()
    for source in ("dandi://lab/000001@draft/sub-{1,2}/*.nwb", f"{tmp_path}/{{a,b}}.nwb", f"{tmp_path}/{{a,b}}*"):
        with pytest.raises(SourceError, match="braces are not expanded"):
            find(source)
    with pytest.raises(SourceError, match="braces are not expanded"):
        find("dandi://lab/000001@draft", path=["sub-{1,2}/*.nwb"])


def test_server_that_lists_no_metadata_is_asked_for_each_asset(find, filled):
    filled.lists_metadata = False
    assert len(find(f"dandi://lab/000001@{VERSION}", species=["mus musculus"])) == 3


def test_draft_that_changes_during_listing_is_listed_again(find, filled):
    new = b"new bytes"
    filled.fail_api("page=2", call=lambda: filled.contents.replace("000001", "sub-7/sub-7_ses-a_ecephys.nwb", new))
    (changed,) = find("dandi://lab/000001@draft", subject=["7"])
    assert changed.size == len(new)


def test_draft_updated_only_by_validation_is_taken(find, filled):
    def validate():
        filled.contents.dandisets["000001"].changes += 1

    filled.fail_api("/assets/?path", times=99, call=validate)
    filled.fail_api("/assets/?order", times=99, call=validate)
    assert len(find("dandi://lab/000001@draft")) == 9
    pages = [request for request in filled.api.requests if request.path.endswith("/assets/")]
    assert len(pages) == 2 * 4


def test_draft_that_keeps_changing_raises(find, filled):
    filled.fail_api(
        "/assets/?path", times=99, call=lambda: filled.contents.add("000001", f"s{len(filled.contents.assets)}.nwb")
    )
    filled.fail_api(
        "/assets/?order", times=99, call=lambda: filled.contents.add("000001", f"s{len(filled.contents.assets)}.nwb")
    )
    with pytest.raises(SourceError, match="changed during every listing"):
        find("dandi://lab/000001@draft")


def test_plan_as_text(find):
    text = listing(find(f"dandi://lab/000001@{VERSION}", max_assets=2))
    assert "lab/000001, version 0.240101.1200, licence CC-BY-4.0" in text
    assert "sub-2/sub-2_ses-a_ecephys.nwb  20 B  hdf5" in text
    assert "2 assets" in text
    assert "30 B" in text.splitlines()[-1]
