"""How agents know the server: its certificate, by fingerprint.

agents.tls_certificate ─▶ else server.tls_certificate ─▶ else one of our own making, kept beside the store, for a bind that is no loopback
"""

import hashlib
import ipaddress
import os
import ssl
import subprocess
from pathlib import Path
from typing import Final

import msgspec

from floatway.api.config import Config

__all__ = ["Identity", "identity"]

OWN: Final = Path("/var/lib/floatway/agents.pem")
_DAYS: Final = "3650"


class Identity(msgspec.Struct, frozen=True):
    """What agents are told of the server: where it is, and its certificate's SHA-256 (hex, "" without TLS)."""

    servers: tuple[str, ...]
    fingerprint: str = ""
    certificate: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext | None:
        """For a listener; None without TLS. Raises OSError, ssl.SSLError."""
        if not self.certificate:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        return context


def identity(config: Config, own: Path = OWN) -> Identity:
    """The server's, with a certificate made if it needs one and has none.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the certificate is none, or openssl(1) cannot make one.
    """
    agents = config.agents
    socket = (f"unix:{agents.socket}",) if agents.socket else ()
    if not agents.bind:
        return Identity(agents.urls or socket)
    certificate = agents.tls_certificate or config.server.tls_certificate
    key = agents.tls_key if agents.tls_certificate else config.server.tls_key
    address = ipaddress.ip_address(agents.bind)
    if not certificate and not address.is_loopback:
        certificate = key = str(_own(own))
    name = os.uname().nodename if address.is_unspecified else f"[{address}]" if address.version == 6 else str(address)
    url = f"{'https' if certificate else 'http'}://{name}:{agents.port}"
    return Identity(
        agents.urls or (url, *socket), _fingerprint(Path(certificate)) if certificate else "", certificate, key
    )


def _fingerprint(path: Path) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    text = path.read_text()
    if begin not in text or end not in text:
        raise ValueError(f"{path} holds no certificate")
    first = text[text.index(begin) : text.index(end) + len(end)]
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()


def _own(path: Path) -> Path:
    """Key and certificate in one file, made once: hosts that joined know it by its fingerprint."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    aside.touch(mode=0o600)
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-days", _DAYS, "-subj", f"/CN={os.uname().nodename}", "-keyout", "-", "-out", "-"]
    try:
        made = subprocess.run(argv, check=True, capture_output=True)
    except FileNotFoundError as error:
        raise ValueError(
            "openssl is not here to make a certificate: install it, or name one in agents.tls_certificate"
        ) from error
    except subprocess.CalledProcessError as error:
        raise ValueError(f"openssl made no certificate: {error.stderr.decode(errors='replace')[-300:]}") from error
    aside.write_bytes(made.stdout)
    aside.replace(path)
    return path
