"""ovs-ofctl's bundles through the relay: before a switch that counts its turns, and before a real one."""

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from floatway.host.records import Flow
from floatway.linux import openflow
from floatway.linux.connection import HostConnection
from floatway.linux.errors import ToolError
from floatway.linux.relay import run
from kernel.support import sh, start_ovs

pytestmark = pytest.mark.kernel
ARGV = ("ovs-ofctl", "-O", "OpenFlow14", "--no-names", "--bundle", "add-flows")
FLOWS = "".join(f"add table=0,priority={number},cookie=0x1,ip,in_port=1,actions=output:2\n" for number in range(1, 41))
HELLO, ERROR, BARRIER, BARRIER_REPLY, CONTROL, ADD = 0, 1, 20, 21, 33, 34
OPEN, COMMIT = 0, 4


def message(kind: int, number: int, body: bytes = b"") -> bytes:
    return struct.pack(">BBHI", 5, kind, 8 + len(body), number) + body


class Switch:
    """One that speaks only when it was asked for a barrier or a commit; ``ending`` is what it does with a commit."""

    def __init__(self, path: Path, ending: Callable[[socket.socket, int, bytes], None]) -> None:
        self.kinds: list[tuple[int, int]] = []
        self._ending = ending
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            client.sendall(message(HELLO, 1))
            data = b""
            while received := client.recv(65536):
                data += received
                while len(data) >= 8 and len(data) >= (length := struct.unpack_from(">H", data, 2)[0]):
                    one, data = data[:length], data[length:]
                    kind, number = one[1], struct.unpack_from(">I", one, 4)[0]
                    control = struct.unpack_from(">H", one, 12)[0] if kind == CONTROL else -1
                    self.kinds.append((kind, control))
                    if kind == BARRIER:
                        client.sendall(message(BARRIER_REPLY, number))
                    elif control == COMMIT:
                        self._ending(client, number, one)


def committed(client: socket.socket, number: int, asked: bytes) -> None:
    bundle, kind, flags = struct.unpack_from(">IHH", asked, 8)
    client.sendall(message(CONTROL, number, struct.pack(">IHH", bundle, kind + 1, flags)))


def refused(client: socket.socket, number: int, asked: bytes) -> None:
    client.sendall(message(ERROR, number, struct.pack(">HH", 17, 13) + asked))  # OFPET_BUNDLE_FAILED, MSG_FAILED


def gone(client: socket.socket, number: int, asked: bytes) -> None:
    client.shutdown(socket.SHUT_RDWR)


def test_a_switch_that_answers_only_barrier_and_commit_gets_everything() -> None:
    switch = Switch(Path("/run/switch"), committed)
    assert run(ARGV, Path("/run/switch"), FLOWS) == ""
    switch.close()
    assert switch.kinds == [(HELLO, -1), (CONTROL, OPEN), *[(ADD, -1)] * 40, (BARRIER, -1), (CONTROL, COMMIT)]


@pytest.mark.parametrize(
    ("ending", "word"), [(refused, "OFPBFC_MSG_FAILED"), (gone, "talking to unix:/run/switch (End of file)")]
)
def test_what_becomes_of_it_is_told_as_the_tool_tells_it(
    ending: Callable[[socket.socket, int, bytes], None], word: str
) -> None:
    switch = Switch(Path("/run/switch"), ending)
    with pytest.raises(ToolError) as caught:
        run(ARGV, Path("/run/switch"), FLOWS)
    switch.close()
    assert word in caught.value.text
    assert caught.value.command == " ".join([*ARGV, "unix:/run/switch", "-"])


def test_text_that_is_none_is_told_with_its_line_and_nobody_is_asked() -> None:
    switch = Switch(Path("/run/switch"), committed)
    with pytest.raises(ToolError, match=r"-:2: .*nonsense"):
        run(ARGV, Path("/run/switch"), "add table=0,actions=drop\nadd table=0,actions=nonsense\n")
    switch.close()
    assert switch.kinds == [(HELLO, -1)]


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(ToolError, match="vswitchd does not answer: No such file"):
        run(ARGV, Path("/run/switch"), FLOWS)


def flow(number: int, actions: str = "drop") -> Flow:
    return Flow(
        bridge="br-int", table=number % 200, priority=number, cookie=7, match=f"tcp,tp_dst={number}", actions=actions
    )


def test_many_flows_and_none_of_a_bundle_that_the_real_switch_does_not_take() -> None:
    start_ovs()
    sh(
        "ovs-vsctl add-br br-int -- set bridge br-int datapath_type=netdev fail_mode=secure protocols=OpenFlow10,OpenFlow14"
    )
    many = tuple(flow(number) for number in range(1, 5001))
    with HostConnection() as conn:
        openflow.start_bundle(conn, "br-int", (), many).result()
        assert set(openflow.flows(conn, ["br-int"])()) == set(many)
        bad = flow(9000, "group:77")
        with pytest.raises(ToolError, match="OFPBAC_BAD_OUT_GROUP"):
            openflow.start_bundle(conn, "br-int", many[:10], (flow(8000), bad)).result()
        assert set(openflow.flows(conn, ["br-int"])()) == set(many)
        openflow.start_bundle(conn, "br-int", many[1:], (flow(8000),)).result()
        assert set(openflow.flows(conn, ["br-int"])()) == {many[0], flow(8000)}
