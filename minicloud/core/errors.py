"""The closed set of ways in which something can go wrong.

A `Refusal` means: we said no and *nothing changed*. A `Failure` means: we tried and something broke; what was
begun is taken back by the operation that ran. Domain code raises these and never names an HTTP status;
`api/faults.py` maps kind and service to status and shape. Anything else that is raised is a bug.

Messages begin with what cannot be done, name the thing and, where there is one, the way out.
"""

from __future__ import annotations


class MinicloudError(Exception):
    """Root of all errors that are part of the product.

    Args:
        message: one sentence for the user; never holds secrets, host paths or commands.
        code: machine-readable type where a service's clients match on one (Neutron's `IpAddressInUse`,
            Placement's `placement.concurrent_update`).
        retry_after: seconds after which trying again makes sense.
    """

    def __init__(self, message: str, *, code: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.retry_after = retry_after


class Refusal(MinicloudError):
    """We said no; nothing changed."""


class Invalid(Refusal):
    """The request is malformed or contradicts itself."""


class Unauthenticated(Refusal):
    """No token, or one that does not count."""


class Forbidden(Refusal):
    """The caller may see this, but not do this."""


class NotFound(Refusal):
    """It does not exist, or the caller may not know that it does."""


class Conflict(Refusal):
    """It exists, but its state or another holder forbids this."""


class OverQuota(Refusal):
    """A quota of the project is used up."""


class TooLarge(Refusal):
    """A body or an object is larger than the limit."""


class Gone(Refusal):
    """This operation existed once and does not any more."""


class UnsupportedMedia(Refusal):
    """The body's content type is not one that this operation takes."""


class NotAcceptable(Refusal):
    """A microversion outside the range that this service speaks; `low` and `high` are the ends of that range."""

    def __init__(self, message: str, *, low: str = "", high: str = "") -> None:
        super().__init__(message)
        self.low, self.high = low, high


class PreconditionFailed(Refusal):
    """An If-Match of the caller does not hold any more."""


class RateLimited(Refusal):
    """Too many tries in too short a time."""


class NotImplementedHere(Refusal):
    """Documented by OpenStack and honestly not offered by this cloud."""


class Failure(MinicloudError):
    """We tried and something broke."""


class HostFailure(Failure):
    """The machine below did not do what it was told.

    `message` is fit for any user; `detail` (command, end of its error output, XML) is for the log and the
    administrator's trace only.
    """

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class NoCapacity(Failure):
    """The host has no room for this."""


class Interrupted(Failure):
    """The work was overtaken: a delete came in between, or the daemon was stopped."""


class Unavailable(Failure):
    """Something that is needed is away for now (disk full, libvirt gone); trying again later makes sense."""


class Stuck(Failure):
    """Taking back failed again and again; a person has to look (`minicloud ops`)."""
