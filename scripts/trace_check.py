#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""trace_check.py FILE [KIND=N]...: a trace as leat_trace_write writes it.

In each lane events lie within or behind each other, every request's waiting begins and ends once, and of KIND (queue,
batch, run, copy, kernel; lost: events that the ring had no room for) there are N, or N at least ("N+"). Prints how many
there are; exits with 1 if something is not so."""
import collections
import json
import sys


def check_lane(lane, events):
    """Sorted by their beginnings, longer ones first: each lies in the open one or behind its end."""
    open_ends = []
    for begin, end, name in sorted(events, key=lambda e: (e[0], -e[1])):
        while open_ends and open_ends[-1] <= begin:
            open_ends.pop()
        if open_ends and end > open_ends[-1]:
            raise ValueError("lane %s: '%s' from %s to %s ns reaches over the end of another, %s"
                             % (lane, name, begin, end, open_ends[-1]))
        open_ends.append(end)


def nanoseconds(value):
    return round(value * 1000)


def main(path, *wanted):
    with open(path, encoding="ascii") as f:
        trace = json.load(f)
    lanes, waits, names = collections.defaultdict(list), collections.defaultdict(dict), {}
    counts = collections.Counter(lost=trace["otherData"]["lost"])
    for e in trace["traceEvents"]:
        if e["ph"] == "M":
            names[e["tid"]] = e["args"]["name"]
        elif e["ph"] == "X":
            counts[e["cat"]] += 1
            begin = nanoseconds(e["ts"])
            lanes[e["tid"]].append((begin, begin + nanoseconds(e["dur"]), e["name"]))
            if not names[e["tid"]].startswith(e["cat"]):
                raise ValueError("an event of %s is in the lane '%s'" % (e["cat"], names[e["tid"]]))
        else:
            if e["cat"] != "queue" or e["ph"] not in "be" or e["ph"] in waits[e["id"]]:
                raise ValueError("unexpected: %s" % e)
            counts["queue"] += e["ph"] == "b"
            waits[e["id"]][e["ph"]] = e["ts"]
    for lane, events in lanes.items():
        check_lane(names[lane], events)
    for wait in waits.values():
        if not wait["b"] <= wait["e"]:
            raise ValueError("a request waits from %s to %s" % (wait["b"], wait["e"]))
    print(" ".join("%s=%d" % c for c in sorted(counts.items())))
    for kind, n in (w.split("=") for w in wanted):
        if counts[kind] < int(n.rstrip("+")) or (n[-1] != "+" and counts[kind] != int(n)):
            raise ValueError("%d of %s, not %s" % (counts[kind], kind, n))


if __name__ == "__main__":
    main(*sys.argv[1:])
