"""``python -m tests.benchmarks``: run every benchmark."""

from __future__ import annotations

import argparse

from tests.benchmarks import latency, throughput

BENCHMARKS = {"latency": latency.main, "throughput": throughput.main}


def main() -> int:
    """Run all, or one; 0 when every target is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=BENCHMARKS, help="run this one")
    chosen, rest = parser.parse_known_args()
    codes = [run(rest) for name, run in BENCHMARKS.items() if chosen.only in (None, name)]
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main())
