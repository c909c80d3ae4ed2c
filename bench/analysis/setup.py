# SPDX-License-Identifier: MIT
"""What the tools of this folder share: the measuring functions of bench/compare, set up for one server of the pooled
build."""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "bench" / "compare"))

import machine  # noqa: E402
import measure  # noqa: E402
from figures import Samples  # noqa: E402
from loads import H3load  # noqa: E402
from processes import Children  # noqa: E402

BUILD = CHECKOUT / "build"


@contextlib.contextmanager
def bench():
    """A measure.Bench, whose children end with the block."""
    pinning = machine.choose_pinning(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="h3pool-analysis-") as scratch, Children() as children:
        client = H3load(BUILD / "h3load")
        yield measure.Bench(children=children, build_dir=BUILD, certs=CHECKOUT / "certs", scratch=Path(scratch),
                            client=client, h3load=client, pinning=pinning, duration_s=None, extra=(),
                            samples=Samples(), progress=None)


def missing(*programs):
    """Those that are not in the build folder."""
    return [name for name in programs if not os.access(BUILD / name, os.R_OK)]
