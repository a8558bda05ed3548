"""Clients that nobody here wrote, until a file is there: clients.py KIND ADDRESS STOP [CERTIFICATE]. Prints what became of it as JSON.

KIND is grpc, websocket, or held: one WebSocket that is used until its end. ADDRESS is that of an ingress, host:port.
"""

import asyncio
import collections
import json
import os
import ssl
import sys
import threading
import time

KIND, ADDRESS, STOP = sys.argv[1:4]
# One-byte messages each way in one stream; fewer where each is encrypted.
MESSAGES = 100_000 if len(sys.argv) == 4 else 10_000
# A connection is left after so many, as people close pages: what drains ends by itself.
EXCHANGES = 100


def over():
    return os.path.exists(STOP)


def grpc_channel(certificate):
    import grpc

    options = [("grpc.default_authority", "grpc.lab")]
    if certificate is None:
        return grpc.insecure_channel(ADDRESS, options)
    with open(certificate, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options.append(("grpc.ssl_target_name_override", "grpc.lab"))
    return grpc.secure_channel(ADDRESS, credentials, options)


def run_grpc(certificate):
    import grpc

    channel = grpc_channel(certificate)
    answers, failures = collections.Counter(), []

    def call(what):
        try:
            return what()
        except grpc.RpcError as error:
            failures.append(f"{error.code()}: {error.details()}")
            return None

    def messages():
        """Half of them before the second release answers, the other half after that."""
        yield from (b"x" for _ in range(MESSAGES // 2))
        while not (answers["two"] or over()):
            time.sleep(0.05)
        yield from (b"x" for _ in range(MESSAGES // 2))

    def chat():
        begun = time.monotonic()
        chat = channel.stream_stream("/lab.Echo/Chat")
        took["messages"] = call(lambda: sum(len(m) for m in chat(messages(), timeout=240)))
        took["chat"] = time.monotonic() - begun

    def fails(method, code, details, messages):
        """The error comes through as it was said, with the messages before it."""
        stub = channel.unary_stream(f"/lab.Echo/{method}")
        seen = 0
        try:
            for _ in stub(b"x", timeout=60):
                seen += 1
            failures.append(f"{method} did not fail")
        except grpc.RpcError as error:
            if (error.code(), error.details(), seen) != (code, details, messages):
                failures.append(f"{method} after {seen}: {error.code()}: {error.details()}")

    took = {}
    stream = threading.Thread(target=chat)
    stream.start()
    say = channel.unary_unary("/lab.Echo/Say")
    while not over():
        answer = call(lambda: say(b"hello", timeout=60))
        answers[answer.split()[0].decode() if answer else "none"] += 1
        fails("Fail", grpc.StatusCode.NOT_FOUND, "nothing is here", 0)
        fails("FailLate", grpc.StatusCode.DATA_LOSS, "half of it is lost", 1)
        time.sleep(0.02)
    stream.join()
    return {"answers": answers, "failures": failures, **took}


def dial(certificate):
    from websockets.asyncio.client import connect

    host, port = ADDRESS.rsplit(":", 1)
    there = {"host": host, "port": int(port), "open_timeout": 60}
    if certificate is None:
        return connect("ws://ws.lab/", **there)
    return connect("wss://ws.lab/", ssl=ssl.create_default_context(cafile=certificate), **there)


async def run_websockets(certificate):
    from websockets.exceptions import ConnectionClosed

    answers, failures, cut = collections.Counter(), [], 0

    async def client():
        nonlocal cut
        while not over():
            try:
                connection = await dial(certificate)
            except Exception as error:
                failures.append(f"connect: {error!r}")
                await asyncio.sleep(0.1)
                continue
            try:
                version = await connection.recv()
                for _ in range(EXCHANGES):
                    if over():
                        break
                    await connection.send("x" * 1000)
                    if await connection.recv() != "x" * 1000:
                        failures.append("another message came back")
                    answers[version] += 1
                    await asyncio.sleep(0.02)
                await connection.close()
            except ConnectionClosed:
                cut += 1

    await asyncio.gather(*(client() for _ in range(4)))
    return {"answers": answers, "failures": failures, "cut": cut}


async def run_held(certificate):
    """The connection says that it stands, and goes on until somebody else ends it; then the next one is asked."""
    from websockets.exceptions import ConnectionClosed

    connection = await dial(certificate)
    await connection.recv()
    print("stands", flush=True)
    begun, exchanges, failures = time.monotonic(), 0, []
    try:
        while True:
            await connection.send(str(exchanges))
            if await connection.recv() != str(exchanges):
                failures.append("another message came back")
            exchanges += 1
            await asyncio.sleep(0.02)
    except ConnectionClosed:
        stood = time.monotonic() - begun
    async with dial(certificate) as following:
        version = await following.recv()
    said = {"exchanges": exchanges, "stood": stood, "code": connection.close_code, "next": version}
    return {**said, "failures": failures}


certificate = sys.argv[4] if len(sys.argv) > 4 else None
if KIND == "grpc":
    result = run_grpc(certificate)
else:
    result = asyncio.run({"websocket": run_websockets, "held": run_held}[KIND](certificate))
result["failures"] = result["failures"][:10] + [f"{len(result['failures'])} in all"] if result["failures"] else []
print(json.dumps(result))
