"""The documents have every setting, command, option, metric, address and topic of the code, and no others."""

from __future__ import annotations

import ast
import logging
import re

import pytest

from streams import __version__
from streams.broker.topic_plan import planned_topics
from streams.dead_letters import letters as dead_letters
from streams.notifications.notification import Reason, Repair
from streams.notifications.priority import DEFAULT_PRIORITIES
from streams.notifications.reasons import MEANINGS
from streams.publishing.driver import available_drivers
from streams.settings import PROFILES, SECRETS, Settings
from tables.reserved_types import RESERVED
from tables.views.counts_query import BadQueryError, parse_counts_query, parse_series_query
from tables.views.histogram_defs import HISTOGRAMS
from tables.views.metric_defs import METRICS
from tests.paths import ROOT
from tests.unit.docs import checks, generated
from tests.unit.tables.views.views_kit import FakeSources
from tocsin.archive.figures import METRICS as ARCHIVE_METRICS
from tocsin.bridge_http.figures import METRICS as BRIDGE_METRICS
from tocsin.bridge_rabbit.figures import METRICS as RABBIT_BRIDGE_METRICS
from tocsin.cli import cli

TEXTS = checks.documents()
README = TEXTS["README.md"]
COMMANDS = dict(generated.commands())
MADE = generated.blocks()


# ---------------------------------------------------------------- tables made from the code


@pytest.mark.parametrize("name", list(MADE))
def test_every_made_table_is_in_one_document(name: str) -> None:
    places = [path for path, text in TEXTS.items() for found in generated.names_in(text) if found == name]
    assert len(places) == 1, places


@pytest.mark.parametrize("path", [path for path, text in TEXTS.items() if generated.names_in(text)])
def test_made_tables_are_as_the_code_has_them(path: str) -> None:
    assert generated.renewed(TEXTS[path], MADE) == TEXTS[path], "run `make docs`"


@pytest.mark.parametrize("path", [name for name in COMMANDS if " " in name])
def test_every_command_says_what_it_and_each_option_does(path: str) -> None:
    context = COMMANDS[path]
    assert context.command.help
    for parameter in context.command.get_params(context):
        help_text = getattr(parameter, "help", "-")
        assert help_text, f"{path} {parameter.opts}"


def test_every_setting_says_what_it_means() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


# ---------------------------------------------------------------- where people look


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 140


def test_the_readme_leads_to_every_document() -> None:
    documents = {path for path in TEXTS if path != "README.md"}
    assert {path for path in documents if f"]({path})" not in README} == set()


def test_the_readme_names_every_command() -> None:
    names = [name for name in COMMANDS if name.count(" ") == 1]
    assert len(names) > 5
    assert checks.undocumented(names, README) == []


def test_every_address_is_documented() -> None:
    routes = FakeSources().server().app.router.resources()
    assert checks.undocumented({route.canonical for route in routes}, TEXTS["docs/http-api.md"]) == []


@pytest.mark.parametrize(
    "parse", [parse_counts_query, lambda query: parse_series_query(query, 0.0)], ids=["counts", "series"]
)
def test_every_parameter_of_the_counts_is_documented(parse: object) -> None:
    with pytest.raises(BadQueryError, match="use ") as refused:
        parse({"there-is-none": "such"})  # type: ignore[operator]
    known = re.split(r", ", str(refused.value).rpartition("use ")[2].rstrip("."))
    assert len(known) > 2
    assert checks.undocumented(known, TEXTS["docs/http-api.md"]) == []


@pytest.mark.parametrize(
    "names", [Reason, Repair, RESERVED], ids=["reasons", "repairs", "reserved event types"]
)
def test_every_reason_and_repair_is_documented(names: object) -> None:
    text = TEXTS["docs/topics.md"]
    missing = [str(name) for name in names if f"`{name}`" not in text]  # type: ignore[attr-defined]
    assert missing == []


def test_the_reasons_mean_the_same_on_the_page_and_in_the_document() -> None:
    documented = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", TEXTS["docs/topics.md"], re.MULTILINE))
    for reason in Reason:
        assert documented[reason].replace("`", "") == MEANINGS[reason]


