"""In a machine of the lab, the lab's server at the address that it has outside: 127.0.0.1:PORT there leads to 127.0.0.1:PORT here.

python forward.py PID PORT          PID: any process in the machine's network
"""

import asyncio
import os
import socket
import sys

from floatway.linux import netns


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main(pid: int, port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(relay(reader, there_writer), relay(there_reader, writer))

    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    with netns.inside(fd):
        sock = socket.create_server(("127.0.0.1", port))
    server = await asyncio.start_server(connected, sock=sock)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
