"""Connections that idle, for `ingress.sh`: `connections|websockets ADDRESS COUNT` opens them, says `ready` and keeps them;
`serve ADDRESS` is an endpoint that answers every upgrade and keeps the connection."""

import asyncio
import sys

HEAD = "GET /1k HTTP/1.1\r\nHost: web.example\r\n"
UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def answer(reader, writer):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"upgrade: websocket" in head.lower():
            writer.write(SWITCHED)
            await writer.drain()
            while await reader.read(4096):
                pass
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve(host, port):
    server = await asyncio.start_server(answer, host, port, backlog=1024)
    await server.serve_forever()


async def one(host, port, websocket):
    reader, writer = await asyncio.open_connection(host, port)
    writer.write((HEAD + (UPGRADE if websocket else "") + "\r\n").encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    wanted = " 101 " if websocket else " 200 "
    assert wanted in head.split("\r\n")[0], head
    if not websocket:
        length = next(line for line in head.split("\r\n") if line.startswith("content-length:"))
        await reader.readexactly(int(length.split(":")[1]))
    return reader, writer


async def hold(host, port, count, websocket):
    held = []
    for _ in range(0, count, 50):
        held += await asyncio.gather(*(one(host, port, websocket) for _ in range(50)))
    await asyncio.sleep(1)  # buffers of the answers are given back
    assert not any(reader.at_eof() for reader, _ in held), "some were closed"
    print("ready", flush=True)
    await asyncio.sleep(120)


kind, address = sys.argv[1:3]
host, port = address.rsplit(":", 1)
if kind == "serve":
    asyncio.run(serve(host, int(port)))
else:
    asyncio.run(hold(host, int(port), int(sys.argv[3]), kind == "websockets"))
