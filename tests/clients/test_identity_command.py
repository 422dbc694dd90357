"""The `openstack` command for every noun of identity: made, shown, changed, listed and removed as a person would.

The command runs inside this process, once for each line: starting Python anew each time would take most of the time.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from openstackclient.shell import OpenStackShell

from tests.clients.conftest import Running

SILENT = {"set", "unset", "add", "remove", "delete", "revoke", "contains"}


class Shell:
    """`openstack` as a cloud's administrator."""

    def __init__(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(running.clouds))
        monkeypatch.setenv("OS_CLOUD", "admin")

    def __call__(self, line: str, *more: str, fails: bool = False) -> Any:
        """Run a line (and words that hold spaces); what it said as JSON where it says something."""
        words = [*line.split(), *more]
        quiet = any(word in SILENT for word in words[:6])
        said, complaints = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaints):
            try:
                code = OpenStackShell().run([*words, *([] if quiet else ["-f", "json"])])
            except SystemExit as error:  # words that the command doesn't know
                code = error.code
        failed = isinstance(code, int) and code != 0  # some commands return what they said
        assert failed is fails, f"{line}: {code}\n{said.getvalue()}{complaints.getvalue()}"
        text = said.getvalue().strip()
        return json.loads(text) if text.startswith(("{", "[")) else text + complaints.getvalue()

    def names(self, line: str, column: str = "Name") -> set[str]:
        """One column of a list."""
        return {str(row[column]) for row in self(line)}


