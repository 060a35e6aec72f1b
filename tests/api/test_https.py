"""HTTPS: the same API, and nothing for those who do not speak it. (The key beside this file is nobody's secret.)"""

import http.client
import ssl
from pathlib import Path

import pytest

from api.processes import read, server, start

TLS = Path(__file__).parent / "tls"
KEYS = {"tls_certificate": str(TLS / "certificate.pem"), "tls_key": str(TLS / "key.pem")}


def test_versions_over_https(tmp_path: Path) -> None:
    trust = ssl.create_default_context(cafile=TLS / "certificate.pem")
    with server(tmp_path, **KEYS) as api:
        connection = http.client.HTTPSConnection("localhost", api.port, timeout=60, context=trust)
        connection.request("GET", "/")
        answer = read(connection.getresponse())
        connection.close()
        assert answer.status == 200
        assert answer.body["versions"][0]["links"][0]["href"] == f"https://localhost:{api.port}/v2.0/"
        with api.connect() as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert not plain.recv(100).startswith(b"HTTP/")


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "not.pem").write_text("no certificate")
    with pytest.raises(AssertionError, match=r"server\.tls_certificate"):
        start(tmp_path, **(KEYS | {"tls_certificate": str(tmp_path / "not.pem")}))
