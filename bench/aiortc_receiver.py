"""Receives and decodes with aiortc, and delivers nothing: the reference of X2 and X3.

Prints "listening URL", takes offers there by POST, and answers each line on standard input with "count N", the number of
frames decoded so far. Ends at the end of its input.
"""

import asyncio
import sys

import aioice.ice
from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

# Everything stays on the loopback interface, of which aioice gathers no candidate by itself.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class Receiver:
    def __init__(self):
        self.frames = 0
        self.peers = []
        self.tasks = set()

    async def consume(self, track):
        try:
            while True:
                await track.recv()
                self.frames += 1
        except MediaStreamError:
            pass

    async def offer(self, request):
        body = await request.json()
        peer = RTCPeerConnection()
        self.peers.append(peer)

        @peer.on("track")
        def on_track(track):
            task = asyncio.ensure_future(self.consume(track))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

        await peer.setRemoteDescription(RTCSessionDescription(body["sdp"], body["type"]))
        await peer.setLocalDescription(await peer.createAnswer())
        local = peer.localDescription
        return web.json_response({"sdp": local.sdp, "type": local.type})

    async def close(self):
        await asyncio.gather(*(peer.close() for peer in self.peers))
        for task in list(self.tasks):
            task.cancel()


async def main():
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/offer", receiver.offer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    print("listening http://127.0.0.1:%d/offer" % port, flush=True)

    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print("count", receiver.frames, flush=True)
    await receiver.close()
    await runner.cleanup()


asyncio.run(main())
