"""An instance whose servers nobody here wrote: HTTP/1.1 of Python's library, gRPC of grpcio, WebSockets of websockets.

HTTP on port 8080: /health, /version, /slow?MS, /bytes?MIB; PUT answers with the digest of its body.
WebSockets on port 8081: the version first, then an echo. gRPC on port 9000: lab.Echo with Say, Chat, Fail and FailLate.
"""

import asyncio
import hashlib
import json
import os
import signal
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from websockets.asyncio.server import serve

VERSION = os.environ.get("VERSION", "dev")
MIB = 1 << 20
BLOCK = b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(MIB // 32))


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/bytes":
            self.send_response(200)
            self.send_header("Content-Length", str(int(query) * MIB))
            self.end_headers()
            for _ in range(int(query)):
                self.wfile.write(BLOCK)
            return
        if path == "/slow":
            time.sleep(int(query) / 1000)
        self.say(json.dumps({"version": VERSION}).encode())

    def pieces(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read(min(left, MIB))
            if not piece:
                raise ConnectionError("the body was cut")
            left -= len(piece)
            yield piece

    def do_PUT(self):
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        self.say(digest.hexdigest().encode())


def say(request, _):
    return VERSION.encode() + b" " + request


def chat(requests, _):
    yield from requests


def fail(_, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing is here")


def fail_late(request, context):
    yield request
    context.abort(grpc.StatusCode.DATA_LOSS, "half of it is lost")


def grpc_server():
    server = grpc.server(futures.ThreadPoolExecutor(32))
    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lab.Echo", handlers),))
    server.add_insecure_port("0.0.0.0:9000")
    server.start()
    return server


async def websocket(connection):
    await connection.send(VERSION)
    async for message in connection:
        await connection.send(message)


async def main():
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    http = ThreadingHTTPServer(("0.0.0.0", 8080), Http)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, daemon=True).start()
    rpc = grpc_server()
    async with serve(websocket, "0.0.0.0", 8081):
        print("serves", VERSION, flush=True)
        await end.wait()
        rpc.stop(5).wait()
    os._exit(0)


asyncio.run(main())