def test_every_header_of_a_dead_letter_is_documented() -> None:
    headers = {
        value
        for name, value in vars(dead_letters).items()
        if name.isupper() and str(value).startswith("tocsin-")
    } - {"tocsin-"}
    assert len(headers) > 5
    assert checks.undocumented(headers, TEXTS["docs/topics.md"]) == []


def test_every_topic_is_documented() -> None:
    names = {spec.name for spec in planned_topics(Settings.model_construct())}
    assert checks.undocumented(names, TEXTS["docs/topics.md"]) == []


def test_every_profile_is_documented() -> None:
    text = TEXTS["docs/operations.md"]
    assert checks.undocumented(PROFILES, text) == []
    for weights in PROFILES.values():
        assert ", ".join(f"{weights[priority]:g}" for priority in DEFAULT_PRIORITIES) in text


def test_every_secret_that_a_file_may_hold_is_documented() -> None:
    names = [f"TOCSIN_{name.upper()}_FILE" for name in SECRETS]
    assert checks.undocumented([*names, "TOCSIN_CONFIG_FILE"], TEXTS["docs/settings.md"]) == []


def test_every_target_of_the_makefile_is_documented() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) - {"help"}
    assert len(targets) > 10
    text = TEXTS["CONTRIBUTING.md"]
    assert {target for target in targets if f"`make {target}`" not in text} == set()


def test_every_floor_is_documented() -> None:
    for text in (TEXTS["CONTRIBUTING.md"], TEXTS["docs/architecture.md"]):
        for folder in ("tocsin", "agents", "tables", "streams"):
            assert f"`{folder}/`" in text
        rooms = [path.parent for path in (ROOT / "streams").glob("*/__init__.py")]
        assert [room.name for room in rooms if f"`streams/{room.name}/`" not in text] == []


# ---------------------------------------------------------------- nothing that is none


def test_links_lead_somewhere() -> None:
    assert checks.broken_links(TEXTS) == []


def test_files_that_documents_name_are_there() -> None:
    assert checks.missing_paths(TEXTS) == []
    assert checks.missing_modules(TEXTS) == []


def test_settings_that_documents_name_are_settings() -> None:
    assert checks.unknown_settings(TEXTS, Settings.model_fields) == []


def test_metrics_that_documents_name_are_metrics() -> None:
    known = {metric.name for metric in (*METRICS, *HISTOGRAMS)}
    known |= {name for name, *_ in (*RABBIT_BRIDGE_METRICS, *BRIDGE_METRICS, *ARCHIVE_METRICS)}
    assert checks.unknown_metrics(TEXTS, known) == []


def test_commands_that_documents_show_are_commands() -> None:
    assert checks.unknown_commands(TEXTS, cli) == []
    assert checks.unknown_targets(TEXTS, (ROOT / "Makefile").read_text(encoding="utf-8")) == []


def test_the_python_examples_of_the_readme_run_as_far_as_they_need_no_kafka() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        names: dict[str, object] = {}
        exec(
            compile(
                block.replace('load_driver("kafka", settings=settings)', 'load_driver("noop")'),
                "README",
                "exec",
            ),
            names,
        )
        assert names["notifier"].stats.published == 1  # type: ignore[attr-defined]
        imports = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom)]
        assert any(node.module == "tocsin" for node in imports)


def test_the_python_examples_of_the_drivers_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXTS["docs/ways.md"], re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "docs/ways.md", "exec"), {})
    logging.getLogger("compute").handlers.clear()


def test_the_drivers_are_those_of_the_table() -> None:
    table = TEXTS["docs/ways.md"].partition("## Drivers")[2].partition("##")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(available_drivers())


def test_the_pictures_are_pictures_and_each_is_shown() -> None:
    files = sorted((ROOT / "docs" / "images").iterdir())
    assert len(files) >= 10
    for file in files:
        content = file.read_bytes()
        assert (content[:4], content[8:12]) == (b"RIFF", b"WEBP")
        assert int.from_bytes(content[4:8], "little") == len(content) - 8, "it is whole"
        assert any(f"images/{file.name})" in text for text in TEXTS.values()), file.name


def test_the_changelog_has_the_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
