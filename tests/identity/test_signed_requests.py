"""EC2 keys: who signed a request. The signatures here are made by the text of AWS's documents, apart from the code that checks them."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from minicloud.identity import signatures
from tests.conftest import PASSWORD, Client, Cloud

V3 = "/identity/v3"
HEX = hashlib.sha256(b"").hexdigest()


async def keys_of(caller: Client, project_id: str = "") -> dict[str, Any]:
    body = {"tenant_id": project_id or caller.project_id}
    made = await caller.post(f"{V3}/users/{caller.user_id}/credentials/OS-EC2", body, expect=201)
    return dict(made["credential"])


def now(ago: timedelta = timedelta()) -> datetime:
    return datetime.now(UTC) - ago


def version_2(keys: dict[str, Any], *, ago: timedelta = timedelta(), **changes: str) -> dict[str, Any]:
    params = {
        "Action": "DescribeInstances", "AWSAccessKeyId": keys["access"], "SignatureVersion": "2", "SignatureMethod": "HmacSHA256",
        "Timestamp": now(ago).strftime("%Y-%m-%dT%H:%M:%SZ"), "Filter.1.Value": "a b/c~d*é",
    }  # fmt: skip
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(params[name], safe='-_.~')}" for name in sorted(params))
    text = f"GET\ncloud.example:8773\n/services/Cloud\n{query}".encode()
    made = base64.b64encode(hmac.new(keys["secret"].encode(), text, hashlib.sha256).digest()).decode()
    told = {
        "access": keys["access"], "signature": made, "host": "cloud.example:8773", "verb": "GET", "path": "/services/Cloud", "params": params,
    }  # fmt: skip
    return told | changes


def day_key(secret: str, *scope: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in scope:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def version_4(keys: dict[str, Any], *, ago: timedelta = timedelta(), **changes: Any) -> dict[str, Any]:
    moment = now(ago).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/RegionOne/ec2/aws4_request"
    headers = {"Host": "cloud.example", "X-Amz-Date": moment, "My-Header": "  a   b "}
    canonical = (
        "GET\n/\nAction=DescribeInstances&Version=2\n"
        f"host:cloud.example\nmy-header:a b\nx-amz-date:{moment}\n\nhost;my-header;x-amz-date\n{HEX}"
    )
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    made = hmac.new(day_key(keys["secret"], *scope.split("/")), text.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys['access']}/{scope}, SignedHeaders=host;my-header;x-amz-date, Signature={made}"
    )
    told = {
        "access": keys["access"], "signature": made, "host": "cloud.example", "verb": "GET", "path": "/",
        "params": {"Version": "2", "Action": "DescribeInstances"}, "headers": headers, "body_hash": HEX,
    }  # fmt: skip
    return told | changes


async def front_end(cloud: Cloud) -> Client:
    return await cloud.person("heat", project="service", roles=("service",))


@pytest.mark.parametrize("sign", [version_2, version_4])
@pytest.mark.parametrize("envelope", ["ec2Credentials", "credentials", "credential"])
async def test_a_signed_request_gives_its_owners_token(cloud: Cloud, sign: Any, envelope: str) -> None:
    service, keys = await front_end(cloud), await keys_of(cloud.demo)
    answer = await service.post(f"{V3}/ec2tokens", {envelope: sign(keys)}, expect=200)
    token = answer["token"]
    assert token["user"]["id"] == cloud.demo.user_id and token["project"]["id"] == cloud.demo.project_id
    assert token["methods"] == ["ec2credential"] and token["catalog"] and {"name", "id"} == set(token["roles"][0])
    owner = dataclasses.replace(cloud.demo, token=answer.headers["X-Subject-Token"])
    await owner.get(f"{V3}/auth/projects", expect=200)


@pytest.mark.parametrize("sign", [version_2, version_4])
async def test_anything_else_is_no_signature(cloud: Cloud, sign: Any) -> None:
    service, keys = await front_end(cloud), await keys_of(cloud.demo)
    good = sign(keys)
    for bad, status in (
        (sign({**keys, "secret": "guessed"}), 401),
        (good | {"path": "/elsewhere"}, 401),
        (good | {"verb": "DELETE"}, 401),
        (good | {"params": good["params"] | {"Action": "TerminateInstances"}}, 401),
        (sign(keys, ago=timedelta(minutes=16)), 401),
        (sign(keys, ago=timedelta(minutes=-16)), 401),
        (good | {"signature": ""}, 401),
        ({name: value for name, value in good.items() if name != "access"}, 401),
        (good | {"access": "nobody"}, 404),
        (good | {"params": {}, "headers": {}}, 401),
        (good | {"params": good["params"] | {"Timestamp": "noon", "X-Amz-Date": "noon"}, "headers": {}}, 401),
        (good | {"params": [1]}, 400),
        (good | {"headers": {"x": 1}}, 400),
    ):
        await service.post(f"{V3}/ec2tokens", {"ec2Credentials": bad}, expect=status)
    await service.post(f"{V3}/ec2tokens", {}, expect=400)
    await cloud.demo.post(f"{V3}/ec2tokens", {"ec2Credentials": good}, expect=403)
    await dataclasses.replace(service, token="").post(f"{V3}/ec2tokens", {"ec2Credentials": good}, expect=401)


def test_amazons_own_example_of_version_4_is_met() -> None:
    """ "get-vanilla-query-order-key-case" of AWS's published test suite."""
    scope = "20150830/us-east-1/service/aws4_request"
    keys = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    signature = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
    told = {
        "verb": "GET", "path": "/", "params": {"Param2": "value2", "Param1": "value1"}, "body_hash": HEX, "signature": signature,
        "headers": {
            "Host": "example.amazonaws.com",
            "X-Amz-Date": "20150830T123600Z",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={keys[0]}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}",
        },
    }  # fmt: skip
    assert signatures.of_request(keys[1], told)


