"""How an image comes to a room of PCs: the formula for a web server alone, and a small simulation of the swarm.

Times are seconds, sizes bytes, rates bits a second. Constants are from aria2's source, or fitted to what swarm.py measured,
and say which. The model was made with these measurements at hand: that it agrees with them, which a test checks, says
little about rooms that are much larger.
"""

import random

PIECE = 1 << 20
# The simulation never has more pieces than this: a larger image has larger ones.
MOST_PIECES = 256
# Bytes on an Ethernet cable for each byte of a file: 1448 of 1538, with preamble and gap between frames. What tc counts
# on a veth has neither these nor the checksum.
WIRE, WIRE_TC = 1538 / 1448, 1514 / 1448
# aria2 connects to the peers that it has heard of when it is 10 s old, and again every 10 s (ActivePeerConnectionCommand).
# Fitted: the first block from a peer was seen 12.1 s after the start, on each of eight PCs.
FIRST_FROM_PEERS = 12
# It chooses as often whom it serves, four at a time (BtLeecherStateChoke, BtSeederStateChoke).
CHOOSES_EVERY = 10
SLOTS = 4
# Its bt-max-peers.
PEERS = 55
# TCP shares a line unevenly, which matters: two PCs that get the same pieces at the same speed would never part. Of
# eight PCs on one line the first was ready after two thirds of the time of the last: fitted to that.
UNEVEN = 0.5, 1.5
# The step of the simulation, and at most this part of the time in which the server sends one image.
TICK, TICKS = 0.1, 1000


def http(pcs, size, server, down, wire=WIRE):
    """Seconds until the last of the PCs that began together has its copy: they share the server's line, which is always full."""
    return max(pcs * size * 8 * wire / server, size * 8 * wire / down)


