"""Tables: exact counts in time buckets, their recovery, and the web views that read them.

The words used here, in the order in which counts are made. Why the counts are exact is told in
``docs/exact-counts.md``.

source
    One partition of one notification topic. Its name has the topic's id and the partition
    (``tables.source_name``). Each source has one `SourceCounter`, on the worker that owns the partition.
bucket
    A span of time, named by its start in seconds since 1970. A *fine* bucket has 10 s, a *coarse* one
    is a minute or an hour. A coarse bucket is *open* until its row is written as of all that fell into it.
row
    Counts of one bucket, as of an offset (``tables.rows``, ``tables.row_bodies``). A *version* of a row is
    what one writer wrote. A row in memory is *dirty* until it is written.
total
    Records ever counted of one event type, and when it was seen last.
base row
    The row that outlives buckets: totals, and which minutes are open. Each source has one, and each slice.
as of
    Of a row: the offset up to which it counts everything, and after which nothing.
replay
    Records are read again that some row counts already; ``replay_until`` is where this ends.
partial counts
    Counts of one source. Its rows are in the table ``partial-counts``.
partials
    The topic on which partial counts go from sources to combiners. A *partial* is what a message says of one
    source: cumulative counts, so that a repeat does no harm (``tables.partials``).
emission
    What one flush of a source sends out, before it is cut into partials.
slice
    The event types that one combiner owns, and the partition of that combiner in all topics that hold counts.
    How many there are is fixed at the first start (``streams.broker.slices``).
combined counts
    Counts of one slice over all sources. Their rows are in the table ``combined-counts``, and
    `CombinedCounter` is the combiner.
event counts
    Sums over the sources, for everybody: the compacted topic ``event-counts`` (``tables.public_rows``).
`Totals`
    The event counts of the whole cluster in the memory of a worker, which any query is answered from.
flush
    What makes counts durable and sends them on, in steps of a fixed order (``tables.flushes``).
writer
    One opening of a partition's rows by one process. Its name is part of each key that it writes.
"""
