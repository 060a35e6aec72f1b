"""ovs-ofctl's bundle in two turns of vswitchd instead of four.

    ovs-ofctl ─▶ relay ─▶ vswitchd
      hello           │  hello          sent while ovs-ofctl still starts
      open    ◀ reply │  (held)
      add …           │  (held)
      barrier         │  open, add …, barrier      one turn: errors of single flows come back
      commit          │  commit                    the other: all of it or nothing

vswitchd answers between two passes over all its ports, and a pass takes 40 ms where 200 of them are configured anew. ovs-ofctl waits for
an answer four times (lib/vconn.c); only the barrier's and the commit's say anything that it acts on. What is held is sent as ovs-ofctl
wrote it, so what a flow means is left to the tool. Headers: OpenFlow 1.4, 7.1 and 7.3.9.
"""

import os
import selectors
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

from floatway.linux.errors import ToolError

__all__ = ["run"]

_HEADER: Final = struct.Struct(">BBHI")
_CONTROL: Final = struct.Struct(">IHH")
_VERSION, _HELLO, _CONTROL_TYPE, _ADD = 5, 0, 33, 34
_OPEN, _OPENED = 0, 1
_TIMEOUT: Final = 60.0  # seconds, as for every tool


def run(argv: Sequence[str], management: Path, text: str) -> str:
    """``argv`` followed by a switch and ``-``, as in ``ovs-ofctl … --bundle add-flows SWITCH -``, for the bridge that vswitchd serves at
    ``management``; ``text`` is what the tool reads. Returns what it printed. Raises ToolError, which names that bridge."""
    shown = [*argv, f"unix:{management}", "-"]
    with ExitStack() as stack:
        switch = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
        try:
            switch.connect(str(management))
            switch.sendall(_HEADER.pack(_VERSION, _HELLO, _HEADER.size, 0))
        except OSError as error:
            raise ToolError(shown, "", 1, f"vswitchd does not answer: {error.strerror}") from error
        here = str(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="floatway-")), "switch"))
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
        listener.bind(here)
        listener.listen(1)
        command = [*argv, f"unix:{here}", "-"]
        tool = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        )
        stack.callback(tool.kill)
        try:
            said = _Relay(switch, listener, tool, text.encode(errors="surrogateescape")).go()
            status = tool.wait(_TIMEOUT)
        except (TimeoutError, subprocess.TimeoutExpired):
            said, status = f"no answer within {_TIMEOUT:.0f} seconds", -9
    if status != 0:
        raise ToolError(shown, "", status, said.replace(here, str(management)))
    return said


class _Relay:
    """One run: who is listened to, and what is held."""

    def __init__(
        self, switch: socket.socket, listener: socket.socket, tool: subprocess.Popen[bytes], text: bytes
    ) -> None:
        assert tool.stdin is not None and tool.stdout is not None
        self._switch, self._listener, self._output = switch, listener, tool.stdout
        self._input: IO[bytes] = tool.stdin
        self._text = text
        self._client: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._from_tool, self._from_switch = bytearray(), bytearray()
        self._held = bytearray()
        self._opened = 0
        self._said = bytearray()
        self._going = True

    def go(self) -> str:
        """Until the tool has ended its output. Raises TimeoutError."""
        deadline = time.monotonic() + _TIMEOUT
        os.set_blocking(self._input.fileno(), False)
        with self._selector:
            self._selector.register(self._input, selectors.EVENT_WRITE, self._tell)
            self._selector.register(self._output, selectors.EVENT_READ, self._hear)
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
            try:
                while self._going:
                    ready = self._selector.select(deadline - time.monotonic())
                    if not ready:
                        raise TimeoutError
                    for key, _ in ready:
                        key.data()
            finally:
                if self._client is not None:
                    self._client.close()
        return self._said.decode(errors="replace")

    def _tell(self) -> None:
        """Standard input, as far as the pipe takes it."""
        try:
            self._text = self._text[os.write(self._input.fileno(), self._text[: 1 << 16]) :]
        except BrokenPipeError:  # it had enough of it: what it has to say comes by its output
            self._text = b""
        if not self._text:
            self._selector.unregister(self._input)
            self._input.close()

    def _hear(self) -> None:
        """Standard output and error; their end is the tool's."""
        data = os.read(self._output.fileno(), 1 << 16)
        self._said += data
        self._going = bool(data)

    def _accept(self) -> None:
        self._client, _ = self._listener.accept()
        self._selector.unregister(self._listener)
        self._selector.register(self._client, selectors.EVENT_READ, self._tool_speaks)
        self._selector.register(self._switch, selectors.EVENT_READ, self._switch_speaks)

    def _tool_speaks(self) -> None:
        assert self._client is not None
        data = _receive(self._client)
        if not data:
            self._selector.unregister(self._client)
            return
        self._from_tool += data
        for kind, number, message in _messages(self._from_tool):
            if kind == _HELLO:
                continue  # said already
            if kind == _CONTROL_TYPE and (control := _CONTROL.unpack_from(message, _HEADER.size))[1] == _OPEN:
                self._held += message
                self._opened = number
                answer = _CONTROL.pack(control[0], _OPENED, control[2])
                self._client.sendall(_HEADER.pack(_VERSION, _CONTROL_TYPE, _HEADER.size + len(answer), number) + answer)
            elif kind == _ADD:
                self._held += message
            else:
                self._switch.sendall(self._held + message)
                self._held.clear()

    def _switch_speaks(self) -> None:
        assert self._client is not None
        data = _receive(self._switch)
        if not data:
            self._selector.unregister(self._switch)
            self._client.shutdown(socket.SHUT_RDWR)  # the tool says that its switch has gone
            return
        self._from_switch += data
        onward = bytearray()
        for kind, number, message in _messages(self._from_switch):
            if kind != _CONTROL_TYPE or number != self._opened:  # that it is open, the tool knows already
                onward += message
        if onward:
            try:
                self._client.sendall(onward)
            except (BrokenPipeError, ConnectionResetError):
                return  # the tool has ended


def _receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 18)
    except ConnectionResetError:
        return b""


def _messages(data: bytearray) -> Iterator[tuple[int, int, bytes]]:
    """The whole messages at the beginning, which are taken out: (type, number, all of it)."""
    while len(data) >= _HEADER.size:
        _, kind, length, number = _HEADER.unpack_from(data)
        if len(data) < max(length, _HEADER.size):
            return
        yield kind, number, bytes(data[:length])
        del data[:length]