class Swarm:
    """PCs that fetch one image from a web server and from each other.

    server, cable   the server's uplink, and each PC's cable, the same in both directions
    waves           so many PCs at a time, the next begins when one is ready; 0: all at once
    stays           whether a PC goes on serving when it has the whole image
    """

    def __init__(self, pcs, size, server, cable, waves=0, stays=True, wire=WIRE, tick=None, pieces=None, seed=1):
        self.random = random.Random(seed)
        self.pieces = pieces or min(MOST_PIECES, -(-size // PIECE))
        self.tick = tick or max(TICK, size * 8 / server / TICKS)
        # In pieces a tick.
        each = self.tick / 8 / wire / (size / self.pieces)
        self.server, self.cable = server * each, cable * each
        self.stays, self.waves, self.full = stays, waves or pcs, (1 << self.pieces) - 1
        self.waiting = list(range(pcs - 1, -1, -1))
        self.fetching, self.serving = [], []
        self.time = self.sent = 0.0
        # How many PCs have a piece.
        self.holders = [0] * self.pieces
        self.known = [[] for _ in range(pcs)]
        self.have = [0] * pcs
        self.ready = [None] * pcs
        # When it exchanges pieces with others.
        self.meets = [None] * pcs
        # The piece that comes from the server, and how much of it and of what follows has come.
        self.from_server = [None] * pcs
        self.come = [0.0] * pcs
        self.weight = [self.random.uniform(*UNEVEN) for _ in range(pcs)]
        # What may still go out and come in; whom it serves, and since when.
        self.out, self.room = [0.0] * pcs, [0.0] * pcs
        self.served, self.chosen = [[] for _ in range(pcs)], [0.0] * pcs

    def arrive(self):
        """The next ones begin. Whoever is there hears of them and connects, as far as each has room for PEERS."""
        new = [self.waiting.pop() for _ in range(min(len(self.waiting), self.waves - len(self.fetching)))]
        self.fetching += new
        there = self.fetching + self.serving
        for pc in new:
            self.meets[pc] = self.time + FIRST_FROM_PEERS
            for other in self.random.sample(there, min(len(there), 3 * PEERS)):
                if len(self.known[pc]) >= PEERS:
                    break
                if other != pc and len(self.known[other]) < PEERS and other not in self.known[pc]:
                    self.known[pc].append(other)
                    self.known[other].append(pc)

    def leave(self):
        """Those that are ready: they stay and serve, or go. Two of them have nothing to say to each other."""
        for pc in self.fetching:
            if self.ready[pc] is not None:
                for other in list(self.known[pc]):
                    if not self.stays or self.ready[other] is not None:
                        self.known[pc].remove(other)
                        self.known[other].remove(pc)
                self.serving += [pc] if self.stays else []
        self.fetching = [pc for pc in self.fetching if self.ready[pc] is None]

    def lot(self, mask):
        """The first piece of a mask from a place drawn by lot."""
        at = int(self.random.random() * self.pieces)
        rest = mask >> at
        return at + (rest & -rest).bit_length() - 1 if rest else (mask & -mask).bit_length() - 1

    def gets(self, pc, piece):
        if not self.have[pc] >> piece & 1:
            self.have[pc] |= 1 << piece
            self.holders[piece] += 1
            if self.have[pc] == self.full:
                self.ready[pc] = self.time + self.tick

    def next_from_server(self, pc):
        """The piece behind the last one, for that is one request; when it is there already, one by lot."""
        self.weight[pc] = self.random.uniform(*UNEVEN)
        lacks, last = self.full & ~self.have[pc], self.from_server[pc]
        if last is not None and lacks >> (last + 1) & 1:
            self.from_server[pc] = last + 1
        else:
            self.from_server[pc] = self.lot(lacks) if lacks else None

    def serve_all(self):
        """The server's line is shared by all who still fetch, more or less evenly."""
        whole = sum(self.weight[pc] for pc in self.fetching)
        for pc in self.fetching:
            if self.from_server[pc] is None:
                self.next_from_server(pc)
            share = min(self.server * self.weight[pc] / whole, self.cable)
            self.come[pc] += share
            self.room[pc] -= share
            self.sent += share
            while self.come[pc] >= 1 and self.from_server[pc] is not None:
                self.come[pc] -= 1
                self.gets(pc, self.from_server[pc])
                self.next_from_server(pc)

    def wanted(self, pc, offered):
        """What a PC asks a peer for: not the piece that comes from the server, unless it is the last."""
        lacks = offered & ~self.have[pc]
        coming = 1 << self.from_server[pc] if self.from_server[pc] is not None else 0
        return lacks & ~coming or (lacks if self.full & ~self.have[pc] == coming else 0)

    def choose(self, pc, offered):
        """Whom a PC serves: drawn by lot now and then, and when one wants nothing more."""
        served = self.served[pc]
        if self.time - self.chosen[pc] >= CHOOSES_EVERY:
            served.clear()
            self.chosen[pc] = self.time
        served[:] = [other for other in served if self.wanted(other, offered)]
        # A few of the others at a time: over some steps it comes to all.
        for other in self.random.sample(self.known[pc], min(len(self.known[pc]), 2 * SLOTS)) if len(served) < SLOTS else ():
            if len(served) < SLOTS and other not in served and self.meets[other] <= self.time and self.wanted(other, offered):
                served.append(other)
        return list(served)

    def exchange(self):
        """Each sends what its cable carries, a piece at a time, to those whom it serves in turn."""
        senders = [pc for pc in self.fetching + self.serving if self.have[pc] and self.meets[pc] <= self.time]
        self.random.shuffle(senders)
        # What came in this step is passed on in the next.
        offers = [self.have[pc] for pc in senders]
        for pc, offered in zip(senders, offers):
            self.out[pc] = min(self.out[pc] + self.cable, self.cable + SLOTS)
            served = self.choose(pc, offered)
            while self.out[pc] >= 1 and served:
                for other in list(served):
                    mask = self.wanted(other, offered)
                    if not mask or self.room[other] < 1:
                        served.remove(other)
                    elif self.out[pc] >= 1:
                        self.out[pc] -= 1
                        self.room[other] -= 1
                        # aria2 takes the rarest; here the rarer of two is near enough.
                        self.gets(other, min((self.lot(mask) for _ in range(2)), key=self.holders.__getitem__))

    def run(self):
        """Until every PC has the image; the seconds of each, the first one first."""
        while True:
            self.leave()
            self.arrive()
            if not self.fetching:
                return sorted(self.ready)
            for pc in self.fetching:
                self.room[pc] = min(self.room[pc] + self.cable, self.cable + SLOTS)
            self.serve_all()
            self.exchange()
            self.time += self.tick

    @property
    def copies(self):
        """What the server has sent, in whole images."""
        return self.sent / self.pieces
