"""Kinds of values that several of Nova's requests have."""

from __future__ import annotations

from minicloud.api.schema import Type, string

NAME = Type({"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^\S(?:[\s\S]*\S)?$"})
"""A name: not empty, no blanks at either end."""

ID = Type({"anyOf": [{"type": "string", "minLength": 1, "maxLength": 255}, {"type": "integer"}]}, str)
"""A flavor's id: text, or a number as old clients send."""

TAG = Type({"type": "string", "minLength": 1, "maxLength": 60, "pattern": r"^[^,/]+$"})
DEVICE_TAG = Type({"type": "string", "minLength": 1, "maxLength": 60, "pattern": r"^[^,/]+$"})
DESCRIPTION = Type({"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 255}]})
HOSTNAME = string(low=2, high=63, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9\-]*[a-zA-Z0-9]$")
FQDN = string(low=2, high=255, pattern=r"^[a-zA-Z0-9]+[a-zA-Z0-9\-.]*[a-zA-Z0-9]+$")
DISK_CONFIG = string(enum=("AUTO", "MANUAL"))
COUNT = Type({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[1-9]\d{0,6}$"}]}, int)
PASSWORD = string(high=255)
