"""Clients that nobody here wrote, until a file is there: clients.py KIND ADDRESS STOP [CERTIFICATE]. Prints what became of it as JSON.

KIND is grpc or websocket; ADDRESS is that of an ingress, host:port.
"""

import asyncio
import collections
import json
import os
import sys
import threading
import time

KIND, ADDRESS, STOP = sys.argv[1:4]
# One-byte messages each way in one stream; fewer where each is encrypted.
MESSAGES = 30_000 if len(sys.argv) == 4 else 10_000
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

    def chat():
        begun = time.monotonic()
        chat = channel.stream_stream("/lab.Echo/Chat")
        count = call(lambda: sum(len(m) for m in chat((b"x" for _ in range(MESSAGES)), timeout=240)))
        took["chat"] = time.monotonic() - begun
        took["messages"] = count

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


async def run_websockets():
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    host, port = ADDRESS.rsplit(":", 1)
    answers, failures, cut = collections.Counter(), [], 0

    async def client():
        nonlocal cut
        while not over():
            try:
                connection = await connect("ws://ws.lab/", host=host, port=int(port), open_timeout=60)
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


certificate = sys.argv[4] if len(sys.argv) > 4 else None
result = run_grpc(certificate) if KIND == "grpc" else asyncio.run(run_websockets())
result["failures"] = result["failures"][:10] + [f"{len(result['failures'])} in all"] if result["failures"] else []
print(json.dumps(result))
