"""``python -m tests.chaos``: the suite, or some of its lines."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from pathlib import Path

from tests.chaos.suite import LINES, SHORT, Suite, table
from tests.chaos.variants import SAFEGUARDS, VARIANTS
from tests.chaos.world import ARMS, TOCSIN
from tests.scratch import scratch_folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="decides who is hit, when, and for how long")
    parser.add_argument("--fault", action="append", choices=LINES, help="only these lines; may be repeated")
    parser.add_argument("--arm", action="append", choices=ARMS, help="who consumes")
    parser.add_argument(
        "--variants", action="store_true", help="workers with one safeguard left out: each must fail"
    )
    parser.add_argument(
        "--without-stock", action="store_true", help="everything, but for the lines of stock Faust"
    )
    parser.add_argument("--variant", choices=VARIANTS, help="run the lines with this variant")
    parser.add_argument("--short", action="store_true", help=f"only {', '.join(SHORT)}")
    parser.add_argument("--rate", type=int, default=600, help="notifications a second")
    parser.add_argument("--keep", type=Path, help="folder to keep histories and logs in")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="folder of the figures")
    parser.add_argument(
        "--table", action="store_true", help="print the figures of all seeds in --out, and end"
    )
    return parser.parse_args()


async def _main(options: argparse.Namespace, folder: Path) -> bool:
    begun = time.monotonic()
    some = options.fault or options.arm or options.variant or options.short
    async with Suite(folder, options.seed, options.rate) as suite:
        if not some and not options.variants:
            await suite.everything(stock=not options.without_stock)
        if options.variants:
            await suite.variants(SAFEGUARDS)
        if some:
            names = options.fault or (SHORT if options.short else list(LINES))
            for arm in options.arm or [TOCSIN.name]:
                await suite.lines(names, ARMS[arm], options.variant)
    if not some and not options.variants:
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / f"chaos-{options.seed}.json"
        path.write_text(json.dumps(suite.figures(), indent=1) + "\n", encoding="utf-8")
        print(f"\nWritten: {path}")
    print(f"\n{table(suite.figures())}\n\n{time.monotonic() - begun:.0f} s, seed {options.seed}")
    for missed in suite.missed:
        print(f"MISSED: {missed}")
    return suite.good


def main() -> None:
    """Run it; the exit code is 1 when something did not hold."""
    options = _arguments()
    if options.table:
        kept = [json.loads(path.read_bytes()) for path in sorted(options.out.glob("chaos-*.json"))]
        print(table([each for figures in kept for each in figures]))
        return
    # What the clients of the runner itself meet while brokers are away is no news.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    with scratch_folder("tocsin-chaos-") as scratch:
        folder = (options.keep or scratch).absolute()
        good = asyncio.run(_main(options, folder))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
