"""Tables: mergeable counts in time buckets, their recovery, and the web views that read them."""
