"""An RTSP server on loopback for tests: ``python -m tests.rtsp_server VIDEO PORT [USER PASSWORD]``.

It sends an H.264 MP4 in real time, again for every client, and prints ``ready`` once it listens. A process of its own,
so that it can be killed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")

from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def main() -> None:
    video, port, *login = sys.argv[1:]
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(
        f'( filesrc location="{Path(video).absolute()}" ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 )'
    )
    server.get_mount_points().add_factory("/camera", factory)
    if login:
        auth = GstRtspServer.RTSPAuth.new()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*login), token)
        server.set_auth(auth)
        factory.add_role_from_structure(
            Gst.Structure.from_string("user, media.factory.access=true, media.factory.construct=true")[0]
        )
    if not server.attach(None):
        sys.exit("cannot listen")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
