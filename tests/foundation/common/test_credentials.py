"""Secrets in URLs and control characters never reach others, wherever they stand in a URL or a message."""

import dataclasses
import logging
import stat
import string
from urllib.parse import quote, urlsplit

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from foundation.catalog.catalog_table import catalog_table
from foundation.common.credentials import holds_secret, public, without_secrets
from foundation.common.output.printable import in_page, printable
from foundation.common.settings.command import presentable, run_stage
from foundation.store import CatalogRow
from foundation.training.launch.launch import write_config
from foundation.training.output.run_folder import RunFolder
from foundation.training.pretrain_settings import PretrainSettings
from ingest.nwb.read_log import Note
from ingest.run.explain import Explanation
from ingest.run.ingest_report import FAILED, IngestReport, Receipt

# Starts and ends with a mark that occurs in no other part of a URL, so that tests can search for any piece of a secret.
PIECES = st.text(string.ascii_letters + string.digits + "/#?@:%&=+;,._~-", max_size=12)
SECRETS = PIECES.map(lambda middle: f"QX{middle}XQ")
SPACED = st.text(string.ascii_letters + string.digits + "/#?@:%&=+ '", max_size=12).map(lambda m: f"QX{m}XQ")
SCHEMES = st.sampled_from(
    ["http", "https", "s3", "postgresql", "mysql+pymysql", "ftp", "simplecache::s3", "zip://x/y::https"]
)
NAMES = st.sampled_from(["token", "X-Amz-Signature", "sas", "sig", "password", "odbc_connect", "anything"])
HINTS = ("QX", "XQ")
QUICK = settings(max_examples=60, deadline=None)


def leaks(text: str) -> bool:
    return any(hint in text for hint in HINTS)


@QUICK
@given(SCHEMES, SPACED)
@example("http", "QX/XQ")
@example("http", "QX5/XQ")
@example("postgresql", "QX#a?b c/XQ")
@example("s3", "QX@/@XQ")
def test_password_in_a_url_is_removed_from_messages(scheme, secret):
    url = f"{scheme}://me:{secret}@host:5000/folder"
    for text in (url, f"{url} is away", f"cannot reach {url!r}: HTTP 403", f"a\nfetching {url}, then s3://bucket/b"):
        assert not leaks(without_secrets(text)), text
        assert "host:5000/folder" in without_secrets(text)
    assert not leaks(str(public({"store": url, "list": [url]})))
    assert holds_secret({"store": {"place": url}})


def test_every_url_of_a_chain_and_of_a_list_is_cleaned():
    for url, shown in (
        ("zip://dir/a.nwb::https://me:QX@host/x.zip", "zip://dir/a.nwb::https://host/x.zip"),
        ("zip://a.nwb::https://host/x.zip?token=QX", "zip://a.nwb::https://host/x.zip?***"),
        ("http://a/b http://u:QX@host/c", "http://a/b http://host/c"),
        ("filecache::s3://key:QX@bucket/a", "filecache::s3://bucket/a"),
    ):
        assert public(url) == shown
        assert holds_secret(url)


@QUICK
@given(SECRETS)
def test_token_as_user_name_is_removed_from_messages(secret):
    token = quote(secret, safe="")
    assert without_secrets(f"cloning https://{token}@host/a failed") == "cloning https://host/a failed"


@QUICK
@given(st.sampled_from(["http", "https", "s3", "abfs", "postgresql"]), NAMES, SECRETS)
def test_query_value_is_removed_from_messages(scheme, name, secret):
    url = f"{scheme}://host/a.nwb?{name}={secret}&other={secret}"
    for text in (
        url,
        f"{url} is away",
        f"cannot read {url!r}: HTTP 403",
        f"(see {url}).",
        f"with url: /a?{name}={secret}",
    ):
        assert not leaks(without_secrets(text)), text
    assert without_secrets(f"({scheme}://host/a.nwb?{name}=b)").endswith(")")


@QUICK
@given(SPACED)
def test_query_with_blanks_is_hidden_up_to_its_end(secret):
    url = f"https://host/a.nwb?password={secret}"
    assert public(url) == "https://host/a.nwb?***"
    assert not leaks(without_secrets(f"cannot read {url!r}: HTTP 403"))


@QUICK
@given(SECRETS)
def test_query_without_a_name_is_hidden_on_the_web_but_wildcards_stay(secret):
    assert not leaks(without_secrets(f"https://host/a.nwb?{secret} is away"))
    for place in ("s3://bucket/sub-?/*.nwb", "memory://a/sub-?", "dandi://dandi/000003@0.230629.1955/sub-?"):
        assert without_secrets(place) == place == public(place)


