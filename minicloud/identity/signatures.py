"""Requests signed with EC2 keys: what an AWS client must have signed, worked out again from what a service saw of its request.

Signature version 2 ("Query API signing", AWS General Reference) and 4 ("Signature Version 4 signing process") for EC2's manner,
the string that an S3 client signed itself (HMAC-SHA1, or version 4) for S3's. Pure functions; called by `signed.py`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from minicloud.core.errors import Unauthenticated

FRESH = timedelta(minutes=15)
"""How far a signed request's clock may be off ours."""

ALGORITHM = "AWS4-HMAC-SHA256"
REFUSAL = "Cannot accept the request: its EC2 signature is not valid."


def of_request(secret: str, told: Mapping[str, Any]) -> bool:
    """Whether a request bears a signature by this secret.

    Args:
        told: `verb`, `host`, `path`, `params` (its query, or form), `headers`, `body_hash` (hex SHA-256), `signature`.
    """
    params, headers = told.get("params", {}), _lowered(told.get("headers", {}))
    if ALGORITHM in headers.get("authorization", "") or params.get("X-Amz-Algorithm") == ALGORITHM:
        expected = _version_4(secret, told, params, headers)
    elif params.get("SignatureVersion") == "2" and params.get("SignatureMethod") == "HmacSHA256":
        hosts = {told.get("host", ""), told.get("host", "").partition(":")[0]}  # some clients leave the port out
        return any(_same(told, _version_2(secret, told, params, host)) for host in hosts)
    else:
        raise Unauthenticated(
            "Cannot check the EC2 signature: it must be of version 2 with HmacSHA256, or of version 4."
        )
    return _same(told, expected)


def require_fresh(told: Mapping[str, Any], now: datetime) -> None:
    """Raise `Unauthenticated` for a request that says it was signed long ago, or that can't be told when."""
    params, headers = told.get("params", {}), _lowered(told.get("headers", {}))
    said = params.get("Timestamp") or headers.get("x-amz-date") or params.get("X-Amz-Date")
    if not said:
        raise Unauthenticated("Cannot accept the request: it does not say when it was signed.")
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        raise Unauthenticated("Cannot accept the request: its time of signing can't be read.") from None
    if abs(now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))) > FRESH:
        raise Unauthenticated("Cannot accept the request: it was signed too long ago, or its clock is wrong.")


def of_text(secret: str, token: str, signature: str) -> bool:
    """Whether `signature` is that of the text that an S3 client signed; `token` is this text in base64, of either alphabet."""
    try:
        text = base64.b64decode(token.translate(str.maketrans("-_", "+/")) + "=" * (-len(token) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Unauthenticated("Cannot check the signature: the signed text is no base64.") from None
    if not text.startswith(ALGORITHM[:4].encode()):
        made = base64.b64encode(hmac.digest(secret.encode(), text, "sha1")).decode()
        return hmac.compare_digest(made.encode(), signature.strip().encode())
    lines = text.decode(errors="replace").split("\n")
    scope = lines[2].split("/") if len(lines) == 4 else []
    if lines[0] != ALGORITHM or len(scope) != 4 or scope[3] != "aws4_request":
        raise Unauthenticated(REFUSAL)
    made = hmac.digest(_key(secret, scope), text, "sha256").hex()
    return hmac.compare_digest(made.encode(), signature.encode())


def _same(told: Mapping[str, Any], expected: str) -> bool:
    return hmac.compare_digest(str(told.get("signature", "")).encode(), expected.encode())


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _query(params: Mapping[str, str]) -> str:
    """Parameters in the order of their bytes, all but unreserved characters escaped."""
    escaped = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in params.items())
    return "&".join(f"{name}={value}" for name, value in escaped)


def _version_2(secret: str, told: Mapping[str, Any], params: Mapping[str, str], host: str) -> str:
    signed = {name: value for name, value in params.items() if name != "Signature"}
    text = "\n".join((told.get("verb", ""), host.lower(), told.get("path", "") or "/", _query(signed)))
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha256")).decode()


def _version_4(secret: str, told: Mapping[str, Any], params: Mapping[str, str], headers: Mapping[str, str]) -> str:
    said = _authorization(headers.get("authorization", ""))
    scope = (said.get("Credential") or params.get("X-Amz-Credential", "")).split("/")[1:]
    names = (said.get("SignedHeaders") or params.get("X-Amz-SignedHeaders", "")).lower().split(";")
    date = headers.get("x-amz-date") or params.get("X-Amz-Date", "")
    if len(scope) != 4 or scope[3] != "aws4_request" or scope[0] != date[:8] or "host" not in names:
        raise Unauthenticated(REFUSAL)
    query = {} if told.get("verb") == "POST" else {k: v for k, v in params.items() if k != "X-Amz-Signature"}
    canonical = "\n".join((
        told.get("verb", ""),
        told.get("path", "") or "/",
        _query(query),
        *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in names),
        "",
        ";".join(names),
        told.get("body_hash", ""),
    ))  # fmt: skip
    text = "\n".join((ALGORITHM, date, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()))
    return hmac.digest(_key(secret, scope), text.encode(), "sha256").hex()


def _authorization(text: str) -> dict[str, str]:
    """The parts of `AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...`."""
    pairs = (part.strip().partition("=") for part in text.removeprefix(ALGORITHM).split(","))
    return {name: value for name, _, value in pairs}


def _key(secret: str, scope: list[str]) -> bytes:
    """The key of a day, region and service."""
    key = ("AWS4" + secret).encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return key