@pytest.fixture
def openstack(running: Running, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(running, monkeypatch)


@pytest.mark.slow
def test_people_and_places(openstack: Shell) -> None:
    openstack("domain create people --description x")
    openstack("domain set people --description y")
    assert openstack("domain show people")["description"] == "y" and "people" in openstack.names("domain list")
    openstack("project create work --domain people --tag blue --property colour=red")
    openstack("project set work --domain people --name works")
    assert openstack("project show works --domain people")["colour"] == "red"
    assert openstack.names("project list --domain people --tags blue") == {"works"}
    openstack("user create ann --domain people --password one --email a@b.example --enable-lock-password")
    openstack("user set ann --domain people --disable-lock-password --ignore-password-expiry")
    shown = openstack("user show ann --domain people")
    assert shown["options"] == {"lock_password": False, "ignore_password_expiry": True} and shown["email"]
    crew = openstack("group create crew --domain people")["id"]
    openstack("group add user crew ann --group-domain people --user-domain people")
    assert "in group" in openstack("group contains user crew ann --group-domain people --user-domain people")
    assert openstack.names(f"user list --group {crew}") == {"ann"}
    openstack("group set crew --domain people --description z")
    assert openstack("group show crew --domain people")["description"] == "z"
    openstack("group remove user crew ann --group-domain people --user-domain people")
    openstack("role create boss")
    openstack("role set boss --description x")
    openstack("implied role create boss --implied-role reader")
    assert openstack.names("implied role list", "Prior Role Name") >= {"boss", "admin"}
    openstack("role add boss --project works --project-domain people --user ann --user-domain people")
    openstack("role add boss --domain people --group crew --group-domain people --inherited")
    openstack("role add reader --system all --user ann --user-domain people")
    rows = openstack("role assignment list --user ann --user-domain people --effective --names")
    assert {row["Role"] for row in rows} == {"boss", "reader"}
    openstack("role remove boss --project works --project-domain people --user ann --user-domain people")
    openstack("implied role delete boss --implied-role reader")
    openstack("role delete boss")
    openstack("domain set people --disable")
    openstack("domain delete people")
    assert "found for ann" in openstack("user show ann", fails=True)


@pytest.mark.slow
def test_what_there_is_and_where(openstack: Shell, tmp_path: Path) -> None:
    openstack("region create north --description x")
    openstack("region set north --description y")
    assert openstack("region show north")["description"] == "y" and "north" in openstack.names("region list", "Region")
    service = openstack("service create weather --name sun")["id"]
    openstack("service set", service, "--description", "it shines")
    assert openstack("service show sun")["description"] == "it shines" and "sun" in openstack.names("service list")
    endpoint = openstack("endpoint create sun public http://sun.example --region north")["id"]
    openstack("endpoint set", endpoint, "--url", "http://sun.example/v1")
    assert openstack("endpoint show", endpoint)["url"] == "http://sun.example/v1"
    assert openstack("catalog show weather")["endpoints"]
    openstack("endpoint add project", endpoint, "service")
    assert {row["ID"] for row in openstack("endpoint list --project service")} == {endpoint}
    openstack("endpoint remove project", endpoint, "service")
    (filters := tmp_path / "filters.json").write_text('{"interface": "public"}')
    openstack("endpoint group create outside", str(filters))
    openstack("endpoint group add project outside service")
    assert "outside" in openstack.names("endpoint group list --project service")
    openstack("endpoint group remove project outside service")
    openstack("endpoint group set outside --name out")
    assert openstack("endpoint group show out")["filters"] == {"interface": "public"}
    openstack("endpoint group delete out")
    openstack("registered limit create --service sun --default-limit 5 rays")
    registered = next(row["ID"] for row in openstack("registered limit list") if row["Resource Name"] == "rays")
    openstack("registered limit set", registered, "--default-limit", "6")
    limit = openstack("limit create --project admin --service sun --resource-limit 3 rays")["id"]
    openstack("limit set", limit, "--resource-limit", "4")
    assert openstack("limit show", limit)["resource_limit"] == 4 and openstack("limit list")
    openstack("limit delete", limit)
    openstack("registered limit delete", registered)
    (rules := filters.with_name("rules.json")).write_text("{}")
    policy = openstack("policy create", str(rules), "--type", "application/json")["id"]
    openstack("policy set", policy, "--type", "text/plain")
    assert openstack("policy show", policy)["type"] == "text/plain" and openstack("policy list")
    openstack("policy delete", policy)
    openstack("service delete sun")
    openstack("region delete north")
    assert openstack("versions show --service identity")


@pytest.mark.slow
def test_what_people_keep_and_lend(openstack: Shell) -> None:
    token = openstack("token issue")
    assert token["project_id"] and "identity" in {row["Type"] for row in openstack("catalog list")}
    openstack("token revoke", openstack("token issue")["id"])
    secret = openstack("credential create --type cert admin hidden")["id"]
    openstack("credential set", secret, "--user", "admin", "--type", "cert", "--data", "changed")
    assert openstack("credential show", secret)["blob"] == "changed" and openstack("credential list --type cert")
    openstack("credential delete", secret)
    access = openstack("ec2 credentials create")["access"]
    assert openstack("ec2 credentials show", access)["access"] == access
    assert access in {row["Access"] for row in openstack("ec2 credentials list")}
    openstack("ec2 credentials delete", access)
    rules = json.dumps([{"service": "compute", "method": "GET", "path": "/v2.1/servers"}])
    robot = openstack("application credential create robot --role reader --access-rules", rules)
    assert robot["Secret"] and openstack("application credential show robot")["Roles"]
    rule = openstack("access rule list")[0]["ID"]
    assert openstack("access rule show", rule)["Path"] == "/v2.1/servers"
    assert "robot" in openstack.names("application credential list")
    openstack("application credential delete robot")
    openstack("access rule delete", rule)
    openstack("user create taker --password one")
    trust = openstack("trust create --project admin --role reader admin taker --impersonate")["id"]
    assert openstack("trust show", trust) and trust in openstack.names("trust list", "ID")
    openstack("trust delete", trust)
    openstack("user delete taker")


@pytest.mark.slow
def test_partners_but_programs_for_which_the_command_needs_another_library(openstack: Shell, tmp_path: Path) -> None:
    (rules := tmp_path / "mapping.json").write_text(
        json.dumps([{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "REMOTE_USER"}]}])
    )
    openstack("mapping create --rules", str(rules), "staff")
    openstack("mapping set staff --rules", str(rules))
    assert openstack("mapping show staff")["rules"] and "staff" in openstack.names("mapping list", "ID")
    openstack("identity provider create --remote-id https://idp.example university")
    openstack("identity provider set university --description x")
    assert openstack("identity provider show university")["description"] == "x"
    assert "university" in openstack.names("identity provider list", "ID")
    openstack("federation protocol create saml2 --identity-provider university --mapping staff")
    openstack("federation protocol set saml2 --identity-provider university --mapping staff")
    assert openstack("federation protocol show saml2 --identity-provider university")["mapping"] == "staff"
    assert openstack("federation protocol list --identity-provider university")
    openstack("federation protocol delete saml2 --identity-provider university")
    openstack("identity provider delete university")
    openstack("mapping delete staff")
    urls = "--auth-url https://b.example/auth --service-provider-url https://b.example/sp"
    openstack(f"service provider create {urls} other")
    openstack("service provider set other --disable")
    assert openstack("service provider show other")["enabled"] is False and openstack("service provider list")
    openstack("service provider delete other")
