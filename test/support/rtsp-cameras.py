#!/usr/bin/python3
"""Simulated cameras: GStreamer's RTSP server sending pre-encoded clips for ever, every picture numbered and timed.

Each access unit carries an SEI user_data_unregistered message: the UUID below, the frame's number (8 bytes, big-endian)
and the wall clock at which it was sent (8 bytes, microseconds). Whoever records the stream can therefore be asked later
exactly which pictures it has. The number follows from the time alone, n = (now - epoch) * fps, as in a camera that films
whether or not somebody looks: it runs on while nobody is connected, and across a restart with the same epoch.

stdin, one JSON object per line. The first is the configuration:
  {"port": 0, "epochNs": nanoseconds of CLOCK_MONOTONIC, or 0 for now,
   "mounts": {NAME: {"video": FILE.h264|FILE.h265, "fps": 25, "audio": FILE.aac|FILE.ulaw|FILE.alaw (optional),
                     "user": "...", "password": "..." (optional),
                     "pace": 1.25 (optional: seconds that it says have passed in one; needed for "shift")}},
   "auth": "digest" or "basic", for the mounts with a user}
Later ones are commands: {"id": 1, "command": "stats"} | {"id": 2, "command": "freeze"|"thaw", "mount": NAME}
  | {"id": 3, "command": "shift", "mount": NAME, "ms": 3600000}, which sets the clock that its times are from.
A frozen mount stays connected and answers, but sends nothing.
stdout, one JSON object per line: {"ready": true, "port": ..., "epochNs": ...}, then one answer with its id per command.
It ends when stdin does, so it cannot outlive the test that started it.

Video files are Annex B with access unit delimiters and no reordering; audio files are ADTS or raw G.711, 8 kHz, mono.
"""
import json
import os
import sys
import time

import gi

gi.require_version('Gst', '1.0')
gi.require_version('GstApp', '1.0')
gi.require_version('GstRtsp', '1.0')
gi.require_version('GstRtspServer', '1.0')
from gi.repository import GLib, Gst, GstApp, GstRtsp, GstRtspServer  # noqa: E402,F401 (GstApp: appsrc's methods)

MARK = bytes.fromhex('7e1c5ad26b9f43e8a15cd3f08e27b94d')
SECOND = 1_000_000_000
TICK_MS = 20
# A camera that was suspended goes on with the picture of now; it does not send those it missed.
MAX_LATE_NS = SECOND
G711_FRAME = 320  # 40 ms at 8 kHz
ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


def sei(h265, number, wall_us):
    """The SEI NAL unit of one frame, with start code and emulation prevention."""
    body = MARK + number.to_bytes(8, 'big') + wall_us.to_bytes(8, 'big')
    nal, zeros = bytearray(b'\x4e\x01' if h265 else b'\x06'), 0
    for byte in (5, len(body), *body, 0x80):
        if zeros >= 2 and byte <= 3:
            nal.append(3)
            zeros = 0
        nal.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return b'\x00\x00\x00\x01' + bytes(nal)