def signed_texts(keys: dict[str, Any]) -> list[tuple[str, str]]:
    """(text in base64, signature): the old way of S3 clients, and version 4."""
    old = b"PUT\n\ntext/plain\nTue, 27 Mar 2026 21:15:45 +0000\n/bucket/\xc3\xa9?>"
    scope = ("20261122", "us-east-1", "s3", "aws4_request")
    new = f"AWS4-HMAC-SHA256\n20261122T000000Z\n{'/'.join(scope)}\n{HEX}".encode()
    first = base64.b64encode(hmac.new(keys["secret"].encode(), old, hashlib.sha1).digest()).decode()
    second = hmac.new(day_key(keys["secret"], *scope), new, hashlib.sha256).hexdigest()
    return [
        (base64.urlsafe_b64encode(old).decode(), first),
        (base64.b64encode(old).decode(), first),
        (base64.b64encode(new).decode(), second),
    ]


async def test_a_signed_text_tells_its_owner_but_no_token(cloud: Cloud) -> None:
    service, keys = await front_end(cloud), await keys_of(cloud.demo)
    for text, signature in signed_texts(keys):
        told = {"access": keys["access"], "token": text, "signature": signature}
        answer = await service.post(f"{V3}/s3tokens", {"credentials": told}, expect=200)
        assert answer["token"]["user"]["name"] == "demo" and answer["token"]["roles"]
        assert "X-Subject-Token" not in answer.headers
        for bad, status in (
            (told | {"signature": signature[::-1]}, 401),
            (told | {"token": "no base64!"}, 401),
            (told | {"token": base64.b64encode(b"AWS4-HMAC-SHA256\nx").decode()}, 401),
            (told | {"access": "nobody"}, 404),
        ):
            await service.post(f"{V3}/s3tokens", {"credentials": bad}, expect=status)
        await cloud.demo.post(f"{V3}/s3tokens", {"credentials": told}, expect=403)


async def test_keys_in_a_project_without_a_role_open_nothing(cloud: Cloud) -> None:
    service, keys = await front_end(cloud), await keys_of(cloud.demo, cloud.admin.project_id)
    await service.post(f"{V3}/ec2tokens", {"ec2Credentials": version_4(keys)}, expect=401)


async def test_keys_lend_no_more_than_their_owner_has(cloud: Cloud) -> None:
    service, keys = await front_end(cloud), await keys_of(cloud.demo)
    answer = await service.post(f"{V3}/ec2tokens", {"ec2Credentials": version_2(keys)}, expect=200)
    owner = dataclasses.replace(cloud.demo, token=answer.headers["X-Subject-Token"])
    user = f"{V3}/users/{owner.user_id}"
    await owner.post(f"{user}/application_credentials", {"application_credential": {"name": "a"}}, expect=403)
    await owner.post(f"{user}/credentials/OS-EC2", {"tenant_id": owner.project_id}, expect=403)
    rescope = {"identity": {"methods": ["token"], "token": {"id": owner.token}}, "scope": "unscoped"}
    await owner.post(f"{V3}/auth/tokens", {"auth": rescope}, expect=403)
    member = (await cloud.admin.get(f"{V3}/roles?name=member"))["roles"][0]["id"]
    await cloud.admin.delete(f"{V3}/projects/{owner.project_id}/users/{owner.user_id}/roles/{member}", expect=204)
    await owner.get(f"{V3}/auth/projects", expect=401)
    await service.post(f"{V3}/ec2tokens", {"ec2Credentials": version_2(keys)}, expect=401)


