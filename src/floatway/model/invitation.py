"""The one word that lets a host join: which host, the secret that is good once, where the servers are and how to know them.

floatway agent token cy2-compute02 ─▶ eyJob3N0Ijoi… ─▶ floatway agent join eyJob3N0Ijoi…
"""

import base64
import binascii

import msgspec

__all__ = ["Invitation", "InvitationError"]


class InvitationError(ValueError):
    """This is no join token."""


class Invitation(msgspec.Struct, frozen=True):
    """``servers`` are https://HOST:PORT or unix:/PATH; ``fingerprint`` is the SHA-256 of their certificate in hex, "" for none."""

    host: str
    secret: str
    servers: tuple[str, ...]
    fingerprint: str = ""

    @property
    def text(self) -> str:
        """As it is typed."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def of(cls, text: str) -> "Invitation":
        """From what was typed.

        Raises:
            InvitationError: it is none.
        """
        stripped = "".join(text.split())
        try:
            data = base64.b64decode(stripped + "=" * (-len(stripped) % 4), altchars=b"-_", validate=True)
            return msgspec.json.decode(data, type=cls)
        except (binascii.Error, msgspec.DecodeError, ValueError) as error:
            raise InvitationError("this is no join token, or not all of it; one looks like eyJob3N0Ijoi…") from error
