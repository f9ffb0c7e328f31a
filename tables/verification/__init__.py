"""Do the counts agree with the records? Comparisons of rows with what lies in the topics. Pure.

A row of a source counts each record of its 10 s bucket up to the offset that the row is as of. So when the
records up to that offset, and all that the group has committed, are counted once more, the row holds just
as many of each event type: fewer were lost, more were counted twice. The public counts are sums over the
sources and carry no offset of theirs, so they lie between what was committed before they were read and
all that was published before; in a bucket that is over, both are the same. The public totals are compared
in the same way, where every record of a priority is still there; else they can only be found too low.
"""

from tables.verification.budget import Budget, TooManyCountsError
from tables.verification.comparison import Difference, Span, compare, covered_from_s
from tables.verification.public_counts import PublicBounds, PublicCounts
from tables.verification.public_totals import TOTAL, PublicTotals
from tables.verification.source_rows import ChangelogRows, SourceRecount, SourceRow

__all__ = [
    "TOTAL",
    "Budget",
    "ChangelogRows",
    "Difference",
    "PublicBounds",
    "PublicCounts",
    "PublicTotals",
    "SourceRecount",
    "SourceRow",
    "Span",
    "TooManyCountsError",
    "compare",
    "covered_from_s",
]
