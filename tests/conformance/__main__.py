"""Runs outsiders' conformance suites against a server of its own: `make conformance DIR=...`.

DIR is a checkout of one of them: Eclipse Mosquitto (its packets, test/broker/data), mqtt-lib of LabOverWire (its crate
mqtt5-conformance). Nothing of theirs is kept here: what is here maps their topics and accounts onto Godwit's, and
says of each case that does not concern Godwit why.
"""

import collections
import pathlib
import signal
import sys

import mosquitto
import mqtt5
from server import Server

SUITES = {"test/broker/data": mosquitto, "crates/mqtt5-conformance": mqtt5}


def main():
    # So that the server goes with whoever is told to go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if len(sys.argv) != 3:
        sys.exit("usage: conformance GODWIT DIR")
    program, checkout = sys.argv[1], pathlib.Path(sys.argv[2])
    suites = [(at, suite) for at, suite in SUITES.items() if (checkout / at).exists()]
    if not suites:
        sys.exit(f"{checkout} is no checkout of a suite that is known here: none of {', '.join(SUITES)} is there")
    counts = collections.Counter()
    for at, suite in suites:
        with Server(program) as server:
            for case, verdict, why in suite.run(server, checkout / at):
                print(f"{verdict:<14} {case}" + (f": {why}" if why else ""), flush=True)
                counts[verdict] += 1
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    sys.exit(1 if counts["failed"] else 0)


main()
