"""The files by which stock clients find this cloud: clouds.yaml, and the variables of an openrc.

Written by `minicloud init`, the first `minicloud serve` and the sandbox; read by `minicloud env`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = "clouds.yaml"
"""Its name in the state folder."""


@dataclass(frozen=True)
class Person:
    """Somebody who may log in, in the domain `default`."""

    user: str
    project: str
    password: str


def clouds_yaml(url: str, region: str, people: Mapping[str, Person], *, authority: Path | None = None) -> str:
    """A clouds.yaml (JSON is YAML) with one cloud for each person.

    Args:
        url: of the daemon, "http://127.0.0.1:5050".
        region: its name.
        people: the cloud's name in the file -> who logs in there.
        authority: the certificate authority that clients should trust beside those that they know.
    """
    trust = {} if authority is None else {"cacert": str(authority)}
    clouds = {
        name: {
            "auth": {
                "auth_url": f"{url}/identity",
                "username": person.user,
                "password": person.password,
                "project_name": person.project,
                "user_domain_id": "default",
                "project_domain_id": "default",
            },
            "region_name": region,
            "identity_api_version": "3",
            **trust,
        }
        for name, person in people.items()
    }
    return json.dumps({"clouds": clouds}, indent=2) + "\n"


def variables(text: str, cloud: str) -> dict[str, str]:
    """What an openrc sets, out of a clouds.yaml that we wrote.

    Raises:
        KeyError: no such cloud in it.
    """
    told = json.loads(text)["clouds"][cloud]
    auth = {f"OS_{name.upper()}": value for name, value in told["auth"].items()}
    trust = {"OS_CACERT": told["cacert"]} if "cacert" in told else {}
    common = {"OS_REGION_NAME": told["region_name"], "OS_IDENTITY_API_VERSION": "3", "OS_AUTH_TYPE": "password"}
    return {**auth, **common, **trust}


def moved(text: str, url: str, authority: Path) -> str:
    """A clouds.yaml that we wrote, for the same cloud at another URL, under an authority of its own."""
    told = json.loads(text)
    for cloud in told["clouds"].values():
        cloud["auth"]["auth_url"], cloud["cacert"] = f"{url}/identity", str(authority)
    return json.dumps(told, indent=2) + "\n"