class Video:
    """A clip cut into access units, each split where its SEI goes: before the first slice."""

    def __init__(self, path, fps):
        self.h265 = path.endswith('.h265')
        self.frame_ns = SECOND // fps
        self.units = []
        with open(path, 'rb') as file:
            data = file.read()
        aud, starts = (35 if self.h265 else 9), []
        at = data.find(b'\x00\x00\x01')
        while at >= 0:
            starts.append(at - 1 if at > 0 and data[at - 1] == 0 else at)
            at = data.find(b'\x00\x00\x01', at + 3)
        starts.append(len(data))
        begin = split = None
        for nal, end in zip(starts, starts[1:]):
            header = data[data.index(1, nal) + 1]
            kind = (header >> 1) & 63 if self.h265 else header & 31
            if kind == aud:
                begin, split = nal, None
            elif split is None and (kind < 32 if self.h265 else 1 <= kind <= 5):
                split = nal
            last = end == len(data) or self._kind(data, end) == aud
            if last and begin is not None and split is not None:
                self.units.append((data[begin:split], data[split:end]))
        if not self.units:
            raise SystemExit(f'{path}: no access units')

    def _kind(self, data, at):
        header = data[data.index(1, at) + 1]
        return (header >> 1) & 63 if self.h265 else header & 31

    def caps(self):
        return f'video/x-{"h265" if self.h265 else "h264"},stream-format=byte-stream,alignment=au'

    def payloader(self):
        return f'rtp{"h265" if self.h265 else "h264"}pay config-interval=-1'

    def frame(self, index, number):
        head, slices = self.units[index % len(self.units)]
        return head + sei(self.h265, number, time.time_ns() // 1000) + slices


class Audio:
    """A sound file cut into frames."""

    def __init__(self, path):
        with open(path, 'rb') as file:
            data = file.read()
        self.codec, self.rate, self.config, self.units = path.rsplit('.', 1)[1], 8000, None, []
        if self.codec != 'aac':
            cut = range(0, len(data) - G711_FRAME, G711_FRAME)
            self.units, self.frame_ns = [data[at:at + G711_FRAME] for at in cut], SECOND * G711_FRAME // 8000
            return
        at = 0
        while at + 7 <= len(data):
            profile, rate = (data[at + 2] >> 6) + 1, (data[at + 2] >> 2) & 15
            channels = (data[at + 2] & 1) << 2 | data[at + 3] >> 6
            size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
            self.rate, self.channels = ADTS_RATES[rate], channels
            self.config = (profile << 11 | rate << 7 | channels << 3).to_bytes(2, 'big')
            self.units.append(data[at + (7 if data[at + 1] & 1 else 9):at + size])
            at += size
        self.frame_ns = SECOND * 1024 // self.rate

    def caps(self):
        if self.codec == 'aac':
            return (f'audio/mpeg,mpegversion=4,stream-format=raw,rate={self.rate},channels={self.channels},'
                    f'codec_data=(buffer){self.config.hex()}')
        return f'audio/x-{"mulaw" if self.codec == "ulaw" else "alaw"},rate=8000,channels=1'

    def payloader(self):
        return {'aac': 'rtpmp4gpay', 'ulaw': 'rtppcmupay', 'alaw': 'rtppcmapay'}[self.codec]

    def frame(self, index, _number):
        return self.units[index % len(self.units)]


def cached(cache, make, *arguments):
    """Many mounts send the same clip: it is read once."""
    if arguments not in cache:
        cache[arguments] = make(*arguments)
    return cache[arguments]


class Feed:
    """Sends one stream of one prepared media, each frame when it is due."""

    def __init__(self, mount, source, appsrc, numbered):
        self.mount, self.source, self.appsrc, self.numbered = mount, source, appsrc, numbered
        self.first = self.number = self.begin = None
        self.shift_ns = 0

    def told(self, pts):
        """The time of a picture as the camera says it."""
        if self.begin is None:
            self.begin, self.shift_ns = pts, self.mount.shift_ns  # each session's times begin where they like
        shift = self.mount.shift_ns - self.shift_ns
        return max(0, self.begin + int((pts - self.begin) * self.mount.pace) + shift)

    def send_due(self, now):
        clock, base = self.appsrc.get_clock(), self.appsrc.get_base_time()
        if clock is None or now < base:
            return
        frame_ns, epoch = self.source.frame_ns, self.mount.epoch_ns
        if self.number is None or now - (epoch + self.number * frame_ns) > MAX_LATE_NS:
            self.number = -((epoch - now) // frame_ns)  # rounded up: the next one due
            if self.first is None:
                # A new client gets a key frame first, as from cameras that make one on request; later, time decides.
                self.first = self.number
        while epoch + self.number * frame_ns <= now:
            if not self.mount.frozen:
                data = self.source.frame(self.number - self.first, self.number)
                buffer = Gst.Buffer.new_wrapped(data)
                buffer.pts = buffer.dts = self.told(epoch + self.number * frame_ns - base)
                buffer.duration = frame_ns
                if self.appsrc.push_buffer(buffer) != Gst.FlowReturn.OK:
                    return
                if self.numbered:
                    self.mount.count(self.number, len(data))
            self.number += 1


def unsynchronize(media, _state):
    """Pictures are sent when they are filmed, not when their times say. (Rate-Control is set anew by each PLAY.)"""
    pipeline = media.get_element().get_parent()
    sinks = pipeline.iterate_recurse()
    while True:
        result, element = sinks.next()
        if result != Gst.IteratorResult.OK:
            return
        if element.find_property('sync') is not None:
            element.set_property('sync', False)


class Mount(GstRtspServer.RTSPMediaFactory):
    """One camera stream: all its clients share one media, made when the first comes and ended with the last."""

    def __init__(self, name, config, epoch_ns, cache):
        super().__init__()
        self.name, self.epoch_ns, self.frozen = name, epoch_ns, False
        self.pace, self.shift_ns, self.own_clock = config.get('pace', 1), 0, 'pace' in config
        self.sent = self.bytes = 0
        self.first = self.last = None
        self.video = cached(cache, Video, config['video'], config.get('fps', 25))
        self.audio = cached(cache, Audio, config['audio']) if config.get('audio') else None
        self.feeds = []
        streams = [(0, self.video)] + ([(1, self.audio)] if self.audio else [])
        self.set_launch('( %s )' % ' '.join(
            f'appsrc name=src{i} is-live=true format=time max-bytes=0 caps="{s.caps()}" ! {s.payloader()} name=pay{i} pt={96 + i}'
            for i, s in streams))
        self.set_shared(True)
        self.connect('media-configure', self.configure)

    def configure(self, _factory, media):
        element, feeds = media.get_element(), []
        if self.own_clock:
            media.connect('new-state', unsynchronize)
        for i, source in enumerate(s for s in (self.video, self.audio) if s):
            feeds.append(Feed(self, source, element.get_by_name_recurse_up(f'src{i}'), source is self.video))
        self.feeds += feeds
        media.connect('unprepared', lambda _media: [self.feeds.remove(f) for f in feeds if f in self.feeds])

    def count(self, number, size):
        self.sent += 1
        self.bytes += size
        self.first = number if self.first is None else self.first
        self.last = number

    def tick(self, now):
        for feed in tuple(self.feeds):
            feed.send_due(now)

    def stats(self):
        now = (time.monotonic_ns() - self.epoch_ns) // self.video.frame_ns
        return {'sent': self.sent, 'bytes': self.bytes, 'first': self.first, 'last': self.last, 'now': now,
                'serving': bool(self.feeds)}


class Cameras:
    def __init__(self, config):
        self.epoch_ns = config.get('epochNs') or time.monotonic_ns()
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address('127.0.0.1')
        self.server.set_service(str(config.get('port', 0)))
        self.mounts, cache, table = {}, {}, self.server.get_mount_points()
        names = list(config['mounts'])
        for i, name in enumerate(names):
            # Real cameras are not in step with each other: their frames are spread over the frame time.
            options = config['mounts'][name]
            phase = SECOND // options.get('fps', 25) * i // len(names)
            self.mounts[name] = Mount(name, options, self.epoch_ns + phase, cache)
            table.add_factory('/' + name, self.mounts[name])
        if any('user' in options for options in config['mounts'].values()):
            self.guard(config['mounts'], config.get('auth', 'digest'))

    def guard(self, mounts, method):
        """Authentication on the mounts with a user; the others stay open to anybody."""
        auth = GstRtspServer.RTSPAuth()
        anonymous = GstRtspServer.RTSPToken()
        anonymous.set_string('media.factory.role', 'anonymous')
        auth.set_default_token(anonymous)
        for name, options in mounts.items():
            permissions = GstRtspServer.RTSPPermissions()
            guarded = 'user' in options
            permissions.add_permission_for_role('anonymous', 'media.factory.access', True)
            permissions.add_permission_for_role('anonymous', 'media.factory.construct', not guarded)
            if guarded:
                role = 'role-' + options['user']  # a user's token is one for all mounts
                permissions.add_permission_for_role(role, 'media.factory.access', True)
                permissions.add_permission_for_role(role, 'media.factory.construct', True)
                token = GstRtspServer.RTSPToken()
                token.set_string('media.factory.role', role)
                if method == 'basic':
                    secret = GstRtspServer.RTSPAuth.make_basic(options['user'], options['password'])
                    auth.add_basic(secret, token)
                else:
                    auth.add_digest(options['user'], options['password'], token)
            self.mounts[name].set_permissions(permissions)
        kinds = {'basic': GstRtsp.RTSPAuthMethod.BASIC, 'digest': GstRtsp.RTSPAuthMethod.DIGEST}
        auth.set_supported_methods(kinds[method])
        self.server.set_auth(auth)

    def start(self):
        if not self.server.attach(None):
            raise SystemExit('cannot listen')
        GLib.timeout_add(TICK_MS, self.tick)
        GLib.timeout_add_seconds(5, lambda: (self.server.get_session_pool().cleanup(), True)[1])

    def tick(self):
        now = time.monotonic_ns()
        for mount in self.mounts.values():
            if mount.feeds:
                mount.tick(now)
        return True

    def run(self, line):
        request = json.loads(line)
        answer, command = {'id': request.get('id')}, request.get('command')
        if command == 'stats':
            answer['mounts'] = {name: mount.stats() for name, mount in self.mounts.items()}
        elif command in ('freeze', 'thaw'):
            self.mounts[request['mount']].frozen = command == 'freeze'
        elif command == 'shift':
            self.mounts[request['mount']].shift_ns += int(request['ms'] * 1_000_000)
        else:
            answer['error'] = 'unknown command'
        say(answer)


def say(message):
    print(json.dumps(message), flush=True)


def main():
    Gst.init(None)
    # Unbuffered: the rest of stdin belongs to the main loop's watch.
    first = b''
    while not first.endswith(b'\n'):
        byte = os.read(0, 1)
        if not byte:
            return
        first += byte
    cameras, loop, pending = Cameras(json.loads(first)), GLib.MainLoop(), b''
    cameras.start()

    def on_input(_channel, _condition):
        nonlocal pending
        chunk = os.read(0, 65536)
        if not chunk:
            loop.quit()
            return False
        *lines, pending = (pending + chunk).split(b'\n')
        for line in lines:
            cameras.run(line)
        return True

    GLib.io_add_watch(0, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, on_input)
    say({'ready': True, 'port': cameras.server.get_bound_port(), 'epochNs': cameras.epoch_ns})
    loop.run()


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
