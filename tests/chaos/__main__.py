"""``python -m tests.chaos``: the suite, or some of its lines."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.suite import LINES, SHORT, Suite
from tests.chaos.variants import SAFEGUARDS, VARIANTS
from tests.chaos.world import ARMS


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="decides who is hit, when, and for how long")
    parser.add_argument("--fault", action="append", choices=LINES, help="only these lines; may be repeated")
    parser.add_argument("--arm", action="append", choices=ARMS, help="who consumes; both when left out")
    parser.add_argument(
        "--variants", action="store_true", help="workers with one safeguard left out: each must fail"
    )
    parser.add_argument("--variant", choices=VARIANTS, help="run the lines with this variant")
    parser.add_argument("--short", action="store_true", help=f"only {', '.join(SHORT)}")
    parser.add_argument("--rate", type=int, default=600, help="notifications a second")
    parser.add_argument("--keep", type=Path, help="folder to keep histories and logs in")
    return parser.parse_args()


async def _main(options: argparse.Namespace, folder: Path) -> bool:
    begun = time.monotonic()
    arms = options.arm or (["tocsin"] if options.variant or options.short else list(ARMS))
    names = options.fault or (SHORT if options.short else list(LINES))
    with_lines = not options.variants or options.fault is not None
    with_variants = options.variants or not (options.fault or options.arm or options.short or options.variant)
    async with Suite(folder, options.seed, options.rate) as suite:
        if with_lines and not (options.variants and not options.fault):
            for arm in arms:
                await suite.lines(names, ARMS[arm], options.variant)
        if with_variants:
            await suite.variants(SAFEGUARDS)
    print(f"\n{suite.table()}\n\n{time.monotonic() - begun:.0f} s, seed {options.seed}")
    return suite.good


def main() -> None:
    """Run it; the exit code is 1 when something did not hold."""
    options = _arguments()
    # What the clients of the runner itself meet while brokers are away is no news.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tocsin-chaos-") as scratch:
        folder = (options.keep or Path(scratch)).absolute()
        good = asyncio.run(_main(options, folder))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