@settings(max_examples=200, deadline=None)
@given(SCHEMES.filter(lambda s: ":" not in s), st.text(string.printable.replace("\n", ""), max_size=40))
def test_secrets_as_libraries_parse_them_are_hidden(scheme, rest):
    url, hidden = f"{scheme}://{rest}", []
    for parse in (make_url, urlsplit):
        try:
            found = parse(url)
        except (ValueError, ArgumentError):
            continue
        hidden += [found.password or "", *(map(str, found.query.values()) if parse is make_url else [])]
    shown = public(url).removeprefix(f"{scheme}://")
    assert not any(len(secret) > 3 and secret in shown for secret in hidden), (url, shown)


def test_urls_without_secrets_and_other_texts_stay_unchanged():
    for text in (
        "http://localhost:5000/#/experiments/1 is away",
        "https://gui.dandiarchive.org/#/dandiset/000003/draft",
        "s3://bucket/a@b",
        "sqlite:////tmp/mlflow.db",
        "see user@host, or https://example.org/a",
        "units.location: '(?P<ms>a)(?=b)' is no expression; a == b?",
    ):
        assert without_secrets(text) == text
        assert not holds_secret(text)


def test_two_urls_in_one_line_are_separated():
    text = "copied http://a:b@one/x?c=d to 's3://e:f@two/y' and gs://three/z"
    assert without_secrets(text) == "copied http://one/x?*** to 's3://two/y' and gs://three/z"


def test_settings_with_a_token_reach_processes_in_a_private_file(tmp_path):
    run = PretrainSettings(store="https://host/store?sig=QX a", output=str(tmp_path), tracking_uri="http://u:Q/X@host")
    write_config(run, tmp_path / "launch.yaml")
    assert stat.S_IMODE((tmp_path / "launch.yaml").stat().st_mode) == 0o600
    assert yaml.safe_load((tmp_path / "launch.yaml").read_text())["store"] == run.store
    RunFolder(tmp_path).write_settings(run)
    assert not leaks((tmp_path / "settings.yaml").read_text())
    assert "Q/X" not in (tmp_path / "settings.yaml").read_text()
    plain = dataclasses.replace(run, store="store", tracking_uri=None)
    write_config(plain, tmp_path / "launch.yaml")
    assert stat.S_IMODE((tmp_path / "launch.yaml").stat().st_mode) == 0o644, "others may read what has no secret"


def test_report_holds_no_secret_of_its_input_or_notes():
    url = "https://me:QX/y@host/a.nwb?token=QXy"
    receipt = Receipt(path="a.nwb", status=FAILED, note=f"{url}: Max retries exceeded with url: /a.nwb?token=QXy (x)")
    report = IngestReport(url, "s3://key:QX@bucket/store", "r", [receipt], 1)
    assert not leaks(str(report.to_dict()) + report.text())


HOSTILE = "m\x1b[2J\x07\r\n\x9b31m\u202etxt\ud800"


def test_control_characters_of_files_are_escaped_on_terminal_and_page(caplog, capsys):
    row = CatalogRow("f00d", subject=HOSTILE, session=HOSTILE, path="a.nwb", n_units=3, n_spikes=12, labels=[HOSTILE])
    receipt = Receipt(path=HOSTILE, status=FAILED, note=HOSTILE)
    texts = {
        "table": catalog_table([row]),
        "report": IngestReport("a", "s", "r", [receipt], 1).text(),
        "explained": str(Explanation(HOSTILE, HOSTILE, [Note(HOSTILE, HOSTILE)], [], {HOSTILE: 1.0})),
        "page": in_page(HOSTILE),
    }
    for name, text in texts.items():
        assert not {c for c in text if c in HOSTILE and not c.isprintable()} - {"\n"}, name
        text.encode()
    assert len(texts["table"].splitlines()) == 3
    assert len(texts["report"].splitlines()) == 3

    @dataclasses.dataclass
    class Nothing:
        word: str = ""

    def fail(_: Nothing) -> None:
        logging.getLogger("foundation").warning("session %s", HOSTILE)
        raise RuntimeError(HOSTILE)

    assert run_stage("try", fail, Nothing, []) == 1
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown
    assert shown.count("\x9b") == 0
    assert presentable("a\n\tb") == "a\n\tb"
    assert printable("a\nb") == "a\\nb"
