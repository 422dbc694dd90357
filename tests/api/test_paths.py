"""Paths: what stands where, and which of several fits."""

from __future__ import annotations

import pytest

from minicloud.api.paths import Paths

TEMPLATES = (
    "",
    "/things",
    "/things/{id}",
    "/things/special",
    "/things/{id}/parts/{part}",
    "/things/special/parts",
    "/{project:[0-9]{2}}/things",
    "/{kind}/{id}/tags",
)


@pytest.fixture
def paths() -> Paths[str]:
    made: Paths[str] = Paths()
    for one in TEMPLATES:
        made.add(one, one)
    return made


@pytest.mark.parametrize(
    ("path", "template", "parameters"),
    [
        ("", "", {}),
        ("/things", "/things", {}),
        ("/things/special", "/things/special", {}),
        ("/things/7", "/things/{id}", {"id": "7"}),
        ("/things/special/parts", "/things/special/parts", {}),
        ("/things/special/parts/x", "/things/{id}/parts/{part}", {"id": "special", "part": "x"}),
        ("/things/a%20b%2Fc", "/things/{id}", {"id": "a b/c"}),
        ("/42/things", "/{project:[0-9]{2}}/things", {"project": "42"}),
        ("/things/7/tags", "/{kind}/{id}/tags", {"kind": "things", "id": "7"}),
    ],
)
def test_words_win_over_parameters_and_parameters_come_out_unquoted(
    paths: Paths[str], path: str, template: str, parameters: dict[str, str]
) -> None:
    assert paths.find(path) == (template, parameters)


@pytest.mark.parametrize(
    "path", ["/", "/things/", "/things/7/", "/things//parts/x", "/423/things", "/none", "/things/7/parts"]
)
def test_what_fits_no_template_is_nowhere(paths: Paths[str], path: str) -> None:
    assert paths.find(path) is None