@pytest.mark.parametrize("impersonation", [True, False])
async def test_keys_that_a_trust_made_give_what_it_lends(cloud: Cloud, impersonation: bool) -> None:
    service, taker = await front_end(cloud), await cloud.person("taker", project="elsewhere")
    values = {
        "trustor_user_id": cloud.demo.user_id, "trustee_user_id": taker.user_id, "project_id": cloud.demo.project_id,
        "impersonation": impersonation, "roles": [{"name": "member"}],
    }  # fmt: skip
    trust = (await cloud.demo.post(f"{V3}/OS-TRUST/trusts", {"trust": values}, expect=201))["trust"]
    lent = await cloud.login("taker", PASSWORD, **{"OS-TRUST:trust": {"id": trust["id"]}})
    await lent.post(f"{V3}/users/{lent.user_id}/credentials/OS-EC2", {"tenant_id": taker.project_id}, expect=403)
    keys = await keys_of(lent, cloud.demo.project_id)
    assert keys["trust_id"] == trust["id"]
    answer = await service.post(f"{V3}/ec2tokens", {"ec2Credentials": version_2(keys)}, expect=200)
    assert answer["token"]["OS-TRUST:trust"]["id"] == trust["id"]
    assert answer["token"]["user"]["id"] == (cloud.demo if impersonation else taker).user_id
    await cloud.demo.delete(f"{V3}/OS-TRUST/trusts/{trust['id']}", expect=204)
    await service.post(f"{V3}/ec2tokens", {"ec2Credentials": version_2(keys)}, expect=401)


async def test_nobody_ties_keys_to_what_others_lend(cloud: Cloud) -> None:
    service, path = await front_end(cloud), f"{V3}/credentials"
    keys = {"access": "mine", "secret": "s", "trust_id": "0" * 32, "app_cred_id": "1" * 32}
    whole = {"type": "ec2", "project_id": cloud.demo.project_id, "user_id": cloud.demo.user_id}
    made = (await cloud.demo.post(path, {"credential": {**whole, "blob": json.dumps(keys)}}, expect=201))["credential"]
    assert json.loads(made["blob"]) == {"access": "mine", "secret": "s"}
    for bad in (json.dumps(keys), "no JSON", "[]", "{}"):
        await cloud.demo.patch(f"{path}/{made['id']}", {"credential": {"blob": bad}}, expect=400)
    other = {"type": "cert", "blob": "x", "user_id": cloud.demo.user_id, "project_id": cloud.demo.project_id}
    plain = (await cloud.demo.post(path, {"credential": other}, expect=201))["credential"]
    await cloud.demo.patch(f"{path}/{plain['id']}", {"credential": {"type": "ec2"}}, expect=400)
    await service.post(f"{V3}/ec2tokens", {"ec2Credentials": version_2(keys)}, expect=200)
    unrestricted = {"name": "robot", "unrestricted": True, "roles": [{"name": "member"}]}
    path = f"{V3}/users/{cloud.demo.user_id}/application_credentials"
    one = (await cloud.demo.post(path, {"application_credential": unrestricted}, expect=201))["application_credential"]
    proof = {"id": one["id"], "secret": one["secret"]}
    auth = {"identity": {"methods": ["application_credential"], "application_credential": proof}}
    answer = await cloud.demo.post(f"{V3}/auth/tokens", {"auth": auth}, expect=201)
    robot = dataclasses.replace(cloud.demo, token=answer.headers["X-Subject-Token"])
    lent = await keys_of(robot)
    answer = await service.post(f"{V3}/ec2tokens", {"ec2Credentials": version_4(lent)}, expect=200)
    assert answer["token"]["application_credential"]["id"] == one["id"]
    await cloud.demo.delete(f"{path}/{one['id']}", expect=204)
    await service.post(f"{V3}/ec2tokens", {"ec2Credentials": version_4(lent)}, expect=401)
